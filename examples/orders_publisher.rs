//! A publisher for [`orders.rs`](orders.rs) that may be killed and started again: each order has an id of its own.
//!
//! `cargo run --example orders_publisher URL COUNT [SHOP]`: prints `stored NUMBER` for each order that is stored, `again NUMBER`
//! for one that was stored before.
//!
//! Watch: an order is sent again on the next connection until it is answered. The topic knows the id of what it has, and
//! answers with the number that it got then.

use std::error::Error;
use std::io::Write as _;
use std::thread;
use std::time::Duration;

use forebay_threads::{Client, ClientOptions, Payload};
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(count)) = (arguments.next(), arguments.next()) else {
        return Err("orders_publisher URL COUNT [SHOP]".into());
    };
    let shop = arguments.next().unwrap_or_else(|| "shop".to_owned());
    let (count, mut next) = (count.parse()?, 1);
    while let Err(error) = publish(&url, &shop, &mut next, count) {
        eprintln!("connecting again: {error}");
        thread::sleep(Duration::from_millis(200)); // A server that restarts takes its time.
    }
    Ok(())
}

/// Publishes from order `next` on, one at a time.
fn publish(url: &str, shop: &str, next: &mut u64, count: u64) -> Result<()> {
    let client = Client::connect(url, ClientOptions::default())?;
    client.receive()?; // The hello.
    while *next <= count {
        let (id, order) = (format!("{shop}/{next}"), json!({ "shop": shop, "order": next }));
        let request = json!({ "op": "publish", "topic": "orders", "message_id": id, "data": order, "id": next });
        client.send(Payload::Text(&request.to_string()))?;
        let answer: Value = serde_json::from_slice(&client.receive()?.bytes)?;
        if answer["op"] == "error" {
            return Err(answer.to_string().into()); // `full`: the workers are behind.
        }
        println!("{} {}", if answer["duplicate"] == true { "again" } else { "stored" }, answer["seq"]);
        std::io::stdout().flush()?;
        *next += 1;
    }
    Ok(())
}
