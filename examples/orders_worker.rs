//! A worker for [`orders.rs`](orders.rs) that survives being killed: its session and how far it is are in a file.
//!
//! `cargo run --example orders_worker URL FILE`: prints `worked on NUMBER: ORDER` for each order, once, and then acknowledges.
//!
//! Watch: killed between the work and the acknowledgement, it is sent the order again, and knows by the file that it worked on
//! it. Killed between the work and the file it works on it twice: where that matters, work and file are one transaction.

use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::thread;
use std::time::Duration;

use forebay_threads::{Client, ClientOptions, Payload};
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Where the worker is: the session to go on with, and the last order that was worked on.
#[derive(Default)]
struct Place {
    session: String,
    epoch: String,
    seq: u64,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(file)) = (arguments.next(), arguments.next()) else {
        return Err("orders_worker URL FILE".into());
    };
    let mut place = Place::load(&file)?;
    loop {
        let worked = work(&url, &file, &mut place);
        eprintln!("connecting again: {}", worked.expect_err("it works for ever"));
        thread::sleep(Duration::from_millis(200)); // A server that restarts takes its time.
    }
}

fn work(url: &str, file: &str, place: &mut Place) -> Result<()> {
    let client = Client::connect(url, ClientOptions::default())?;
    hear(&client)?; // The hello.
    if !place.resume(&client)? {
        place.begin(&client, file)?;
    }
    loop {
        let message = hear(&client)?;
        if message["op"] == "gap" {
            eprintln!("missed: {message}"); // The history was too short.
        }
        let (Some("message"), Some(seq)) = (message["op"].as_str(), message["seq"].as_u64()) else { continue };
        if seq > place.seq {
            println!("worked on {seq}: {}", message["data"]);
            std::io::stdout().flush()?;
            place.seq = seq;
            place.save(file)?;
        }
        say(&client, &json!({ "op": "ack", "topic": "orders", "seq": seq }))?;
    }
}

impl Place {
    fn load(file: &str) -> Result<Self> {
        let Ok(text) = fs::read_to_string(file) else { return Ok(Self::default()) };
        let place: Value = serde_json::from_str(&text)?;
        let text = |name: &str| place[name].as_str().unwrap_or_default().to_owned();
        Ok(Self { session: text("session"), epoch: text("epoch"), seq: place["seq"].as_u64().unwrap_or(0) })
    }

    /// As a whole, or not at all.
    fn save(&self, file: &str) -> Result<()> {
        let Self { session, epoch, seq } = self;
        let new = format!("{file}.new");
        fs::write(&new, json!({ "session": session, "epoch": epoch, "seq": seq }).to_string())?;
        Ok(fs::rename(new, file)?)
    }

    /// Takes the session over; `false`: there is none any more.
    fn resume(&self, client: &Client) -> Result<bool> {
        let Self { session, epoch, seq } = self;
        if session.is_empty() {
            return Ok(false);
        }
        let lanes = json!([{ "topic": "orders", "epoch": epoch, "seq": seq }]);
        let answer = ask(client, &json!({ "op": "resume", "session": session, "lanes": lanes, "id": 1 }))?;
        Ok(answer["op"] == "ok")
    }

    /// A new session, which begins behind the last order that was worked on, or with all that there are.
    fn begin(&mut self, client: &Client, file: &str) -> Result<()> {
        let kept = ask(client, &json!({ "op": "keep", "id": 1 }))?;
        let from = if self.epoch.is_empty() { json!("start") } else { json!({ "epoch": self.epoch, "seq": self.seq }) };
        let begun = ask(client, &json!({ "op": "subscribe", "topic": "orders", "from": from, "id": 2 }))?;
        let (Some(session), Some(epoch)) = (kept["session"].as_str(), begun["epoch"].as_str()) else {
            return Err(format!("refused: {kept} {begun}").into());
        };
        if self.epoch != epoch {
            self.seq = 0; // The numbers are new.
        }
        (self.session, self.epoch) = (session.to_owned(), epoch.to_owned());
        self.save(file)
    }
}

fn say(client: &Client, request: &Value) -> Result<()> {
    Ok(client.send(Payload::Text(&request.to_string()))?)
}

fn hear(client: &Client) -> Result<Value> {
    Ok(serde_json::from_slice(&client.receive()?.bytes)?)
}

fn ask(client: &Client, request: &Value) -> Result<Value> {
    say(client, request)?;
    hear(client)
}
