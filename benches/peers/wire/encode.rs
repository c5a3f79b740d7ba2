//! Messages out: frames as they would go to the socket.

use std::hint::black_box;
use std::io::{IoSlice, Write as _};

use bytes::{Bytes, BytesMut};
use criterion::Criterion;
use forebay_core::wire::Opcode;
use forebay_core::wire::frame::{self, Header};
use forebay_peers::{MESSAGE_BYTES_MAX, SIZES, Side, Socket, payload};
use futures::SinkExt;
use futures::executor::block_on;

use crate::{Work, bench, group};

type Peer = fn(Side, &'static [u8]) -> Work;

/// Those that copy a payload behind its header, one frame behind the other.
const COPYING: [(&str, Peer); 5] = [
    ("forebay", forebay),
    ("tungstenite", tungstenite),
    ("fastwebsockets", fastwebsockets),
    ("yawc", yawc),
    ("sockudo-ws", sockudo),
];

/// Those that write a payload from where it is.
const LENDING: [(&str, Peer); 3] =
    [("forebay", forebay_lent), ("fastwebsockets", fastwebsockets_lent), ("tokio-websockets", tokio_websockets)];

pub(crate) fn rows(c: &mut Criterion) {
    for size in SIZES {
        // Leaked, once per size: some libraries that share a payload want it to live for ever.
        let payload: &'static [u8] = payload(size).leak();
        for side in Side::ALL {
            let mut group = group(c, &format!("encode/{}/{size}", side.name()));
            for (name, library) in COPYING {
                bench(&mut group, name, library(side, payload));
            }
            if side == Side::Client {
                // What is masked is a copy.
                bench(&mut group, "tokio-websockets", tokio_websockets(side, payload));
            }
        }
        let mut group = group(c, &format!("encode/server, payload lent/{size}"));
        for (name, library) in LENDING {
            bench(&mut group, name, library(Side::Server, payload));
        }
    }
}

/// How many messages go into one write.
const fn batch(payload: &[u8]) -> u64 {
    match payload.len() {
        0..=1_024 => 64,
        1_025..=65_536 => 4,
        _ => 1,
    }
}

/// Encodes `count` messages and writes after each batch, which may have begun in the call before.
struct Batches {
    batch: u64,
    at: u64,
}

impl Batches {
    const fn new(payload: &[u8]) -> Self {
        Self { batch: batch(payload), at: 0 }
    }

    /// Whether it is time to write.
    #[inline]
    const fn step(&mut self) -> bool {
        self.at += 1;
        self.at.is_multiple_of(self.batch)
    }
}

fn forebay(side: Side, payload: &'static [u8]) -> Work {
    let mut socket = Socket::default();
    let mut out = BytesMut::new();
    let mut batches = Batches::new(payload);
    Box::new(move |count| {
        for _ in 0..count {
            let key = (side == Side::Client).then(|| fastrand::u32(..).to_ne_bytes());
            frame::put_frame(&mut out, Opcode::Binary, key, black_box(payload));
            if batches.step() {
                socket.write_all(&out).expect("memory does not fail");
                out.clear();
            }
        }
    })
}

fn forebay_lent(_: Side, payload: &'static [u8]) -> Work {
    let mut socket = Socket::default();
    Box::new(move |count| {
        for _ in 0..count {
            let mut head = [0; frame::HEADER_BYTES_MAX];
            let len = black_box(payload).len() as u64;
            let end = frame::encode_header(&mut head, &Header { fin: true, opcode: Opcode::Binary, mask: None, len });
            let written = socket.write_vectored(&[IoSlice::new(&head[..end]), IoSlice::new(payload)]);
            assert_eq!(written.expect("memory does not fail"), end + payload.len());
        }
    })
}

fn tungstenite(side: Side, payload: &'static [u8]) -> Work {
    use tungstenite::Message;
    use tungstenite::protocol::{Role, WebSocket};
    let role = if side == Side::Server { Role::Server } else { Role::Client };
    let mut peer = WebSocket::from_raw_socket(Socket::default(), role, None);
    let message = Message::Binary(Bytes::from_static(payload));
    let mut batches = Batches::new(payload);
    Box::new(move |count| {
        for _ in 0..count {
            peer.write(black_box(&message).clone()).expect("memory does not fail");
            if batches.step() {
                peer.flush().expect("memory does not fail");
            }
        }
    })
}

fn fastwebsockets(side: Side, payload: &'static [u8]) -> Work {
    fastwebsockets_by(side, payload, false)
}

fn fastwebsockets_lent(side: Side, payload: &'static [u8]) -> Work {
    fastwebsockets_by(side, payload, true)
}

/// It knows no batches: each frame is a write.
fn fastwebsockets_by(side: Side, payload: &'static [u8], is_lent: bool) -> Work {
    use fastwebsockets::{Frame, Payload, Role, WebSocket};
    let role = if side == Side::Server { Role::Server } else { Role::Client };
    let mut peer = WebSocket::after_handshake(Socket::default(), role);
    peer.set_writev(is_lent);
    peer.set_writev_threshold(0);
    Box::new(move |count| {
        block_on(async {
            for _ in 0..count {
                let frame = Frame::binary(Payload::Borrowed(black_box(payload)));
                peer.write_frame(frame).await.expect("memory does not fail");
            }
        });
    })
}

/// As a server it shares payloads; as a client it masks a copy.
fn tokio_websockets(side: Side, payload: &'static [u8]) -> Work {
    use tokio_websockets::{ClientBuilder, Config, Limits, Message, ServerBuilder};
    // One frame per message, as the others make.
    let config = Config::default().frame_size(MESSAGE_BYTES_MAX);
    let limits = Limits::unlimited();
    let mut peer = match side {
        Side::Server => ServerBuilder::new().config(config).limits(limits).serve(Socket::default()),
        Side::Client => ClientBuilder::new().config(config).limits(limits).take_over(Socket::default()),
    };
    let mut batches = Batches::new(payload);
    Box::new(move |count| {
        block_on(async {
            for _ in 0..count {
                let message = Message::binary(Bytes::from_static(black_box(payload)));
                peer.feed(message).await.expect("memory does not fail");
                if batches.step() {
                    SinkExt::<Message>::flush(&mut peer).await.expect("memory does not fail");
                }
            }
        });
    })
}

fn yawc(side: Side, payload: &'static [u8]) -> Work {
    use yawc::{Frame, Options, Role, WebSocket};
    let role = if side == Side::Server { Role::Server } else { Role::Client };
    let mut peer = WebSocket::from_stream(Socket::default(), role, Options::default()).expect("good options");
    let mut batches = Batches::new(payload);
    Box::new(move |count| {
        block_on(async {
            for _ in 0..count {
                let frame = Frame::binary(Bytes::from_static(black_box(payload)));
                peer.feed(frame).await.expect("memory does not fail");
                if batches.step() {
                    peer.flush().await.expect("memory does not fail");
                }
            }
        });
    })
}

fn sockudo(side: Side, payload: &'static [u8]) -> Work {
    use sockudo_ws::protocol::{Message, Protocol, Role};
    let role = if side == Side::Server { Role::Server } else { Role::Client };
    let mut peer = Protocol::new(role, MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX);
    let message = Message::Binary(Bytes::from_static(payload));
    let mut socket = Socket::default();
    let mut out = BytesMut::new();
    let mut batches = Batches::new(payload);
    Box::new(move |count| {
        for _ in 0..count {
            peer.encode_message(black_box(&message), &mut out).expect("a good message");
            if batches.step() {
                socket.write_all(&out).expect("memory does not fail");
                out.clear();
            }
        }
    })
}
