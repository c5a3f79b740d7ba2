//! What may happen in a step.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use forebay_core::wire::CloseCode;
use forebay_core::{
    ConnId, Effect, Entry, Event, LaneId, Message, Mode, Payload, Peer, Policy, PublishError, Start, Upgraded,
};
use serde_json::Value;

use crate::judge::{Seen, uid_of};
use crate::world::{Client, World, topic_options};

pub(super) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0x80 | opcode];
    if payload.len() < 126 {
        out.push(0x80 | u8::try_from(payload.len()).unwrap());
    } else {
        out.push(0x80 | 126);
        out.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    }
    out.extend([0; 4]);
    out.extend(payload);
    out
}

impl World {
    pub(super) fn step(&mut self) {
        match self.rng.below(100) {
            0..3 => self.open(),
            3..8 => self.make_topic(),
            8..13 => self.subscribe(),
            13..15 => self.subscribe_local(),
            15..18 => self.unsubscribe(),
            18 => self.remove_topic(),
            19..35 => self.publish(),
            35..40 => self.send(),
            40..60 => self.say(),
            60..72 => self.poll(),
            72..82 => self.answer(),
            82..87 => self.writable(),
            87..91 => self.take(),
            91..93 => self.receive(),
            93..95 => self.outputs(),
            95..98 => self.wait(),
            98 => self.close(),
            _ => self.feed(),
        }
    }

    fn open(&mut self) {
        let is_raw = self.rng.chance(30);
        let mode = if is_raw { Mode::Raw } else { Mode::Dialect };
        let upgraded = Upgraded { peer: Peer { mode, ..Peer::default() }, protocol: None, deflate: None };
        if let Ok(id) = self.hub.handle_upgraded(upgraded, &[], self.now) {
            let client = Client {
                is_raw,
                stream: Vec::new(),
                is_closing: false,
                subscriptions: BTreeMap::new(),
                raw: BTreeMap::new(),
                asked: BTreeMap::new(),
                outstanding: None,
                to_say: VecDeque::new(),
            };
            self.conns.insert(id, client);
        }
        self.check("open");
    }

    fn make_topic(&mut self) {
        let name = self.a_name();
        let options = topic_options(&mut self.rng, self.message_bytes_max);
        if let Ok(id) = self.hub.topic(&name, options) {
            self.topics.push((id, name));
        }
        self.check("topic");
    }

    fn subscribe(&mut self) {
        let (Some(conn), Some(topic)) = (self.a_conn(), self.a_topic()) else { return };
        if !self.conns[&conn].is_raw {
            return;
        }
        let options = self.lane_options();
        if self.hub.subscribe(conn, topic, options, Start::Latest, self.now).is_ok() {
            self.conns.get_mut(&conn).unwrap().raw.entry(topic.to_bits()).or_default();
        }
        self.check("subscribe");
    }

    fn subscribe_local(&mut self) {
        let Some(topic) = self.a_topic() else { return };
        if self.locals.len() >= 4 {
            return;
        }
        let options = self.lane_options();
        if let Ok(lane) = self.hub.subscribe_local(topic, options, Start::Latest, self.now) {
            self.locals.insert(lane, (topic, Seen::default()));
        }
        self.check("subscribe_local");
    }

    fn unsubscribe(&mut self) {
        if self.rng.chance(30) {
            let all: Vec<LaneId> = self.locals.keys().copied().collect();
            if !all.is_empty() {
                let lane = self.rng.pick(&all);
                self.hub.unsubscribe_local(lane, self.now);
                self.locals.remove(&lane);
            }
        } else if let (Some(conn), Some(topic)) = (self.a_conn(), self.a_topic())
            && self.conns[&conn].is_raw
        {
            self.hub.unsubscribe(conn, topic, self.now);
        }
        self.check("unsubscribe");
    }

    fn remove_topic(&mut self) {
        if self.topics.is_empty() {
            return;
        }
        let place = self.rng.below(self.topics.len());
        let (id, ..) = self.topics.swap_remove(place);
        self.hub.remove_topic(id, self.now);
        self.owed_drained.remove(&id);
        self.check("remove_topic");
    }

    fn publish(&mut self) {
        let Some(topic) = self.a_topic() else { return };
        for _ in 0..=self.rng.below(3) {
            let (uid, data) = self.data();
            let before = *self.hub.stats();
            let message = Message::new(Payload::Text(&data)).with_key(self.a_key());
            match self.hub.publish(topic, message, self.now) {
                Ok(published) => {
                    self.seqs.insert(uid, (topic.to_bits(), published.position.seq));
                }
                Err(PublishError::Full) => {
                    self.owed_drained.insert(topic, ());
                    assert_eq!(self.hub.stats().lanes, before.lanes, "refused: nothing changed");
                }
                Err(PublishError::Overloaded) => {
                    assert_eq!(self.hub.stats().lanes, before.lanes, "refused: nothing changed");
                }
                Err(error) => panic!("{error}"),
            }
            self.check("publish");
        }
    }

    fn send(&mut self) {
        let Some(conn) = self.a_conn() else { return };
        let (uid, data) = self.data();
        let text = format!("{{\"op\":\"direct\",\"uid\":{uid},\"data\":{data}}}");
        let _ = self.hub.send(conn, Payload::Text(&text), self.now);
        self.check("send");
    }

    fn say(&mut self) {
        let Some(conn) = self.a_conn() else { return };
        for _ in 0..=self.rng.below(4) {
            let (uid, data) = self.data();
            let (name, key) = (self.a_name(), self.a_key());
            let policy = self.rng.pick(Policy::ALL);
            let client = self.conns.get_mut(&conn).unwrap();
            if client.is_closing {
                return;
            }
            let text = match self.rng.below(12) {
                0 => format!(r#"{{"op":"subscribe","topic":"{name}","id":{uid}}}"#),
                1 => format!(r#"{{"op":"subscribe","topic":"{name}","policy":"{policy}","id":{uid}}}"#),
                2 => format!(r#"{{"op":"unsubscribe","topic":"{name}","id":{uid}}}"#),
                3..9 => format!(r#"{{"op":"publish","topic":"{name}","id":{uid},"key":"{key}","data":{data}}}"#),
                9 => format!(r#"{{"op":"ping","id":{uid}}}"#),
                10 => format!(r#"{{"op":"dance","id":{uid}}}"#),
                _ => {
                    client.to_say.push_back(frame(9, b"hello"));
                    continue;
                }
            };
            if !client.is_raw {
                client.asked.insert(uid, text.clone());
            }
            client.to_say.push_back(frame(1, text.as_bytes()));
        }
        self.feed_conn(conn);
    }

    fn feed(&mut self) {
        if let Some(conn) = self.a_conn() {
            self.feed_conn(conn);
        }
    }

    fn feed_conn(&mut self, conn: ConnId) {
        let client = self.conns.get_mut(&conn).unwrap();
        if !self.hub.wants_read(conn) || client.to_say.is_empty() {
            return;
        }
        let mut bytes: Vec<u8> = client.to_say.drain(..).flatten().collect();
        let cut = if self.rng.chance(30) { self.rng.below(bytes.len()) } else { bytes.len() };
        let rest = bytes.split_off(cut);
        if !rest.is_empty() {
            client.to_say.push_front(rest);
        }
        self.hub.handle_bytes(conn, &bytes, self.now);
        self.check("bytes");
    }

    fn poll(&mut self) {
        let polled = self.hub.poll_transmit().map(|transmit| {
            let bytes: Vec<u8> = transmit.slices().flatten().copied().collect();
            assert_eq!(bytes.len(), transmit.len());
            assert!(!bytes.is_empty());
            (transmit.conn(), bytes)
        });
        if let Some((conn, bytes)) = polled {
            if self.trace {
                eprintln!("  {conn:?}: {} bytes", bytes.len());
            }
            let client = self.conns.get_mut(&conn).expect("only of connections that are there");
            assert!(client.outstanding.replace(bytes).is_none(), "one at a time");
        }
        self.check("poll_transmit");
        if self.rng.chance(50) {
            self.answer();
        }
    }

    fn answer(&mut self) {
        let all: Vec<ConnId> =
            self.conns.iter().filter(|(_, client)| client.outstanding.is_some()).map(|(id, _)| *id).collect();
        if all.is_empty() {
            return;
        }
        let conn = self.rng.pick(&all);
        let bytes = self.conns.get_mut(&conn).unwrap().outstanding.take().unwrap();
        let sent = match self.rng.below(4) {
            0 => 0,
            1 => self.rng.below(bytes.len()),
            _ => bytes.len(),
        };
        self.sent(conn, &bytes, sent);
    }

    pub(super) fn sent(&mut self, conn: ConnId, bytes: &[u8], sent: usize) {
        if self.trace {
            eprintln!("  {conn:?} sent {sent} of {}", bytes.len());
        }
        self.hub.handle_sent(conn, sent, self.now);
        self.check("sent");
        self.hear(conn, &bytes[..sent]);
    }

    fn writable(&mut self) {
        if let Some(conn) = self.a_conn() {
            self.hub.handle_writable(conn, self.now);
            self.check("writable");
        }
    }

    fn take(&mut self) {
        let all: Vec<LaneId> = self.locals.keys().copied().collect();
        if all.is_empty() {
            return;
        }
        let lane = self.rng.pick(&all);
        for _ in 0..=self.rng.below(4) {
            self.take_one(lane);
        }
    }

    pub(super) fn take_one(&mut self, lane: LaneId) -> bool {
        let entry = self.hub.take(lane, self.now);
        self.check("take");
        let (topic, seen) = self.locals.get_mut(&lane).unwrap();
        match entry {
            None => return false,
            Some(Entry::Gap(gap)) => seen.missed += gap.missed,
            Some(Entry::Message { seq, payload }) => {
                let value: Value = serde_json::from_str(payload.as_text().unwrap()).unwrap();
                if let Some(known) = self.seqs.get(&uid_of(&value)) {
                    assert_eq!(*known, (topic.to_bits(), seq));
                }
                seen.message(seq);
            }
        }
        true
    }

    fn receive(&mut self) {
        if let Some(conn) = self.a_conn() {
            while self.hub.receive(conn, self.now).is_some() {
                self.check("receive");
            }
        }
    }

    pub(super) fn outputs(&mut self) {
        while let Some(effect) = self.hub.poll_effect() {
            if let Effect::Close(conn) = effect {
                while self.hub.receive(conn, self.now).is_some() {}
                self.conns.remove(&conn);
            }
        }
        self.check("effects");
        while let Some(event) = self.hub.poll_event() {
            match event {
                Event::LaneEnded(lane) => drop(self.locals.remove(&lane)),
                Event::Drained(topic) => drop(self.owed_drained.remove(&topic)),
                Event::Received(conn) if self.rng.chance(70) => while self.hub.receive(conn, self.now).is_some() {},
                Event::Closed { reason, .. } if self.trace => eprintln!("  {event:?} {reason:?}"),
                _ => {}
            }
        }
        self.check("events");
    }

    fn wait(&mut self) {
        let most = if self.rng.chance(5) { 3_000 } else { 100 };
        self.now = self.now + Duration::from_millis(self.rng.next() % most);
        self.hub.handle_timeout(self.now);
        self.check("timeout");
    }

    fn close(&mut self) {
        if self.rng.chance(60) {
            return;
        }
        let Some(conn) = self.a_conn() else { return };
        if self.rng.chance(50) {
            self.hub.handle_eof(conn, self.now);
            while self.hub.receive(conn, self.now).is_some() {}
            self.conns.remove(&conn);
        } else {
            self.hub.close(conn, CloseCode::NORMAL, "enough", self.now);
        }
        self.check("close");
    }
}
