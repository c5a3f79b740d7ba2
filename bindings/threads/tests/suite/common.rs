//! A running server, and a client that speaks the `forebay` dialect.

use std::io;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::binding::forebay_core::Instant;
use crate::binding::{Client, ClientOptions, CloseCode, Event, Handle, Hub, Payload, Server, ServerOptions};

/// Nothing takes so long; a test that hangs is ended by it.
pub(crate) const HANG: Duration = Duration::from_secs(60);

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) handle: Handle,
    thread: Option<JoinHandle<io::Result<()>>>,
}

pub(crate) fn start(options: ServerOptions) -> Running {
    start_with(options, |_, _, _| {})
}

pub(crate) fn start_with(
    options: ServerOptions,
    on_event: impl FnMut(&mut Hub, Event, Instant) + Send + 'static,
) -> Running {
    let server = Server::bind("127.0.0.1:0", options).unwrap();
    let (address, handle) = (server.local_addr().unwrap(), server.handle());
    Running { address, handle, thread: Some(std::thread::spawn(move || server.run_with(on_event))) }
}

impl Running {
    pub(crate) fn url(&self) -> String {
        format!("ws://{}/", self.address)
    }

    pub(crate) fn connect(&self) -> Client {
        self.connect_with(ClientOptions::default())
    }

    pub(crate) fn connect_with(&self, options: ClientOptions) -> Client {
        let client = Client::connect(&self.url(), options).unwrap();
        assert!(text(&client).starts_with(r#"{"op":"hello","#));
        client
    }

    /// A client with a subscription that is in force.
    pub(crate) fn subscriber(&self, topic: &str) -> Client {
        subscribed(self.connect(), topic)
    }

    /// Shuts down and waits for it.
    pub(crate) fn stop(mut self) {
        self.handle.shutdown();
        self.thread.take().unwrap().join().unwrap().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.shutdown();
        if let Some(thread) = self.thread.take() {
            let result = thread.join();
            if !std::thread::panicking() {
                result.unwrap().unwrap();
            }
        }
    }
}

pub(crate) fn subscribed(client: Client, topic: &str) -> Client {
    say(&client, &format!(r#"{{"op":"subscribe","topic":"{topic}","id":1}}"#));
    assert!(text(&client).starts_with(r#"{"op":"ok","id":1,"#));
    client
}

pub(crate) fn say(client: &Client, text: &str) {
    client.send(Payload::Text(text)).unwrap();
}

pub(crate) fn text(client: &Client) -> String {
    let message = client.receive_timeout(HANG).unwrap();
    message.as_text().expect("a text message").to_owned()
}

/// The number behind a member's name.
pub(crate) fn number(message: &str, member: &str) -> u64 {
    let key = format!("\"{member}\":");
    let rest = &message[message.find(&key).unwrap_or_else(|| panic!("{member} in {message}")) + key.len()..];
    rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap()].parse().unwrap()
}

/// Looks again and again until it is so.
pub(crate) fn until(is_so: impl Fn() -> bool) {
    let begin = std::time::Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < HANG, "it hangs");
        std::thread::yield_now();
    }
}

pub(crate) fn close(client: &Client) {
    assert_eq!(client.close(CloseCode::NORMAL, "done").unsent_messages, 0);
}
