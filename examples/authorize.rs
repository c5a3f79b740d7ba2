//! Who may connect: a path, and a token that says who somebody is.
//!
//! `cargo run --example authorize [ADDRESS [ORIGIN]]`, then in the console of a browser at http://127.0.0.1:9001:
//! `s = new WebSocket("ws://127.0.0.1:9001/live?token=t-ann"); s.onmessage = m => console.log(m.data)`
//! (a browser cannot send an Authorization header with it; programs should, because URLs end up in logs).
//!
//! Watch: without the token the answer is 401, under other paths 404, and pages from elsewhere get 403 before anybody looks at
//! their token, unless ORIGIN names them. The principal that the token stands for is the connection's from its first moment:
//! its session can be resumed by nobody else, and the application asks `hub.principal(conn)`.

use std::io;

use forebay_threads::{Event, Server, ServerOptions, UpgradeHook, UpgradeRequest, Verdict};

/// Where an application would look into its database, or check a signature.
fn principal_of(token: &[u8]) -> Option<&'static str> {
    const TOKENS: [(&[u8], &str); 2] = [(b"t-ann", "ann"), (b"t-bob", "bob")];
    // In constant time, so that nobody can feel their way to a token.
    let is_same =
        |known: &[u8]| known.len() == token.len() && known.iter().zip(token).fold(0, |d, (a, b)| d | (a ^ b)) == 0;
    TOKENS.iter().find(|(known, _)| is_same(known)).map(|(_, principal)| *principal)
}

/// From the Authorization header (RFC 6750 §2.1), or from the query.
fn token<'a>(request: &UpgradeRequest<'a>) -> Option<&'a [u8]> {
    if let Some(value) = request.header("Authorization") {
        return value.strip_prefix(b"Bearer ");
    }
    request.query?.split('&').find_map(|pair| pair.strip_prefix("token=")).map(str::as_bytes)
}

fn decide(request: &UpgradeRequest<'_>) -> Verdict {
    if request.path != "/live" {
        return Verdict::refuse(404, "nothing here");
    }
    match token(request).and_then(principal_of) {
        Some(principal) => Verdict::accept_as(principal),
        None => Verdict::refuse(401, "a token, please").with_header("WWW-Authenticate", "Bearer"),
    }
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let options = ServerOptions {
        origins: arguments.collect(),
        on_upgrade: Some(UpgradeHook::new(decide)),
        ..ServerOptions::default()
    };
    let server = Server::bind(address, options)?;
    println!("listening on ws://{}", server.local_addr()?);
    server.run_with(|hub, event, _| {
        if let Event::Opened { conn, .. } = event {
            println!("{} is here", hub.principal(conn).unwrap_or("somebody"));
        }
    })
}
