//! Says back every message as it came: what test suites of WebSocket implementations talk to.
//!
//! `cargo run --release --example echo -- [--listen ADDRESS] [--binding smol|threads]`
//!
//! Watch: a client that does not read its answers is not read either, and holds no more than the limits below. What it
//! said before it broke the protocol, or closed, is answered first.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;

use forebay_core::{
    ConnId, DeflateOptions, Event, Hub, Instant, LaneLimits, Mode, Options, OwnedPayload, Payload, SendError,
};
use forebay_threads::{CloseCode, ServerOptions};

/// The longest message.
const MESSAGE_BYTES_MAX: u32 = 16 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (mut listen, mut binding) = ("127.0.0.1:9001".to_owned(), "threads".to_owned());
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--listen" => listen = value,
            "--binding" => binding = value,
            _ => return Err(format!("unknown option {name}").into()),
        }
    }
    match binding.as_str() {
        "smol" => smol::block_on(serve_smol(listen))?,
        "threads" => serve_threads(&listen)?,
        _ => return Err(format!("no such binding: {binding}").into()),
    }
    Ok(())
}

fn serve_threads(listen: &str) -> io::Result<()> {
    let server = forebay_threads::Server::bind(listen, options())?;
    println!("listening on ws://{}", server.local_addr()?);
    let mut echo = Echo::default();
    server.run_with(move |hub, event, now| echo.event(hub, event, now))
}

async fn serve_smol(listen: String) -> io::Result<()> {
    let server = forebay_smol::Server::bind(listen, options()).await?;
    println!("listening on ws://{}", server.local_addr()?);
    let mut echo = Echo::default();
    server.run_with(move |hub, event, now| echo.event(hub, event, now)).await
}

fn options() -> ServerOptions {
    let hub = Options {
        message_bytes_max: MESSAGE_BYTES_MAX,
        inbound_bytes_max: 2 * MESSAGE_BYTES_MAX, // One that waits, and one on its way.
        direct_lane: LaneLimits { messages_max: 4_096, bytes_max: u64::from(MESSAGE_BYTES_MAX) },
        resident_bytes_max: 1 << 30,
        // Everything that can be agreed on.
        deflate: Some(DeflateOptions { direct: true, context_bytes_max: 64 << 20, ..DeflateOptions::default() }),
        ..Options::default()
    };
    ServerOptions { hub, mode: Mode::Raw, ..ServerOptions::default() }
}

/// The application.
#[derive(Default)]
struct Echo {
    /// What had no room on its way back. Nothing more is received from such a connection.
    waiting: BTreeMap<ConnId, OwnedPayload>,
}

impl Echo {
    fn event(&mut self, hub: &mut Hub, event: Event, now: Instant) {
        match event {
            Event::Received(conn) if !self.waiting.contains_key(&conn) => self.answer(hub, conn, now),
            Event::Sendable(conn) => self.answer(hub, conn, now),
            Event::Closed { conn, .. } => drop(self.waiting.remove(&conn)),
            _ => {}
        }
    }

    fn answer(&mut self, hub: &mut Hub, conn: ConnId, now: Instant) {
        while let Some(message) = self.waiting.remove(&conn).or_else(|| hub.receive(conn, now)) {
            let payload = message.as_text().map_or(Payload::Binary(&message.bytes), Payload::Text);
            match hub.send(conn, payload, now) {
                Err(SendError::Full) => {
                    self.waiting.insert(conn, message);
                    return;
                }
                Err(SendError::Overloaded) => hub.close(conn, CloseCode::TRY_AGAIN_LATER, "out of memory", now),
                Ok(()) | Err(_) => {} // Or the connection has ended.
            }
        }
    }
}
