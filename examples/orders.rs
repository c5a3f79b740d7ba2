//! Orders that are worked on at least once, whatever is killed: a server on threads.
//!
//! `cargo run --example orders [ADDRESS]`, then in two more terminals
//! `cargo run --example orders_worker ws://127.0.0.1:9001 worker.json` (or
//! `node --experimental-websocket examples/orders_worker.mjs ws://127.0.0.1:9001`), and
//! `cargo run --example orders_publisher ws://127.0.0.1:9001 1000`.
//!
//! Watch: kill the worker with Ctrl-C, or with SIGKILL, and start it again: it goes on where it was. What it had worked on and
//! not yet acknowledged comes again, and it knows that by the number. Kill the publisher and start it again: it begins anew,
//! and what the topic has is not stored twice.
//!
//! The topic waits (`block`) when a worker that is connected is behind by its whole lane. A worker that is away longer than
//! `session_ttl`, or for more orders than its lane holds, has lost its session; it then begins behind the order it worked on
//! last, with what the history still has.

use std::io;
use std::time::Duration;

use forebay_threads::forebay_core::{AtLeastOnce, Delivery, History, LaneLimits};
use forebay_threads::{Options, Policy, Server, ServerOptions, TopicOptions};

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let orders = TopicOptions {
        policy: Policy::Block,
        lane: LaneLimits { messages_max: 10_000, bytes_max: 1 << 20 },
        delivery: Delivery::AtLeastOnce(AtLeastOnce { in_flight_max: 32, ..AtLeastOnce::default() }),
        history: Some(History { messages_max: 10_000, ..History::default() }),
        publish_ids_max: 10_000,
        ..TopicOptions::default()
    };
    let hub = Options { session_ttl: Duration::from_secs(600), ..Options::default() };
    let options = ServerOptions { hub, topics: vec![("orders".to_owned(), orders)], ..ServerOptions::default() };
    let server = Server::bind(address, options)?;
    println!("listening on ws://{}", server.local_addr()?);
    server.run()
}
