//! The opening handshake, from the first byte that is read to a connection that can be used.

use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::sync::Mutex;

use bytes::BytesMut;
use criterion::Criterion;
use forebay_core::wire::handshake::{self, HeadReader, RequestOptions, ResponseOptions};
use forebay_core::wire::{Decoder, Role};
use forebay_peers::Socket;
use futures::executor::block_on;

use crate::{Work, bench, group};

/// What a browser sends to a server on its own machine.
const REQUEST: &[u8] = b"GET /chat HTTP/1.1\r\nHost: 127.0.0.1:9001\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) bench\r\nAccept: */*\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n\
    Origin: http://127.0.0.1:9001\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

const HEAD_BYTES_MAX: usize = 16 << 10;

type Peer = fn() -> Work;

pub(crate) fn rows(c: &mut Criterion) {
    let mut server = group(c, "handshake/server/1");
    let servers: [(&str, Peer); 6] = [
        ("forebay", server_forebay),
        ("tungstenite", server_tungstenite),
        ("fastwebsockets", server_fastwebsockets),
        ("tokio-websockets", server_tokio_websockets),
        ("sockudo-ws", server_sockudo),
        ("soketto", server_soketto),
    ];
    for (name, library) in servers {
        bench(&mut server, name, library());
    }
    server.finish();
    let mut client = group(c, "handshake/client/1");
    let clients: [(&str, Peer); 6] = [
        ("forebay", client_forebay),
        ("tungstenite", client_tungstenite),
        ("fastwebsockets", client_fastwebsockets),
        ("tokio-websockets", client_tokio_websockets),
        ("sockudo-ws", client_sockudo),
        ("soketto", client_soketto),
    ];
    for (name, library) in clients {
        bench(&mut client, name, library());
    }
    // What the others' rows contain of this bench's own: the server's part.
    bench(
        &mut client,
        "(the answering socket alone)",
        Box::new(|count| {
            const ASKED: &[u8] = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
            let mut buffer = [0; 512];
            for _ in 0..count {
                let mut socket = Socket::answering();
                socket.write_all(ASKED).expect("memory does not fail");
                assert!(socket.read(&mut buffer).expect("memory does not fail") > 100);
            }
        }),
    );
}

fn repeated(mut once: impl FnMut() + 'static) -> Work {
    Box::new(move |count| (0..count).for_each(|_| once()))
}

fn server_forebay() -> Work {
    let mut buffer = vec![0; 4 << 10];
    let mut out = BytesMut::new();
    repeated(move || {
        let mut socket = Socket::once(REQUEST);
        let mut reader = HeadReader::new(HEAD_BYTES_MAX);
        out.clear();
        loop {
            let len = socket.read(&mut buffer).expect("memory does not fail");
            let Some((head, consumed)) = reader.read(&buffer[..len]).expect("a good head") else { continue };
            assert_eq!(consumed, len);
            let request = handshake::parse_request(head).expect("a good request");
            let options = ResponseOptions { protocol: request.protocols().next(), ..ResponseOptions::default() };
            handshake::put_response(&mut out, &handshake::accept_key(request.key), &options).expect("a token");
            break;
        }
        socket.write_all(&out).expect("memory does not fail");
        black_box((socket, Decoder::new(Role::Server, 1 << 20)));
    })
}

fn server_tungstenite() -> Work {
    repeated(|| {
        let peer = tungstenite::accept(Socket::once(REQUEST)).expect("a good request");
        assert!(peer.get_ref().written_bytes > 100);
    })
}

fn server_fastwebsockets() -> Work {
    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use std::convert::Infallible;
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    Box::new(move |count| {
        runtime.block_on(async {
            for _ in 0..count {
                let upgraded = Mutex::new(None);
                let service = service_fn(|mut request: hyper::Request<Incoming>| {
                    let (response, upgrade) = fastwebsockets::upgrade::upgrade(&mut request).expect("a good request");
                    *upgraded.lock().expect("no panic") = Some(upgrade);
                    async move { Ok::<_, Infallible>(response) }
                });
                let io = hyper_util::rt::TokioIo::new(Socket::once(REQUEST));
                let builder = hyper::server::conn::http1::Builder::new();
                builder.serve_connection(io, service).with_upgrades().await.expect("a good request");
                let upgrade = upgraded.lock().expect("no panic").take().expect("an upgrade");
                assert!(!upgrade.await.expect("an upgrade").is_closed());
            }
        });
    })
}

fn server_tokio_websockets() -> Work {
    repeated(|| {
        block_on(async {
            let builder = tokio_websockets::ServerBuilder::new();
            black_box(builder.accept(Socket::once(REQUEST)).await.expect("a good request"));
        });
    })
}

fn server_sockudo() -> Work {
    repeated(|| {
        let mut socket = Socket::once(REQUEST);
        let done = block_on(sockudo_ws::handshake::server_handshake(&mut socket)).expect("a good request");
        assert!(socket.written_bytes > 100);
        black_box((
            done,
            socket,
            sockudo_ws::protocol::Protocol::new(sockudo_ws::protocol::Role::Server, 1 << 20, 1 << 20),
        ));
    })
}

fn server_soketto() -> Work {
    use soketto::handshake::{Server, server::Response};
    repeated(|| {
        block_on(async {
            let mut server = Server::new(Socket::once(REQUEST));
            let key = server.receive_request().await.expect("a good request").key();
            server.send_response(&Response::Accept { key, protocol: None }).await.expect("memory does not fail");
            black_box(server.into_builder().finish());
        });
    })
}

fn client_forebay() -> Work {
    let mut buffer = vec![0; 4 << 10];
    let mut out = BytesMut::new();
    repeated(move || {
        let mut socket = Socket::answering();
        let mut reader = HeadReader::new(HEAD_BYTES_MAX);
        let key = handshake::client_key(fastrand::u128(..).to_ne_bytes());
        out.clear();
        let options = RequestOptions { host: "127.0.0.1:9001", target: "/chat", ..RequestOptions::default() };
        handshake::put_request(&mut out, &key, &options, None).expect("a good request");
        socket.write_all(&out).expect("memory does not fail");
        loop {
            let len = socket.read(&mut buffer).expect("memory does not fail");
            let Some((head, consumed)) = reader.read(&buffer[..len]).expect("a good head") else { continue };
            assert_eq!(consumed, len);
            handshake::parse_response(head, &key, &[], None).expect("a good answer");
            break;
        }
        black_box((socket, Decoder::new(Role::Client, 1 << 20)));
    })
}

fn client_tungstenite() -> Work {
    repeated(|| {
        black_box(tungstenite::client("ws://127.0.0.1:9001/chat", Socket::answering()).expect("a good answer"));
    })
}

/// It leaves the request to its user, who makes it as its documentation shows.
fn client_fastwebsockets() -> Work {
    use fastwebsockets::handshake::{client, generate_key};
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let executor = hyper_util::rt::TokioExecutor::new();
    Box::new(move |count| {
        runtime.block_on(async {
            for _ in 0..count {
                let request = hyper::Request::get("/chat")
                    .header("Host", "127.0.0.1:9001")
                    .header("Upgrade", "websocket")
                    .header("Connection", "Upgrade")
                    .header("Sec-WebSocket-Key", generate_key())
                    .header("Sec-WebSocket-Version", "13")
                    .body(String::new())
                    .expect("a good request");
                black_box(client(&executor, request, Socket::answering()).await.expect("a good answer").0);
            }
        });
    })
}

fn client_tokio_websockets() -> Work {
    repeated(|| {
        let builder = tokio_websockets::ClientBuilder::new().uri("ws://127.0.0.1:9001/chat").expect("a good URI");
        black_box(block_on(builder.connect_on(Socket::answering())).expect("a good answer"));
    })
}

fn client_sockudo() -> Work {
    use sockudo_ws::protocol::{Protocol, Role};
    repeated(|| {
        let mut socket = Socket::answering();
        let done = sockudo_ws::handshake::client_handshake(&mut socket, "127.0.0.1:9001", "/chat", None);
        let done = block_on(done).expect("a good answer");
        black_box((done, socket, Protocol::new(Role::Client, 1 << 20, 1 << 20)));
    })
}

fn client_soketto() -> Work {
    use soketto::handshake::{Client, ServerResponse};
    repeated(|| {
        block_on(async {
            let mut client = Client::new(Socket::answering(), "127.0.0.1:9001", "/chat");
            let answer = client.handshake().await.expect("a good answer");
            assert!(matches!(answer, ServerResponse::Accepted { .. }));
            black_box(client.into_builder().finish());
        });
    })
}
