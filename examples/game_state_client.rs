//! A client for [`game_state.rs`](game_state.rs): joins late, keeps the state, acknowledges alerts.
//!
//! `cargo run --example game_state_client URL [SECONDS]`: prints once a second (and so often) how many entities it knows, how many
//! updates came, and how many alerts.
//!
//! Watch the first line: the whole state is there.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write as _;
use std::time::{Duration, Instant};

use forebay_smol::{Client, ClientOptions, Payload};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("game_state_client URL [SECONDS]")?;
    let mut left = arguments.next().map_or(Ok(u64::MAX), |number| number.parse())?;
    smol::block_on(async {
        let client = Client::connect(&url, ClientOptions::default()).await?;
        let say = async |request: Value| client.send(Payload::Text(&request.to_string())).await;
        say(json!({ "op": "subscribe", "topic": "alerts", "id": 1 })).await?;
        say(json!({ "op": "subscribe", "topic": "state", "from": "snapshot", "id": 2 })).await?;
        let (mut entities, mut updates, mut alerts) = (BTreeMap::new(), 0, 0);
        let mut next = Instant::now() + Duration::from_secs(1);
        while left > 0 {
            let message: Value = serde_json::from_slice(&client.receive().await?.bytes)?;
            match (message["op"].as_str(), message["topic"].as_str()) {
                (Some("message"), Some("state")) => {
                    updates += 1;
                    entities.insert(message["key"].as_str().unwrap_or_default().to_owned(), message["data"].clone());
                }
                (Some("message"), Some("alerts")) => {
                    alerts += 1;
                    say(json!({ "op": "ack", "topic": "alerts", "seq": message["seq"] })).await?;
                }
                _ => {} // Answers. (The state has no gaps.)
            }
            if Instant::now() >= next {
                println!("{} entities, {updates} updates, {alerts} alerts", entities.len());
                std::io::stdout().flush()?;
                (next, left) = (next + Duration::from_secs(1), left - 1);
            }
        }
        Ok(())
    })
}
