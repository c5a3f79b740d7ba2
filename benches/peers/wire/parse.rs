//! Frames in: whole messages out, unmasked and validated.

use bytes::BytesMut;
use criterion::Criterion;
use forebay_peers::{BUFFER_BYTES, Kind, MESSAGE_BYTES_MAX, Reader, SIZES, Side, Socket, frames, payload};
use futures::StreamExt as _;
use futures::executor::block_on;

use crate::{Work, bench, group};

type Peer = fn(Side, Kind, Socket, usize) -> Work;

const LIBRARIES: [(&str, Peer); 7] = [
    ("forebay", forebay_wide),
    ("(safe alone)", forebay),
    ("tungstenite", tungstenite),
    ("fastwebsockets", fastwebsockets),
    ("tokio-websockets", tokio_websockets),
    ("yawc", yawc),
    ("sockudo-ws", sockudo),
];

pub(crate) fn rows(c: &mut Criterion) {
    for side in Side::ALL {
        for kind in Kind::PLAIN {
            for size in SIZES {
                let input = frames(side, kind, &payload(size));
                let mut group = group(c, &format!("parse/{} {}/{size}", side.name(), kind.name()));
                for (name, library) in LIBRARIES {
                    bench(&mut group, name, library(side, kind, Socket::endless(input.clone()), size));
                }
            }
        }
    }
}

fn forebay_wide(side: Side, _: Kind, socket: Socket, size: usize) -> Work {
    forebay_by(Reader::new(side, true, socket), size)
}

fn forebay(side: Side, _: Kind, socket: Socket, size: usize) -> Work {
    forebay_by(Reader::new(side, false, socket), size)
}

fn forebay_by(mut reader: Reader, size: usize) -> Work {
    Box::new(move |count| {
        for _ in 0..count {
            assert_eq!(reader.next_message().len(), size);
        }
    })
}

fn tungstenite(side: Side, _: Kind, socket: Socket, size: usize) -> Work {
    use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};
    let role = if side == Side::Server { Role::Server } else { Role::Client };
    let config =
        WebSocketConfig::default().max_message_size(Some(MESSAGE_BYTES_MAX)).max_frame_size(Some(MESSAGE_BYTES_MAX));
    let mut peer = WebSocket::from_raw_socket(socket, role, Some(config));
    Box::new(move |count| {
        for _ in 0..count {
            assert_eq!(peer.read().expect("a message").len(), size);
        }
    })
}

fn fastwebsockets(side: Side, _: Kind, socket: Socket, size: usize) -> Work {
    use fastwebsockets::{FragmentCollector, Role, WebSocket};
    let role = if side == Side::Server { Role::Server } else { Role::Client };
    let mut peer = WebSocket::after_handshake(socket, role);
    peer.set_max_message_size(MESSAGE_BYTES_MAX);
    let mut peer = FragmentCollector::new(peer);
    Box::new(move |count| {
        block_on(async {
            for _ in 0..count {
                assert_eq!(peer.read_frame().await.expect("a message").payload.len(), size);
            }
        });
    })
}

fn tokio_websockets(side: Side, _: Kind, socket: Socket, size: usize) -> Work {
    use tokio_websockets::{ClientBuilder, Limits, ServerBuilder};
    let mut peer = match side {
        Side::Server => ServerBuilder::new().limits(Limits::unlimited()).serve(socket),
        Side::Client => ClientBuilder::new().limits(Limits::unlimited()).take_over(socket),
    };
    Box::new(move |count| {
        block_on(async {
            for _ in 0..count {
                let message = peer.next().await.expect("no end").expect("a message");
                assert_eq!(message.as_payload().len(), size);
            }
        });
    })
}

fn yawc(side: Side, kind: Kind, socket: Socket, size: usize) -> Work {
    use yawc::{Options, Role, WebSocket};
    let role = if side == Side::Server { Role::Server } else { Role::Client };
    let mut options =
        Options::default().with_max_payload_read(MESSAGE_BYTES_MAX).with_max_read_buffer(2 * MESSAGE_BYTES_MAX);
    if kind == Kind::Text {
        options = options.with_utf8(); // Off by default.
    }
    let mut peer = WebSocket::from_stream(socket, role, options).expect("good options");
    Box::new(move |count| {
        block_on(async {
            for _ in 0..count {
                assert_eq!(peer.next_frame().await.expect("a message").payload().len(), size);
            }
        });
    })
}

/// Its state machine alone, which is faster than its stream.
fn sockudo(side: Side, _: Kind, mut socket: Socket, size: usize) -> Work {
    use sockudo_ws::protocol::{Protocol, Role};
    let role = if side == Side::Server { Role::Server } else { Role::Client };
    let mut peer = Protocol::new(role, MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX);
    let mut buffer = BytesMut::with_capacity(2 * BUFFER_BYTES);
    let mut messages = Vec::new();
    let mut at = 0;
    Box::new(move |count| {
        for _ in 0..count {
            while at == messages.len() {
                at = 0;
                messages.clear();
                buffer.reserve(BUFFER_BYTES);
                buffer.extend_from_slice(socket.pull(BUFFER_BYTES));
                peer.process_into(&mut buffer, &mut messages).expect("good frames");
            }
            assert_eq!(messages[at].as_bytes().len(), size);
            at += 1;
        }
    })
}
