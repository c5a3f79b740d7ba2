//! The state of a game on smol: all that moved goes out every 50 ms, alerts at once.
//!
//! `cargo run --example game_state [ADDRESS [ENTITIES]]`, then `cargo run --example game_state_client ws://127.0.0.1:9001` or
//! `node --experimental-websocket examples/game_state.mjs ws://127.0.0.1:9001`, both of which print what they know once a
//! second.
//!
//! Watch: entities move every 5 ms, but a client gets each at most once in 50 ms, all of them in one write
//! (`flush_interval`), and of each only where it is (`latest-per-key`). Who joins late gets the whole state first
//! (`"from":"snapshot"`, `keeps_latest`), also of entities that rest. Alerts do not wait for the state, whose class is `low`:
//! theirs is `high`. They are acknowledged, or come again.

use std::error::Error;
use std::time::Duration;

use forebay_smol::forebay_core::{Class, Delivery};
use forebay_smol::{Handle, Message, Payload, Policies, Policy, Server, ServerOptions, TopicOptions};
use serde_json::json;
use smol::Timer;
use smol::future::try_zip;

/// How often what moved is sent.
const FLUSH_INTERVAL: Duration = Duration::from_millis(50);
const TICK: Duration = Duration::from_millis(5);
/// Every so manieth tick there is an alert.
const ALERT_EVERY: u32 = 20;
/// Every so manieth entity moves.
const MOVES: u32 = 2;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let entities = arguments.next().map_or(Ok(200), |number| number.parse())?;

    let state = TopicOptions {
        policy: Policy::LatestPerKey,
        choices: Policies::LOSSY,
        keeps_latest: true,
        keys_max: entities,
        flush_interval: Some(FLUSH_INTERVAL),
        class: Class::Low,
        ..TopicOptions::default()
    };
    let alerts = TopicOptions {
        policy: Policy::DropNewest,
        delivery: Delivery::at_least_once(),
        class: Class::High,
        ..TopicOptions::default()
    };
    let topics = vec![("state".to_owned(), state), ("alerts".to_owned(), alerts)];
    smol::block_on(async {
        let server = Server::bind(address, ServerOptions { topics, ..ServerOptions::default() }).await?;
        println!("listening on ws://{}", server.local_addr()?);
        let handle = server.handle();
        let running = async { Ok(server.run().await?) };
        try_zip(running, play(&handle, entities)).await.map(drop)
    })
}

async fn play(handle: &Handle, entities: u32) -> Result<(), Box<dyn Error>> {
    for tick in 0_u32.. {
        for entity in 0..entities {
            // At first all of them have to be somewhere.
            if tick == 0 || entity % MOVES == 0 {
                let place = json!({ "tick": tick, "x": f64::from(tick % 1_000) / 10.0, "y": entity }).to_string();
                handle.publish("state", Message::new(Payload::Text(&place)).with_key(&format!("e{entity}"))).await?;
            }
        }
        if tick % ALERT_EVERY == 0 {
            let alert = json!({ "tick": tick, "text": "a dragon comes" }).to_string();
            handle.publish("alerts", Payload::Text(&alert)).await?;
        }
        Timer::after(TICK).await;
    }
    Ok(())
}
