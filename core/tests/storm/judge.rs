//! What consumers got, and what must be true of it when everything has come to rest and when all is over.

use std::time::Duration;

use forebay_core::wire::frame::parse_header;
use forebay_core::{Cause, ConnId, LaneId, LossReason};
use serde_json::Value;

use crate::acts::frame;
use crate::world::{Client, World};

/// What a consumer saw of one topic since it subscribed.
#[derive(Debug, Default, Clone)]
pub(super) struct Seen {
    pub(super) began: u64,
    pub(super) last: u64,
    pub(super) received: u64,
    pub(super) missed: u64,
}

impl Seen {
    pub(super) fn message(&mut self, seq: u64) {
        assert!(seq > self.last, "in order, once: {seq} after {self:?}");
        self.last = seq;
        self.received += 1;
    }
}

pub(super) fn uid_of(value: &Value) -> u64 {
    value[0].as_u64().unwrap()
}

impl World {
    pub(super) fn hear(&mut self, conn: ConnId, bytes: &[u8]) {
        let client = self.conns.get_mut(&conn).unwrap();
        client.stream.extend(bytes);
        while let Some((header, start)) = parse_header(&client.stream).unwrap() {
            let end = start + usize::try_from(header.len).unwrap();
            if client.stream.len() < end {
                return;
            }
            let payload: Vec<u8> = client.stream.drain(..end).skip(start).collect();
            assert!(!client.is_closing, "nothing follows a Close frame");
            match header.opcode as u8 {
                1 if client.is_raw => {
                    let value: Value = serde_json::from_slice(&payload).unwrap();
                    if value["op"] != "direct" {
                        // Of what another client published the number is not known.
                        if let Some((topic, seq)) = self.seqs.get(&uid_of(&value))
                            && let Some(seen) = client.raw.get_mut(topic)
                        {
                            seen.message(*seq);
                        }
                    }
                }
                1 => {
                    let value: Value = serde_json::from_slice(&payload).unwrap();
                    if self.trace {
                        eprintln!("  {conn:?} heard {}", value.to_string().replace("xxxx", ""));
                    }
                    hear_forebay(client, &value);
                }
                8 => {
                    client.is_closing = true;
                    client.to_say.push_back(frame(8, &payload));
                }
                9 => client.to_say.push_back(frame(10, &payload)),
                10 => {}
                opcode => panic!("{opcode}"),
            }
        }
    }

    /// Everything is answered, read and taken, once. Whether there was anything.
    fn exchange(&mut self) -> bool {
        let mut any = false;
        let all: Vec<ConnId> = self.conns.keys().copied().collect();
        for conn in all {
            let Some(client) = self.conns.get_mut(&conn) else { continue };
            if let Some(bytes) = client.outstanding.take() {
                let len = bytes.len();
                self.sent(conn, &bytes, len);
                any = true;
            }
            self.hub.handle_writable(conn, self.now);
            self.check("writable");
            if self.hub.wants_read(conn) && !self.conns[&conn].to_say.is_empty() {
                let bytes: Vec<u8> = self.conns.get_mut(&conn).unwrap().to_say.drain(..).flatten().collect();
                self.hub.handle_bytes(conn, &bytes, self.now);
                self.check("bytes");
                any = true;
            }
            while self.hub.receive(conn, self.now).is_some() {
                any = true;
            }
        }
        let lanes: Vec<LaneId> = self.locals.keys().copied().collect();
        for lane in lanes {
            while self.take_one(lane) {
                any = true;
            }
        }
        loop {
            let polled = self
                .hub
                .poll_transmit()
                .map(|transmit| (transmit.conn(), transmit.slices().flatten().copied().collect::<Vec<u8>>()));
            self.check("poll_transmit");
            let Some((conn, bytes)) = polled else { break };
            let len = bytes.len();
            self.sent(conn, &bytes, len);
            any = true;
        }
        self.outputs();
        self.hub.handle_timeout(self.now);
        self.check("timeout");
        any
    }

    /// Everything is answered, read and taken: what must come to an end does.
    pub(super) fn heal(&mut self) {
        let mut rounds = 0;
        while self.exchange() {
            rounds += 1;
            assert!(rounds < 10_000, "it comes to rest");
        }
        let deadline = self.hub.poll_timeout();
        assert!(
            deadline.is_none_or(|deadline| deadline.cause == Cause::Timer && deadline.at > self.now),
            "{deadline:?}"
        );
        assert!(self.owed_drained.is_empty(), "whoever was refused is told of room: {:?}", self.owed_drained);
        let stats = *self.hub.stats();
        assert_eq!((stats.lanes.waiting.messages, stats.direct.waiting.messages), (0, 0), "nothing waits");
        for (id, client) in &self.conns {
            let pressure = self.hub.connection(*id).unwrap();
            assert!(
                !pressure.is_paused && pressure.reply_bytes == 0 && pressure.outstanding_bytes == 0,
                "{pressure:?}"
            );
            if !client.is_closing {
                assert!(client.asked.is_empty(), "every request is answered: {:?}", client.asked);
                assert_eq!(pressure.inbound_bytes, 0);
            }
            for (name, seen) in &client.subscriptions {
                let topic = self.hub.find_topic(name).unwrap_or_else(|| panic!("{name}"));
                assert!(self.hub.find_lane(*id, topic).is_some());
                let lane = self.hub.lane(self.hub.find_lane(*id, topic).unwrap()).unwrap();
                assert_eq!(lane.totals.sent.messages, seen.received, "{name} of {id:?}");
                let told = seen.received + seen.missed + lane.totals.lost_by(LossReason::Superseded).messages;
                assert_eq!(lane.totals.entered.messages, told, "received, missed and superseded are all");
            }
        }
        for (lane, (_, seen)) in &self.locals {
            let totals = self.hub.lane(*lane).unwrap().totals;
            assert_eq!(totals.sent.messages, seen.received);
            let superseded = totals.lost_by(LossReason::Superseded).messages;
            assert_eq!(totals.entered.messages, seen.received + seen.missed + superseded);
        }
    }

    /// Nothing is left in the end: every connection is closed in order, and before its time.
    pub(super) fn drain(&mut self) {
        self.hub.drain(self.now + Duration::from_secs(60), self.now);
        self.check("drain");
        for _ in 0..20 {
            self.exchange();
        }
        assert_eq!(self.hub.connections(), 0, "{:?}", self.conns.keys());
        let lanes: Vec<LaneId> = self.locals.keys().copied().collect();
        for lane in lanes {
            self.hub.unsubscribe_local(lane, self.now);
            self.check("unsubscribe");
        }
        for (topic, ..) in std::mem::take(&mut self.topics) {
            self.hub.remove_topic(topic, self.now);
            self.check("remove_topic");
        }
        assert!(self.hub.poll_transmit().is_none());
        self.check("poll_transmit");
        let stats = self.hub.stats();
        assert_eq!((stats.resident_bytes, stats.topics, stats.lanes_now, stats.connections), (0, 0, 0, 0));
        assert_eq!((stats.lanes.conservation_error(), stats.lanes.waiting.messages), (0, 0));
    }
}

fn hear_forebay(client: &mut Client, value: &Value) {
    let topic = value["topic"].as_str().unwrap_or_default();
    match value["op"].as_str().unwrap() {
        "hello" | "direct" => {}
        "message" => {
            let seen = client.subscriptions.get_mut(topic).expect("a message comes while subscribed");
            seen.message(value["seq"].as_u64().unwrap());
        }
        "gap" => {
            let seen = client.subscriptions.get_mut(topic).expect("a gap comes while subscribed");
            let (from, to) = (value["from"].as_u64().unwrap(), value["to"].as_u64().unwrap());
            let missed = value["missed"].as_u64().unwrap();
            assert!(from > seen.began && missed > 0 && missed <= to - from + 1, "{value} {seen:?}");
            seen.missed += missed;
        }
        "ended" => drop(client.subscriptions.remove(topic)),
        "ok" | "error" | "pong" => {
            let id = value["id"].as_u64().unwrap();
            let asked = client.asked.remove(&id).expect("answered once");
            if value["op"] == "ok" && asked.contains("\"subscribe\"") {
                let began = value["seq"].as_u64().unwrap();
                let seen = Seen { began, last: began, ..Seen::default() };
                assert!(client.subscriptions.insert(topic.to_owned(), seen).is_none());
            } else if value["op"] == "ok" && asked.contains("\"unsubscribe\"") {
                client.subscriptions.remove(topic).expect("it was subscribed");
            }
        }
        op => panic!("{op}"),
    }
}
