//! What guests do: they come, ask, say what they should not, and leave.

use std::collections::VecDeque;

use forebay_core::{Mode, Peer, Upgraded};

use super::super::draw::{self, CRIMES, NONSENSE};
use super::super::guest::Guest;
use super::super::{Line, Speaker, World};
use super::gates::REFUSAL;
use crate::mini::{Client, Wish};

impl World {
    pub(super) fn guest_arrives(&mut self, side: usize) {
        if self.guests.len() > 10 {
            return;
        }
        let (to_hub, to_guest) = (self.pipe(), self.pipe());
        let seed = self.choices.bits();
        let is_raw = self.choices.one_in(4);
        let mode = if is_raw { Mode::Raw } else { Mode::Dialect };
        let mut client = match self.choices.below(9) {
            8 => {
                let path = *self.choices.pick(&["/page", "/page", "/none"]);
                Client::fetching(seed, path)
            }
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
            5 | 6 => {
                let offer = draw::offer(&mut self.choices);
                Client::offering(seed, &["forebay.v1"], is_raw, &offer)
            }
            _ => Client::new(seed, &["forebay.v1"], is_raw),
        };
        let is_upgraded = client.phase == crate::mini::Phase::Open;
        let is_gated = self.choices.one_in(3);
        if is_gated {
            client.refusals.push(REFUSAL);
        }
        if self.choices.one_in(4) && client.phase == crate::mini::Phase::Connecting && !client.is_lawless() {
            let own = "http://world.example:8080";
            let origin = *self.choices.pick(&[own, "https://world.example:8080", "http://world.example", "null"]);
            client.come_from(origin, origin.ends_with("world.example:8080"));
        }
        if self.choices.one_in(12) && !is_upgraded {
            let cut = self.choices.index(client.out().len() + 1);
            client.out().truncate(cut);
            client.misbehave(b"");
        }
        client.manners.answers_pings = !self.choices.one_in(8);
        client.manners.answers_close = !self.choices.one_in(8);
        client.manners.compresses = !self.choices.one_in(4);
        client.manners.fragment = self.choices.one_in(4).then(|| self.choices.size(1, 200));
        let peer = Peer { mode, is_gated, ..Peer::default() };
        let place = &mut self.sides[side];
        let accepted = if is_upgraded {
            // Somebody else did the handshake, and has read a little too much already.
            let early = self.choices.one_in(2);
            if early {
                client.ping(b"early");
            }
            let leftover: Vec<u8> = client.out().drain(..).collect();
            place.hub.handle_upgraded(Upgraded { peer, protocol: None, deflate: None }, &leftover, self.now)
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
    pub(super) fn some_guest(&mut self, is_raw: bool) -> Option<usize> {
        let fits = |guest: &Guest| guest.is_usable() && (is_raw == guest.client.reader.is_none());
        let names: Vec<usize> = self.guests.iter().filter(|(_, guest)| fits(guest)).map(|(name, _)| *name).collect();
        (!names.is_empty()).then(|| *self.choices.pick(&names))
    }

    pub(super) fn guest_publishes(&mut self) {
        let Some(name) = self.some_guest(self.choices.clone().one_in(5)) else { return };
        let topic = self.topic_name();
        for _ in 0..self.choices.size(1, 4) {
            let side = self.guests[&name].side;
            let data = self.data(side, topic);
            if self.guests[&name].client.reader.is_none() {
                self.raw_sends(name, data.is_text(), data.bytes());
                continue;
            }
            let key = self.key(side);
            let tag = self.truth.tried(side, topic, &key, &data);
            let with_id = !self.choices.one_in(3);
            let space = *self.choices.pick(&["", "", " ", "\n\t"]);
            let client = &mut self.guests.get_mut(&name).expect("a guest").client;
            let text = client.reader().publish_keyed(topic, &key, &data, tag, with_id, space);
            client.text(&text);
        }
    }

    pub(super) fn guest_subscribes(&mut self) {
        let Some(name) = self.some_guest(false) else { return };
        let topic = self.topic_name();
        let side = &self.sides[self.guests[&name].side];
        let (options, head) = (side.options_of(topic), side.head_of(topic));
        let lane = draw::lane(&mut self.choices, Some(&options));
        let from = draw::from(draw::start(&mut self.choices, head));
        let guest = self.guests.get_mut(&name).expect("a guest");
        if from.is_some() {
            guest.past.insert(topic.into());
        }
        guest.client.subscribe_as(topic, Wish { from: from.as_deref(), ..draw::wish(lane) });
    }

    pub(super) fn guest_unsubscribes(&mut self) {
        let Some(name) = self.some_guest(false) else { return };
        let topic = self.topic_name();
        self.guests.get_mut(&name).expect("a guest").client.unsubscribe(topic);
    }

    pub(super) fn guest_says_something_else(&mut self) {
        let Some(name) = self.some_guest(false) else { return };
        let what = self.choices.below(9);
        let topic = self.topic_name();
        let number = self.choices.below(40);
        let members = *self.choices.pick(&NONSENSE);
        let client = &mut self.guests.get_mut(&name).expect("a guest").client;
        match what {
            // Also many in one write, which is no crime.
            0 => client.flood(9, b"ping", if number == 0 { 61 } else { 1 }),
            1 => {
                let text = client.reader().ping(false);
                client.text(&text);
            }
            2 => client.ask_ping(),
            6 => client.ack(topic, number),
            7 => client.ack_each(topic, &[number, number + 2, number]),
            8 => client.credit(topic, number),
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

    pub(super) fn freeze_or_thaw(&mut self) {
        let pipes: Vec<usize> = self.guests.values().map(|guest| guest.rx).collect();
        if !pipes.is_empty() {
            let name = *self.choices.pick(&pipes);
            let pipe = self.pipes.get_mut(&name).expect("a pipe");
            pipe.frozen = !pipe.frozen;
        }
    }

    pub(super) fn guest_leaves(&mut self) {
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

    pub(super) fn guest_misbehaves(&mut self) {
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
            None if junk[2] < 220 => {
                // More than anybody has credit for, or is given in the time of a world; nothing, or next to it, is in them.
                client.misbehave(b"");
                client.flood([0, 9, 10][usize::from(junk[0] % 3)], &junk[1..1 + usize::from(junk[1] % 2)], 20_000);
            }
            None => client.misbehave(&junk),
        }
    }
}
