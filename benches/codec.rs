//! The codec alone: frames in and out, masks, UTF-8, the opening handshake.
#![forbid(unsafe_code)]

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use forebay_core::wire::handshake::ResponseOptions;
use forebay_core::wire::{Decoder, Opcode, Role, Utf8, frame, handshake, mask};

const SIZES: [usize; 4] = [16, 125, 1_024, 16_384];

/// What one read brings.
const READ_BYTES: usize = 64 << 10;

/// Its bytes are below 0x80, so that ASCII text stays ASCII when it is unmasked a second time: the same buffer serves
/// every iteration.
const KEY: [u8; 4] = [1, 2, 3, 4];

fn elements_and_bytes(elements: usize, bytes: usize) -> Throughput {
    Throughput::ElementsAndBytes { elements: elements as u64, bytes: bytes as u64 }
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec/decode");
    for (name, opcode) in [("binary", Opcode::Binary), ("text", Opcode::Text)] {
        for size in SIZES {
            let mut read = BytesMut::new();
            let mut frames = 0;
            while read.len() < READ_BYTES {
                frame::put_frame(&mut read, opcode, Some(KEY), &vec![b'a'; size]);
                frames += 1;
            }
            group.throughput(elements_and_bytes(frames, frames * size));
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter(|| {
                    let mut decoder = Decoder::new(Role::Server, 1 << 20);
                    let mut rest = &mut read[..];
                    let mut items = 0;
                    while !rest.is_empty() {
                        let decoded = decoder.decode(rest).expect("good frames");
                        items += usize::from(black_box(decoded.item).is_some());
                        let consumed = decoded.consumed;
                        rest = &mut rest[consumed..];
                    }
                    assert_eq!(items, frames);
                });
            });
        }
    }
    group.finish();
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec/encode");
    for (name, key) in [("server", None), ("client", Some([0x37, 0xfa, 0x21, 0x3d]))] {
        for size in SIZES {
            let payload = vec![b'a'; size];
            let frames = READ_BYTES.div_ceil(frame::frame_bytes(size, key.is_some()));
            let mut out = BytesMut::with_capacity(2 * READ_BYTES);
            group.throughput(elements_and_bytes(frames, frames * size));
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter(|| {
                    out.clear();
                    for _ in 0..frames {
                        frame::put_frame(&mut out, Opcode::Text, key, black_box(&payload));
                    }
                    black_box(&out);
                });
            });
        }
    }
    group.finish();
}

fn masks(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec/mask");
    for size in SIZES {
        let mut bytes = vec![b'a'; size];
        group.throughput(elements_and_bytes(1, size));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| mask::apply(black_box(&mut bytes), black_box([0x37, 0xfa, 0x21, 0x3d]), black_box(1)));
        });
    }
    group.finish();
}

fn utf8(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec/utf8");
    for (name, pattern) in [("ascii", "{\"side\":\"buy\"}"), ("mixed", "{\"name\":\"Жук 虫\"}"), ("cjk", "前庭の水")]
    {
        for size in [125, 1_024, 16_384] {
            let mut text = pattern.repeat(size / pattern.len() + 1);
            while text.len() > size {
                text.pop();
            }
            group.throughput(elements_and_bytes(1, text.len()));
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter(|| {
                    let mut utf8 = Utf8::new();
                    utf8.push(black_box(text.as_bytes())).expect("good text");
                    assert!(utf8.is_complete());
                });
            });
        }
    }
    group.finish();
}

/// What a browser sends.
const REQUEST: &[u8] = b"GET /feed?room=1 HTTP/1.1\r\nHost: example.com:8080\r\nConnection: Upgrade\r\n\
    Pragma: no-cache\r\nCache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\
    Upgrade: websocket\r\nOrigin: https://example.com\r\nSec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\
    Sec-WebSocket-Protocol: forebay.v1\r\n\r\n";

fn handshakes(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec/handshake");
    group.throughput(elements_and_bytes(1, REQUEST.len()));
    for (name, read_bytes) in [("one read", REQUEST.len()), ("reads of 64 bytes", 64), ("reads of 1 byte", 1)] {
        let mut out = BytesMut::with_capacity(1_024);
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                let mut reader = handshake::HeadReader::new(16 << 10);
                for read in black_box(REQUEST).chunks(read_bytes) {
                    if let Some((head, _)) = reader.read(read).expect("a good head") {
                        let request = handshake::parse_request(head).expect("a good request");
                        let accept = handshake::accept_key(request.key);
                        let protocol = request.protocols().next();
                        let options = ResponseOptions { protocol, ..ResponseOptions::default() };
                        handshake::put_response(&mut out, &accept, &options).expect("a token");
                    }
                }
                assert!(!out.is_empty());
            });
        });
    }
    group.finish();
}

criterion_group!(benches, decode, encode, masks, utf8, handshakes);
criterion_main!(benches);
