//! A chat on plain threads: a room is a topic, and the application takes part as a bot in each.
//!
//! `cargo run --example chat_threads [ADDRESS]`, then open <http://127.0.0.1:9001/> in two windows, say something in both and
//! ask the bot: `/who`, `/count`.
//!
//! Watch: the bot is a subscriber like the others, behind a lane of its own: were it slow, it would miss messages (and know
//! how many), and nobody would wait for it. The page comes from the same port; it needs no library.

use std::collections::BTreeSet;
use std::error::Error;
use std::{io, thread};

use forebay_threads::{
    Bytes, CreateTopics, Document, Entry, Handle, LaneOptions, Options, Payload, Server, ServerOptions, Subscription,
    TopicOptions,
};
use serde_json::{Value, json};

const ROOMS: [&str; 2] = ["lobby", "garden"];
/// What a bot remembers does not grow for ever either.
const NAMES_MAX: usize = 100;
const NAME_BYTES_MAX: usize = 32;

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let page = Document {
        path: "/".to_owned(),
        content_type: "text/html; charset=utf-8".to_owned(),
        body: Bytes::from_static(include_bytes!("chat.html")),
    };
    let options = ServerOptions {
        hub: Options { create_topics: CreateTopics::Application, ..Options::default() },
        topics: ROOMS.map(|room| (room.to_owned(), TopicOptions::default())).into(),
        documents: vec![page],
        ..ServerOptions::default()
    };
    let server = Server::bind(address, options)?;
    let (address, handle) = (server.local_addr()?, server.handle());
    let running = thread::spawn(|| server.run());
    for room in ROOMS {
        let (handle, entries) =
            (handle.clone(), handle.subscribe(room, LaneOptions::default()).map_err(io::Error::other)?);
        thread::spawn(move || {
            bot(&handle, room, entries).unwrap_or_else(|error| eprintln!("the bot left {room}: {error}"));
        });
    }
    println!("listening on ws://{address}"); // The bots are there already.
    running.join().expect("the server does not panic")
}

fn bot(handle: &Handle, room: &str, entries: Subscription) -> Result<(), Box<dyn Error>> {
    let (mut names, mut count) = (BTreeSet::new(), 0);
    for entry in entries {
        let payload = match entry {
            Entry::Message { payload, .. } => payload,
            Entry::Gap(gap) => {
                count += gap.missed;
                continue;
            }
        };
        let Ok(said) = serde_json::from_slice::<Value>(&payload.bytes) else { continue }; // It may be bytes.
        let (Some(from), Some(text)) = (said["from"].as_str(), said["text"].as_str()) else { continue };
        if from == "bot" {
            continue; // Who subscribes hears itself.
        }
        count += 1;
        if names.len() < NAMES_MAX && from.len() <= NAME_BYTES_MAX {
            names.insert(from.to_owned());
        }
        let answer = match text {
            "/count" => format!("{count} messages"),
            "/who" => {
                let topics = handle.snapshot(0).ok_or("the server has stopped")?.topics;
                let lanes = topics.iter().find(|topic| topic.name == room).map_or(0, |topic| topic.pressure.lanes);
                let names: Vec<_> = names.iter().map(String::as_str).collect();
                format!("{} spoke, {} listen", names.join(", "), lanes.saturating_sub(1)) // The bot's own is one.
            }
            _ => continue,
        };
        handle.publish(room, Payload::Text(&json!({ "from": "bot", "text": answer }).to_string()))?;
    }
    Ok(())
}
