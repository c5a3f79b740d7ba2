//! What may happen in a step.

use std::collections::VecDeque;
use std::time::Duration;

use forebay_core::{
    ClientRequest, ConnId, Instant, LaneId, Mode, Payload, Peer, PublishError, SendError, Start, TopicId, Upgraded,
    wire,
};

use super::draw::{self, CRIMES, NONSENSE, TOPICS};
use super::guest::{Guest, direct_text};
use super::{Line, Local, Speaker, World};
use crate::mini::{Client, Data};
use crate::pipe::Pipe;

impl World {
    /// One random thing happens, and often time passes.
    pub(super) fn act(&mut self) {
        let side = self.choices.index(2);
        let what = self.choices.below(100);
        self.note(|| format!("action {what}, side {side}"));
        match what {
            0..=19 => self.pass_time(),
            20..=33 => self.application_publishes(side),
            34..=47 => self.guest_publishes(),
            48..=54 => self.guest_subscribes(),
            55..=57 => self.guest_unsubscribes(),
            58..=61 => self.guest_says_something_else(),
            62..=65 => self.freeze_or_thaw(),
            66..=73 => self.guest_arrives(side),
            74 => self.guest_leaves(),
            75 => self.guest_misbehaves(),
            76 => self.hub_connects(),
            77..=79 => self.client_hub_speaks(),
            80..=81 => self.topic_comes_or_goes(side),
            82..=84 => self.application_sends(side),
            85..=87 => self.application_subscribes(side),
            88..=90 => self.local_comes_or_goes(side),
            91 => self.application_closes(side),
            92..=93 => self.stale(side),
            94..=95 => self.spurious(side),
            96..=97 => self.pipe_changes(),
            98 => self.clock_jumps(side),
            _ => self.leap(),
        }
        if self.choices.one_in(3) {
            self.pass_time();
        }
    }

    fn pass_time(&mut self) {
        match self.choices.below(4) {
            0 => {}
            1 => self.now = self.now + Duration::from_micros(self.choices.below(2_000)),
            2 => self.now = self.now + Duration::from_millis(self.choices.below(200)),
            _ => self.now = self.next_event().unwrap_or(self.now),
        }
    }

    fn topic_name(&mut self) -> &'static str {
        TOPICS[self.choices.index(TOPICS.len())]
    }

    fn data(&mut self, side: usize, topic: &str) -> Data {
        let number = self.fresh();
        let max = self.sides[side].options_of(topic).message_bytes_max;
        draw::payload(&mut self.choices, number, max as usize)
    }

    // --- the application ---

    fn application_publishes(&mut self, side: usize) {
        let topic = self.topic_name();
        for _ in 0..self.choices.size(1, 4) {
            let data = self.data(side, topic);
            self.publish(side, topic, &data);
        }
    }

    /// The application publishes, and knows exactly what must come of it.
    pub(super) fn publish(&mut self, side: usize, topic: &str, data: &Data) {
        let place = &mut self.sides[side];
        let id = match place.hub.find_topic(topic) {
            Some(id) => id,
            None if self.choices.one_in(2) => match place.open_topic(topic) {
                Some(id) => id,
                None => return,
            },
            None => return,
        };
        let payload = match data {
            Data::Json(text) => Payload::Text(text),
            Data::Bytes(bytes) => Payload::Binary(bytes),
        };
        let tag = self.truth.tried(side, topic, data);
        let lanes = place.lines.keys().filter(|conn| place.hub.find_lane(**conn, id).is_some()).count()
            + place.locals.values().filter(|local| local.topic == id).count();
        let result = place.hub.publish(id, payload, self.now);
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{side} publish {topic} {:?} {} bytes: {result:?}", id, payload.as_bytes().len()));
        }
        match result {
            Ok(published) => {
                assert_eq!(published.matched as usize, lanes, "lanes of {topic}");
                self.truth.numbered(side, tag, published.position.seq, Some(published.position.epoch));
            }
            Err(error) => {
                self.truth.refused(side, tag);
                match error {
                    PublishError::Full => {
                        place.awaited.insert(id);
                    }
                    PublishError::TooLarge | PublishError::Overloaded | PublishError::UnknownTopic => {}
                    other => panic!("{other:?} for {data:?}"),
                }
            }
        }
    }

    fn application_sends(&mut self, side: usize) {
        let conns = self.raw_conns(side);
        if conns.is_empty() {
            return;
        }
        let conn = *self.choices.pick(&conns);
        let number = self.fresh();
        match self.sides[side].hub.send(conn, Payload::Text(&direct_text(number)), self.now) {
            Ok(()) | Err(SendError::Full | SendError::UnknownConnection | SendError::Overloaded) => {}
            Err(other) => panic!("{other:?} for a small message"),
        }
    }

    fn raw_conns(&self, side: usize) -> Vec<ConnId> {
        let lines = self.sides[side].lines.iter();
        lines.filter(|(_, line)| matches!(line.speaker, Speaker::Raw(_))).map(|(conn, _)| *conn).collect()
    }

    fn application_subscribes(&mut self, side: usize) {
        let topic = self.topic_name();
        let conns = self.raw_conns(side);
        if conns.is_empty() {
            return;
        }
        let conn = *self.choices.pick(&conns);
        let options = self.sides[side].options_of(topic);
        let lane = draw::lane(&mut self.choices, Some(&options));
        let leaves = self.choices.one_in(3);
        let Some(id) = self.sides[side].open_topic(topic) else { return };
        let hub = &mut self.sides[side].hub;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{side} {conn:?} {topic} {id:?}: {}", if leaves { "unsubscribe" } else { "subscribe" }));
        }
        if leaves {
            let had = hub.find_lane(conn, id).is_some();
            assert_eq!(hub.unsubscribe(conn, id, self.now), had, "unsubscribe says whether there was a lane");
        } else if let Ok(lane) = hub.subscribe(conn, id, lane, Start::Latest, self.now) {
            assert_eq!(hub.find_lane(conn, id), Some(lane));
        }
    }

    fn local_comes_or_goes(&mut self, side: usize) {
        let topic = self.topic_name();
        let options = self.sides[side].options_of(topic);
        let limits = draw::lane(&mut self.choices, Some(&options));
        let place = &mut self.sides[side];
        if place.locals.len() > 2 || (self.choices.one_in(3) && !place.locals.is_empty()) {
            let lanes: Vec<LaneId> = place.locals.keys().copied().collect();
            let lane = *self.choices.pick(&lanes);
            let is_there = place.hub.lane(lane).is_some();
            assert_eq!(place.hub.unsubscribe_local(lane, self.now), is_there, "says whether there was a lane");
            if is_there {
                place.locals.remove(&lane);
                place.old_lanes.push(lane);
            }
            return;
        }
        let Some(id) = place.open_topic(topic) else { return };
        if let Ok(lane) = place.hub.subscribe_local(id, limits, Start::Latest, self.now) {
            let was = place.locals.insert(lane, Local::new(topic.into(), id));
            assert!(was.is_none(), "{lane:?} is named twice");
        }
    }

    fn topic_comes_or_goes(&mut self, side: usize) {
        let name = self.topic_name();
        let place = &mut self.sides[side];
        match place.hub.find_topic(name) {
            Some(id) if self.choices.one_in(2) => {
                if let Some(trace) = &mut self.trace {
                    trace.push(format!("{side} remove_topic {name} {id:?}"));
                }
                assert!(place.hub.remove_topic(id, self.now), "a topic that is there");
                // A publish that waited for it may have made it anew.
                assert_ne!(place.hub.find_topic(name), Some(id), "removed, but found");
                place.declared.remove(name);
                place.awaited.remove(&id);
                place.old_topics.push(id);
            }
            there => {
                let options = draw::topic(&mut self.choices);
                let declared = place.hub.topic(name, options);
                assert!(there.is_none() || declared.is_err(), "{name} is declared twice");
                if let Ok(id) = declared {
                    place.declared.insert(name.into(), (id, options));
                }
            }
        }
    }

    fn application_closes(&mut self, side: usize) {
        let conns = self.sides[side].conns();
        if !conns.is_empty() {
            let conn = *self.choices.pick(&conns);
            let reason = *self.choices.pick(&["", "bye", "é"]);
            self.sides[side].hub.close(conn, wire::CloseCode::GOING_AWAY, reason, self.now);
        }
    }

    // --- guests ---

    fn guest_arrives(&mut self, side: usize) {
        if self.guests.len() > 10 {
            return;
        }
        let (to_hub, to_guest) = (self.pipe(), self.pipe());
        let seed = self.choices.bits();
        let is_raw = self.choices.one_in(4);
        let mode = if is_raw { Mode::Raw } else { Mode::Dialect };
        let mut client = match self.choices.below(8) {
            0 => Client::new(seed, &[], is_raw),
            1 => Client::new(seed, &["chat", "superchat"], is_raw),
            2 => Client::new(seed, &["chat", "forebay.v1"], is_raw),
            3 => Client::upgraded(seed, is_raw),
            4 if self.choices.one_in(2) => {
                let mut client = Client::silent(seed, is_raw);
                let size = self.choices.index(600);
                let garbage = self.choices.bytes(size);
                client.misbehave(&garbage);
                client
            }
            _ => Client::new(seed, &["forebay.v1"], is_raw),
        };
        let is_upgraded = client.phase == crate::mini::Phase::Open;
        if self.choices.one_in(12) && !is_upgraded {
            let cut = self.choices.index(client.out().len() + 1);
            client.out().truncate(cut);
            client.misbehave(b"");
        }
        client.manners.answers_pings = !self.choices.one_in(8);
        client.manners.answers_close = !self.choices.one_in(8);
        client.manners.fragment = self.choices.one_in(4).then(|| self.choices.size(1, 200));
        let peer = Peer { address: None, mode };
        let place = &mut self.sides[side];
        let accepted = if is_upgraded {
            // Somebody else did the handshake, and has read a little too much already.
            let early = self.choices.one_in(2);
            if early {
                client.ping(b"early");
            }
            let leftover: Vec<u8> = client.out().drain(..).collect();
            place.hub.handle_upgraded(Upgraded { peer, protocol: None }, &leftover, self.now)
        } else {
            place.hub.handle_accept(peer, self.now)
        };
        let Ok(conn) = accepted else { return };
        assert!(!place.ended.contains_key(&conn), "{conn:?} is named again");
        let speaker = if is_raw { Speaker::Raw(Some(VecDeque::new())) } else { Speaker::Dialect };
        let was = place.lines.insert(conn, Line::new(to_hub, to_guest, speaker));
        assert!(was.is_none(), "{conn:?} is named twice");
        self.summary.accepted += 1;
        let name = usize::try_from(self.fresh()).expect("few");
        self.guests.insert(name, Guest::new(client, side, conn, to_guest, to_hub));
    }

    /// A guest that can ask for things.
    fn some_guest(&mut self, is_raw: bool) -> Option<usize> {
        let fits = |guest: &Guest| guest.is_usable() && (is_raw == guest.client.reader.is_none());
        let names: Vec<usize> = self.guests.iter().filter(|(_, guest)| fits(guest)).map(|(name, _)| *name).collect();
        (!names.is_empty()).then(|| *self.choices.pick(&names))
    }

    fn guest_publishes(&mut self) {
        let Some(name) = self.some_guest(self.choices.clone().one_in(5)) else { return };
        let topic = self.topic_name();
        for _ in 0..self.choices.size(1, 4) {
            let side = self.guests[&name].side;
            let data = self.data(side, topic);
            if self.guests[&name].client.reader.is_none() {
                self.raw_sends(name, data.is_text(), data.bytes());
                continue;
            }
            let tag = self.truth.tried(side, topic, &data);
            let with_id = !self.choices.one_in(3);
            let space = *self.choices.pick(&["", "", " ", "\n\t"]);
            let client = &mut self.guests.get_mut(&name).expect("a guest").client;
            let text = client.reader().publish(topic, &data, tag, with_id, space);
            client.text(&text);
        }
    }

    fn guest_subscribes(&mut self) {
        let Some(name) = self.some_guest(false) else { return };
        let topic = self.topic_name();
        self.guests.get_mut(&name).expect("a guest").client.subscribe(topic);
    }

    fn guest_unsubscribes(&mut self) {
        let Some(name) = self.some_guest(false) else { return };
        let topic = self.topic_name();
        self.guests.get_mut(&name).expect("a guest").client.unsubscribe(topic);
    }

    fn guest_says_something_else(&mut self) {
        let Some(name) = self.some_guest(false) else { return };
        let what = self.choices.below(6);
        let members = *self.choices.pick(&NONSENSE);
        let client = &mut self.guests.get_mut(&name).expect("a guest").client;
        match what {
            0 => client.ping(b"ping"),
            1 => {
                let text = client.reader().ping(false);
                client.text(&text);
            }
            2 => client.ask_ping(),
            3 => {
                client.reader().expect_silent_error();
                client.binary(b"{\"op\":\"ping\"}");
            }
            4 => {
                client.reader().expect_silent_error();
                client.text("[1, 2");
            }
            _ => {
                let text = client.reader().nonsense(members);
                client.text(&text);
            }
        }
    }

    fn any_guest(&mut self) -> Option<usize> {
        let names: Vec<usize> = self.guests.keys().copied().collect();
        (!names.is_empty()).then(|| *self.choices.pick(&names))
    }

    fn freeze_or_thaw(&mut self) {
        let pipes: Vec<usize> = self.guests.values().map(|guest| guest.rx).collect();
        if !pipes.is_empty() {
            let name = *self.choices.pick(&pipes);
            let pipe = self.pipes.get_mut(&name).expect("a pipe");
            pipe.frozen = !pipe.frozen;
        }
    }

    fn guest_leaves(&mut self) {
        let Some(name) = self.any_guest() else { return };
        let code = *self.choices.pick(&[None, Some(1000), Some(1001), Some(4_321)]);
        let how = self.choices.below(3);
        let guest = self.guests.get_mut(&name).expect("a guest");
        match how {
            0 if guest.is_usable() => guest.client.close(code),
            0 | 1 => {
                guest.has_left = true;
                self.pipes.get_mut(&guest.tx).expect("a pipe").finish(self.now);
            }
            _ => {
                guest.has_left = true;
                self.pipes.get_mut(&guest.tx).expect("a pipe").reset();
                self.pipes.get_mut(&guest.rx).expect("a pipe").reset();
            }
        }
    }

    fn guest_misbehaves(&mut self) {
        let is_raw = self.choices.one_in(2);
        let Some(name) = self.some_guest(is_raw) else { return };
        let crime = self.choices.index(CRIMES.len() + 2);
        let junk = self.choices.bytes(40);
        let guest = self.guests.get_mut(&name).expect("a guest");
        if let Some(line) = self.sides[guest.side].lines.get_mut(&guest.conn).filter(|_| is_raw) {
            line.speaker = Speaker::Raw(None);
        }
        let client = &mut guest.client;
        match CRIMES.get(crime) {
            Some((bytes, _)) => client.misbehave(bytes),
            None if crime == CRIMES.len() => {
                client.close(Some(1000));
                client.misbehave(b"");
                client.text("{\"op\":\"ping\"}");
            }
            None => client.misbehave(&junk),
        }
    }

    // --- hub B as a client of hub A ---

    fn hub_connects(&mut self) {
        let clients =
            self.sides[1].lines.values().filter(|line| matches!(line.speaker, Speaker::Client { .. })).count();
        if clients > 1 {
            return;
        }
        let peer = Peer { address: None, mode: Mode::Dialect };
        let Ok(server) = self.sides[0].hub.handle_accept(peer, self.now) else { return };
        self.summary.accepted += 1;
        let (forth, back) = (self.pipe(), self.pipe());
        self.sides[0].lines.insert(server, Line::new(forth, back, Speaker::Dialect));
        let request = ClientRequest {
            host: "a.example",
            target: "/feed?x=1",
            origin: None,
            protocols: &["forebay.v1"],
            headers: &[("X-World", "yes")],
        };
        let Ok(client) = self.sides[1].hub.connect(request, self.now) else {
            // Nobody dials: the server sees the end.
            self.pipes.get_mut(&forth).expect("a pipe").finish(self.now);
            return;
        };
        self.summary.accepted += 1;
        let speaker = Speaker::Client { server, reader: Box::default(), outbox: VecDeque::new() };
        self.sides[1].lines.insert(client, Line::new(back, forth, speaker));
    }

    fn client_hub_speaks(&mut self) {
        let topic = self.topic_name();
        let what = self.choices.below(5);
        let data = self.data(0, topic);
        let lines = self.sides[1].lines.values_mut();
        for line in lines {
            let Speaker::Client { reader, outbox, .. } = &mut line.speaker else { continue };
            if outbox.len() > 8 {
                continue;
            }
            outbox.push_back(match what {
                0..=2 => reader.subscribe(topic, true),
                3 => reader.ping(true),
                _ => {
                    let tag = self.truth.tried(0, topic, &data);
                    let text = reader.publish(topic, &data, tag, true, "");
                    outbox.push_back(text);
                    return;
                }
            });
        }
    }

    // --- disorder ---

    fn stale(&mut self, side: usize) {
        let place = &mut self.sides[side];
        let before = place.hub.stats().stale_inputs;
        let ended: Vec<ConnId> =
            place.ended.iter().filter(|(_, (cut, closed))| *cut && *closed).map(|(conn, _)| *conn).collect();
        let conn = if ended.is_empty() || self.choices.one_in(3) {
            ConnId::from_bits(self.choices.bits() | 1 << 63)
        } else {
            *self.choices.pick(&ended)
        };
        let hub = &mut place.hub;
        match self.choices.below(9) {
            0 => hub.handle_bytes(conn, b"x", self.now),
            1 => hub.handle_sent(conn, 5, self.now),
            2 => hub.handle_writable(conn, self.now),
            3 => hub.handle_eof(conn, self.now),
            4 => hub.handle_kernel(conn, 7),
            5 => hub.close(conn, wire::CloseCode::NORMAL, "", self.now),
            6 => {
                assert_eq!(hub.send(conn, Payload::Text("x"), self.now), Err(SendError::UnknownConnection));
                assert!(hub.receive(conn, self.now).is_none() && !hub.wants_read(conn));
                assert!(hub.connection(conn).is_none() && hub.protocol(conn).is_none());
                return;
            }
            7 => {
                let topic = place.old_topics.last().copied().unwrap_or(TopicId::from_bits(u64::MAX));
                assert!(hub.topic_totals(topic).is_none() && !hub.remove_topic(topic, self.now));
                assert!(!hub.unsubscribe(conn, topic, self.now));
                assert_eq!(hub.publish(topic, Payload::Text("1"), self.now), Err(PublishError::UnknownTopic));
                return;
            }
            _ => {
                let lane = place.old_lanes.last().copied().unwrap_or(LaneId::from_bits(u64::MAX));
                assert!(hub.lane(lane).is_none() && hub.take(lane, self.now).is_none());
                assert!(!hub.unsubscribe_local(lane, self.now));
                return;
            }
        }
        assert!(hub.stats().stale_inputs > before, "a stale input is counted");
    }

    fn spurious(&mut self, side: usize) {
        let conns = self.sides[side].conns();
        let what = self.choices.below(3);
        let number = self.choices.small(0, 1 << 20);
        if what == 0 || conns.is_empty() {
            self.sides[side].hub.handle_timeout(self.now);
            return;
        }
        let conn = *self.choices.pick(&conns);
        let place = &mut self.sides[side];
        if what == 1 {
            place.hub.handle_kernel(conn, number);
        } else if let Some(line) = place.lines.get_mut(&conn).filter(|line| line.out.is_none()) {
            line.is_blocked = false;
            place.hub.handle_writable(conn, self.now);
        }
    }

    fn pipe_changes(&mut self) {
        let names: Vec<usize> = self.guests.values().flat_map(|guest| [guest.rx, guest.tx]).collect();
        if names.is_empty() {
            return;
        }
        let name = *self.choices.pick(&names);
        let capacity = match self.choices.below(3) {
            0 => self.choices.index(16),
            1 => self.choices.index(4_096),
            _ => 65_536,
        };
        let chunk = if self.choices.one_in(3) { 1 } else { 1 << 16 };
        let pipe: &mut Pipe = self.pipes.get_mut(&name).expect("a pipe");
        (pipe.capacity, pipe.chunk) = (capacity, chunk);
    }

    /// The embedder's clock stands still or goes backwards: the hub's does not.
    fn clock_jumps(&mut self, side: usize) {
        let back = self.choices.below(10_000_000_000);
        let earlier = Instant::from_nanos(self.now.as_nanos().saturating_sub(back));
        self.sides[side].hub.handle_timeout(earlier);
    }

    /// Seldom, and once: a hundred years.
    fn leap(&mut self) {
        if !self.has_leapt && self.choices.one_in(40) {
            self.has_leapt = true;
            self.now = self.now + Duration::from_secs(100 * 365 * 86_400);
        }
    }
}
