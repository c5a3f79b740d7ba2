//! What the servers do that load generators are pointed at (`bench_server.rs` says it), over whichever loop.

use std::collections::BTreeMap;

use forebay_core::wire::CloseCode;
use forebay_core::{ConnId, Event, Hub, Instant, LaneOptions, OwnedPayload, Payload, SendError, Start};

/// What they subscribe to.
pub(crate) const TOPIC: &str = "t";

/// What has to be known from one event to the next.
#[derive(Default)]
pub(crate) struct Bench {
    /// What had no room on its way back. Nothing more is received from such a connection.
    waiting: BTreeMap<ConnId, OwnedPayload>,
}

impl Bench {
    pub(crate) fn event(&mut self, hub: &mut Hub, event: Event, now: Instant) {
        match event {
            Event::Received(conn) if !self.waiting.contains_key(&conn) => self.receive(hub, conn, now),
            Event::Sendable(conn) => self.receive(hub, conn, now),
            Event::Closed { conn, .. } => drop(self.waiting.remove(&conn)),
            _ => {}
        }
    }

    fn receive(&mut self, hub: &mut Hub, conn: ConnId, now: Instant) {
        let topic = hub.find_topic(TOPIC).expect("it was declared");
        while let Some(message) = self.waiting.remove(&conn).or_else(|| hub.receive(conn, now)) {
            let payload = message.as_text().map_or(Payload::Binary(&message.bytes), Payload::Text);
            if message.bytes.starts_with(b"P") {
                if let Err(error) = hub.publish(topic, Payload::Binary(&message.bytes), now) {
                    eprintln!("not published: {error}");
                }
            } else if message.is_text && message.bytes.starts_with(b"SUB ") {
                if let Err(error) = hub.subscribe(conn, topic, LaneOptions::default(), Start::Latest, now) {
                    eprintln!("not subscribed: {error}");
                }
            } else {
                match hub.send(conn, payload, now) {
                    Err(SendError::Full) => {
                        self.waiting.insert(conn, message);
                        return;
                    }
                    Err(SendError::Overloaded) => hub.close(conn, CloseCode::TRY_AGAIN_LATER, "out of memory", now),
                    Ok(()) | Err(_) => {} // Or the connection has ended.
                }
            }
        }
    }
}
