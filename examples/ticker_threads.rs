//! A price feed on plain threads: whoever reads slowly gets the latest price of each symbol, and never an old one.
//!
//! `cargo run --example ticker_threads [ADDRESS [MILLISECONDS]]`, then in the console of a browser that
//! shows http://127.0.0.1:9001 (pages from elsewhere are turned away):
//! `s = new WebSocket("ws://127.0.0.1:9001"); s.onmessage = m => console.log(m.data)`
//! `s.send('{"op":"subscribe","topic":"prices"}')`
//!
//! Watch `seq`: a client that keeps up sees every number. Behind a slow line (the browser's network panel can be one) there
//! are holes, but no `gap`: of each symbol the last price comes, and what it replaced is not missed.

use std::error::Error;
use std::thread;
use std::time::Duration;

use forebay_threads::{CallError, Handle, Message, Payload, Policy, PublishError, Server, ServerOptions, TopicOptions};

const SYMBOLS: [&str; 20] = [
    "AG", "AL", "AU", "BI", "CD", "CO", "CR", "CU", "FE", "IN", "LI", "MG", "MN", "MO", "NI", "PB", "PD", "PT", "SN",
    "ZN",
];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let pause = Duration::from_millis(arguments.next().map_or(Ok(100), |number| number.parse())?);

    let prices = TopicOptions { policy: Policy::LatestPerKey, ..TopicOptions::default() };
    let options = ServerOptions { topics: vec![("prices".to_owned(), prices)], ..ServerOptions::default() };
    let server = Server::bind(address, options)?;
    println!("listening on ws://{}", server.local_addr()?);
    let handle = server.handle();
    thread::spawn(move || feed(&handle, pause).unwrap_or_else(|error| eprintln!("the feed has ended: {error}")));
    Ok(server.run()?)
}

fn feed(handle: &Handle, pause: Duration) -> Result<(), CallError<PublishError>> {
    for tick in 0.. {
        for (number, symbol) in (0..).zip(SYMBOLS) {
            let price = format!("{:.2}", 100.0 + 10.0 * f64::sin(f64::from(tick) / 10.0 + f64::from(number)));
            handle.publish("prices", Message::new(Payload::Text(&price)).with_key(symbol))?;
        }
        thread::sleep(pause);
    }
    Ok(())
}
