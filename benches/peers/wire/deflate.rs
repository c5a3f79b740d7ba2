//! permessage-deflate: single messages, no context taken over, level 6, a window of 32 KiB.
//!
//! All of them have zlib-rs inside. tungstenite, fastwebsockets and tokio-websockets do not compress.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use criterion::Criterion;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use forebay_core::wire::deflate::{Deflater, Inflater, WindowBits};
use forebay_peers::{Kind, MESSAGE_BYTES_MAX, SIZES, Side, Socket, frames, json};
use futures::SinkExt as _;
use futures::executor::block_on;
use sockudo_ws::deflate::{DEFAULT_WINDOW_BITS, DeflateDecoder, DeflateEncoder};

use crate::{Work, bench, group};

const LEVEL: u8 = 6;
const AGREED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

pub(crate) fn rows(c: &mut Criterion) {
    for size in SIZES {
        let text = json(size);
        let mut deflated = BytesMut::new();
        Deflater::new(WindowBits::MAX, LEVEL, 8).compress([text.as_bytes()], &mut deflated);
        let deflated = deflated.freeze();

        let mut group = group(c, &format!("deflate/compress/{size}"));
        bench(&mut group, "forebay", compress_forebay(text.clone()));
        bench(&mut group, "yawc", compress_yawc(text.clone()));
        bench(&mut group, "sockudo-ws", compress_sockudo(text.clone()));
        bench(&mut group, "(flate2)", compress_flate2(text));
        group.finish();

        let mut group = crate::group(c, &format!("deflate/inflate/{size}"));
        bench(&mut group, "forebay", inflate_forebay(deflated.clone(), size));
        bench(&mut group, "yawc", inflate_yawc(&deflated, size));
        bench(&mut group, "sockudo-ws", inflate_sockudo(deflated.clone(), size));
        bench(&mut group, "(flate2)", inflate_flate2(deflated, size));
    }
}

fn compress_forebay(text: String) -> Work {
    let mut deflater = Deflater::new(WindowBits::MAX, LEVEL, 8);
    let mut out = BytesMut::new();
    Box::new(move |count| {
        for _ in 0..count {
            out.clear();
            deflater.compress([black_box(text.as_bytes())], &mut out);
            deflater.reset();
            black_box(&out);
        }
    })
}

/// With its framing, which it cannot do without.
fn compress_yawc(text: String) -> Work {
    use yawc::{CompressionLevel, Frame};
    let mut peer =
        yawc(Socket::default(), |options| options.with_compression_level(CompressionLevel::new(LEVEL.into())));
    let text = Bytes::from(text);
    Box::new(move |count| {
        block_on(async {
            for _ in 0..count {
                peer.feed(Frame::text(black_box(&text).clone())).await.expect("memory does not fail");
                peer.flush().await.expect("memory does not fail");
            }
        });
    })
}

fn yawc(socket: Socket, with: impl FnOnce(yawc::Options) -> yawc::Options) -> yawc::WebSocket<Socket> {
    let options = yawc::Options::default()
        .with_max_payload_read(MESSAGE_BYTES_MAX)
        .with_max_read_buffer(2 * MESSAGE_BYTES_MAX)
        .with_balanced_compression()
        .server_no_context_takeover()
        .client_no_context_takeover();
    yawc::WebSocket::from_stream_with_extensions(socket, yawc::Role::Client, Some(AGREED), with(options))
        .expect("good options")
}

fn compress_sockudo(text: String) -> Work {
    let mut encoder = DeflateEncoder::new(DEFAULT_WINDOW_BITS, true, LEVEL.into(), 0);
    Box::new(move |count| {
        for _ in 0..count {
            black_box(encoder.compress(black_box(text.as_bytes())).expect("room"));
        }
    })
}

fn compress_flate2(text: String) -> Work {
    let mut compress = Compress::new(Compression::new(LEVEL.into()), false);
    let mut out = Vec::with_capacity(text.len() + 1_024);
    Box::new(move |count| {
        for _ in 0..count {
            out.clear();
            compress.compress_vec(black_box(text.as_bytes()), &mut out, FlushCompress::Sync).expect("room");
            compress.reset();
            black_box(&out);
        }
    })
}

fn inflate_forebay(deflated: Bytes, size: usize) -> Work {
    let mut inflater = Inflater::new();
    let mut out = BytesMut::new();
    Box::new(move |count| {
        for _ in 0..count {
            out.clear();
            inflater.start(None);
            inflater.inflate(black_box(&deflated), true, &mut out, MESSAGE_BYTES_MAX).expect("good bytes");
            assert_eq!(out.len(), size);
        }
    })
}

fn inflate_yawc(deflated: &[u8], size: usize) -> Work {
    let mut peer = yawc(Socket::endless(frames(Side::Client, Kind::Compressed, deflated)), |options| options);
    Box::new(move |count| {
        block_on(async {
            for _ in 0..count {
                assert_eq!(peer.next_frame().await.expect("a message").payload().len(), size);
            }
        });
    })
}

fn inflate_sockudo(deflated: Bytes, size: usize) -> Work {
    let mut decoder = DeflateDecoder::new(DEFAULT_WINDOW_BITS, true);
    Box::new(move |count| {
        for _ in 0..count {
            let out = decoder.decompress(black_box(&deflated), MESSAGE_BYTES_MAX).expect("good bytes");
            assert_eq!(out.len(), size);
        }
    })
}

fn inflate_flate2(deflated: Bytes, size: usize) -> Work {
    let mut decompress = Decompress::new(false);
    let mut out = Vec::with_capacity(size + 1_024);
    Box::new(move |count| {
        for _ in 0..count {
            out.clear();
            decompress.decompress_vec(black_box(&deflated), &mut out, FlushDecompress::None).expect("good bytes");
            decompress.decompress_vec(&[0, 0, 0xff, 0xff], &mut out, FlushDecompress::Sync).expect("good bytes");
            decompress.reset(false);
            assert_eq!(out.len(), size);
        }
    })
}
