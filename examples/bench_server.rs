//! What load generators are pointed at: a fan-out and echo server with nothing switched off, for comparisons with others.
//!
//! `cargo run --release --example bench_server -- PORT [--binding threads|smol]` (port 0: any)
//!
//! Text that begins with `SUB ` subscribes to the topic, whatever its name; a message that begins with `P` goes as it is, but
//! as binary (a topic's text is JSON), to every subscriber; anything else is said back. Watch: lanes are bounded, lose their oldest
//! messages where a subscriber does not read, and all is counted, with the default options.

use std::error::Error;
use std::io;

use forebay_core::Mode;
use forebay_threads::{ServerOptions, TopicOptions};

mod bench;
use bench::{Bench, TOPIC};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().ok_or("needs a port")?.parse()?;
    let binding = match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => "threads".to_owned(),
        (Some("--binding"), Some(binding)) => binding,
        _ => return Err("needs: PORT [--binding threads|smol]".into()),
    };
    forebay_threads::raise_open_files()?;
    match binding.as_str() {
        "smol" => smol::block_on(serve_smol(port))?,
        "threads" => serve_threads(port)?,
        _ => return Err(format!("no such binding: {binding}").into()),
    }
    Ok(())
}

fn serve_threads(port: u16) -> io::Result<()> {
    let server = forebay_threads::Server::bind(("127.0.0.1", port), options())?;
    println!("listening on ws://{}", server.local_addr()?);
    let mut bench = Bench::default();
    server.run_with(move |hub, event, now| bench.event(hub, event, now))
}

async fn serve_smol(port: u16) -> io::Result<()> {
    let server = forebay_smol::Server::bind(("127.0.0.1", port), options()).await?;
    println!("listening on ws://{}", server.local_addr()?);
    let mut bench = Bench::default();
    server.run_with(move |hub, event, now| bench.event(hub, event, now)).await
}

fn options() -> ServerOptions {
    let topics = vec![(TOPIC.to_owned(), TopicOptions::default())];
    ServerOptions { topics, mode: Mode::Raw, ..ServerOptions::default() }
}
