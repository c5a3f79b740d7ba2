//! Says back every message of a server of test cases: the client that the Autobahn suite examines.
//!
//! `AUTOBAHN_URL=ws://127.0.0.1:9001 cargo run --release --example echo_client -- [--binding smol|threads]`
//!
//! The server says at `/getCaseCount` how many cases it has, runs each at `/runCase?case=I&agent=A`, and writes its report
//! when `/updateReports?agent=A` is opened. A is `forebay-smol` or `forebay-threads`.

use std::error::Error;

use forebay_core::{DeflateOptions, LaneLimits, Options, OwnedPayload, Payload};
use forebay_threads::ClientOptions;

/// The longest message.
const MESSAGE_BYTES_MAX: u32 = 16 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let binding = match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => "threads".to_owned(),
        (Some("--binding"), Some(binding)) => binding,
        _ => return Err("only --binding smol|threads may be said".into()),
    };
    let url = std::env::var("AUTOBAHN_URL").map_err(|_| "AUTOBAHN_URL says which server to talk to")?;
    let agent = format!("forebay-{binding}");
    match binding.as_str() {
        "smol" => smol::block_on(run_smol(&url, &agent)),
        "threads" => run_threads(&url, &agent),
        _ => Err(format!("no such binding: {binding}").into()),
    }
}

fn run_threads(url: &str, agent: &str) -> Result<(), Box<dyn Error>> {
    use forebay_threads::Client;

    let count = Client::connect(&format!("{url}/getCaseCount"), options())?.receive()?;
    for case in 1..=number(&count)? {
        let client = Client::connect(&format!("{url}/runCase?case={case}&agent={agent}"), options())?;
        while let Ok(message) = client.receive() {
            if client.send(payload(&message)).is_err() {
                break;
            }
        }
    }
    let client = Client::connect(&format!("{url}/updateReports?agent={agent}"), options())?;
    while client.receive().is_ok() {}
    Ok(())
}

async fn run_smol(url: &str, agent: &str) -> Result<(), Box<dyn Error>> {
    use forebay_smol::Client;

    let count = Client::connect(&format!("{url}/getCaseCount"), options()).await?.receive().await?;
    for case in 1..=number(&count)? {
        let client = Client::connect(&format!("{url}/runCase?case={case}&agent={agent}"), options()).await?;
        while let Ok(message) = client.receive().await {
            if client.send(payload(&message)).await.is_err() {
                break;
            }
        }
    }
    let client = Client::connect(&format!("{url}/updateReports?agent={agent}"), options()).await?;
    while client.receive().await.is_ok() {}
    Ok(())
}

fn options() -> ClientOptions {
    let hub = Options {
        message_bytes_max: MESSAGE_BYTES_MAX,
        inbound_bytes_max: 2 * MESSAGE_BYTES_MAX, // One that waits, and one on its way.
        direct_lane: LaneLimits { messages_max: 4_096, bytes_max: u64::from(MESSAGE_BYTES_MAX) },
        resident_bytes_max: 1 << 30,
        // Everything that can be agreed on.
        deflate: Some(DeflateOptions { direct: true, context_bytes_max: 64 << 20, ..DeflateOptions::default() }),
        ..Options::default()
    };
    ClientOptions { hub, ..ClientOptions::default() }
}

fn payload(message: &OwnedPayload) -> Payload<'_> {
    message.as_text().map_or(Payload::Binary(&message.bytes), Payload::Text)
}

fn number(message: &OwnedPayload) -> Result<u32, Box<dyn Error>> {
    Ok(message.as_text().ok_or("the number of cases is text")?.parse()?)
}
