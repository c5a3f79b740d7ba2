//! What the application does, and the mailbox between two hubs.

use forebay_core::{Entry, Message, Payload, PublishError, TopicId, wire::CloseCode};

use super::client::{small, wish};
use super::{IDS, KEYS, LOCALS, Letter, Play, name_of, place, same};
use crate::model::plan::topic_options;
use crate::model::reference::{Reference, Verdict};

fn payload(is_text: bool, bytes: &[u8]) -> Payload<'_> {
    match std::str::from_utf8(bytes) {
        Ok(text) if is_text => Payload::Text(text),
        _ => Payload::Binary(bytes),
    }
}

impl Play {
    pub(super) fn declare(&mut self, side: usize, args: &[u64]) -> Verdict {
        let (name, options) = (name_of(args[0]), topic_options(&args[1..]));
        let place = &mut self.sides[side];
        let expected = place.model.may_declare(name, &options);
        let made = place.hub.topic(name, options);
        same("declare", made.err(), expected)?;
        if let Ok(id) = made {
            let key = place.model.make_topic(name, options, true);
            place.name_topic(key, id)?;
        }
        place.compare_numbers()
    }

    pub(super) fn open_topic(&mut self, side: usize, name: u64) -> Verdict {
        let place = &mut self.sides[side];
        let known = place.topic_key(name);
        let opened = place.hub.open_topic(name_of(name));
        match known {
            Some(key) => same("open", opened, Ok(place.model.topics[&key].id))?,
            None => {
                same("open", opened.err(), place.model.may_open(name_of(name)))?;
                if let Ok(id) = opened {
                    let defaults = place.model.options.topic_defaults;
                    let key = place.model.make_topic(name_of(name), defaults, false);
                    place.name_topic(key, id)?;
                }
            }
        }
        place.compare_numbers()
    }

    pub(super) fn remove_topic(&mut self, side: usize, name: u64) -> Verdict {
        let now = self.told_now();
        let place = &mut self.sides[side];
        let (key, id) = (place.topic_key(name), place.topic_id(name));
        let removed = place.hub.remove_topic(id, now);
        place.model.advance(now.as_nanos());
        same("remove", removed, key.is_some())?;
        if let Some(key) = key {
            self.tally.removed += 1;
            place.model.remove_topic(key);
        }
        place.model.end_call();
        place.compare_numbers()
    }

    pub(super) fn subscribe(&mut self, side: usize, args: &[u64]) -> Verdict {
        let now = self.told_now();
        let place = &mut self.sides[side];
        let Some(conn) = place.conn_of(args[0]) else { return Ok(()) };
        let (key, id) = (place.topic_key(args[1]), place.topic_id(args[1]));
        let wish = wish(args);
        let from = place.start(args[1], &args[7..]);
        let made = place.hub.subscribe(conn, id, wish, from, now);
        place.model.advance(now.as_nanos());
        place.shed_histories()?;
        let expected = place.model.subscribe(conn, key, wish, from);
        same("subscribe", made.err(), expected.err())?;
        place.model.end_call();
        place.compare_numbers()
    }

    pub(super) fn unsubscribe(&mut self, side: usize, args: &[u64]) -> Verdict {
        let now = self.told_now();
        let place = &mut self.sides[side];
        let Some(conn) = place.conn_of(args[0]) else { return Ok(()) };
        let (key, id) = (place.topic_key(args[1]), place.topic_id(args[1]));
        let ended = place.hub.unsubscribe(conn, id, now);
        place.model.advance(now.as_nanos());
        same("unsubscribe", ended, place.model.unsubscribe(conn, key))?;
        place.model.end_call();
        place.compare_numbers()
    }

    pub(super) fn local(&mut self, side: usize, args: &[u64]) -> Verdict {
        let now = self.told_now();
        let number = place(args[0], LOCALS);
        let place = &mut self.sides[side];
        if place.locals[number].is_some() {
            return Ok(());
        }
        let (key, id) = (place.topic_key(args[1]), place.topic_id(args[1]));
        let wish = wish(args);
        let from = place.start(args[1], &args[7..]);
        let made = place.hub.subscribe_local(id, wish, from, now);
        place.model.advance(now.as_nanos());
        place.shed_histories()?;
        let expected = place.model.subscribe_local(key, wish, from);
        same("subscribe_local", made.err(), expected.err())?;
        if let (Ok(id), Ok(lane)) = (made, expected) {
            place.model.lanes.get_mut(&lane).expect("just made").id = Some(id);
            place.locals[number] = Some(id);
        }
        place.compare_numbers()
    }

    pub(super) fn unlocal(&mut self, side: usize, local: u64) -> Verdict {
        let now = self.told_now();
        let number = place(local, LOCALS);
        let place = &mut self.sides[side];
        let Some(id) = place.locals[number] else { return Ok(()) };
        let ended = place.hub.unsubscribe_local(id, now);
        place.model.advance(now.as_nanos());
        let lane = place.model.lane_of(id);
        same("unsubscribe_local", ended, lane.is_some())?;
        if let Some(lane) = lane {
            place.model.end_lane(lane, forebay_core::LossReason::Unsubscribed);
            place.model.end_call();
            place.locals[number] = None;
        }
        place.compare_numbers()
    }

    /// The next entry of a reader, the same in both.
    fn take_one(&mut self, side: usize, number: usize) -> Result<Option<Entry>, String> {
        let now = self.told_now();
        let place = &mut self.sides[side];
        let Some(id) = place.locals[number] else { return Ok(None) };
        let entry = place.hub.take(id, now);
        place.model.advance(now.as_nanos());
        let expected = match place.model.lane_of(id) {
            Some(lane) => place.model.take(lane),
            None => {
                place.model.take_of_nobody();
                None
            }
        };
        same("take", &entry, &expected)?;
        place.compare_numbers()?;
        Ok(entry)
    }

    pub(super) fn take(&mut self, side: usize, local: u64, times: u64) -> Verdict {
        for _ in 0..times.clamp(1, 64) {
            if self.take_one(side, place(local, LOCALS))?.is_none() {
                break;
            }
            self.tally.taken += 1;
        }
        Ok(())
    }

    pub(super) fn publish(&mut self, side: usize, args: &[u64]) -> Verdict {
        let is_text = args[3] != 1;
        let bytes = self.payload(args[2], is_text);
        self.publish_bytes(side, [args[0], args[1], args[4]], is_text, bytes).map(|_| ())
    }

    fn publish_bytes(
        &mut self,
        side: usize,
        [topic, key, id]: [u64; 3],
        is_text: bool,
        bytes: Vec<u8>,
    ) -> Result<Result<(), PublishError>, String> {
        let now = self.told_now();
        let (key, message_id) = (KEYS[place(key, KEYS.len())], IDS[place(id, IDS.len())]);
        let place = &mut self.sides[side];
        let (topic_key, id) = (place.topic_key(topic), place.topic_id(topic));
        let message = Message::new(payload(is_text, &bytes)).with_key(key).with_id(message_id);
        let published = place.hub.publish(id, message, now);
        place.model.advance(now.as_nanos());
        place.shed()?;
        let expected = if place.may_overload(topic_key, published.err()) {
            place.model.counters.refused_overloaded += 1;
            Err(PublishError::Overloaded)
        } else {
            place.model.publish(topic_key, &Reference::draft(key, is_text, bytes).with_id(message_id))
        };
        place.model.end_call();
        self.show(|| format!("publish: {published:?}"));
        let place = &mut self.sides[side];
        same("publish", published.map(|taken| (taken.position.seq, taken.matched, taken.is_duplicate)), expected)?;
        if let Ok(taken) = published {
            place.check_epoch(topic_key.expect("a topic"), taken.position.epoch)?;
        }
        place.compare_numbers()?;
        Ok(expected.map(|_| ()))
    }

    pub(super) fn send(&mut self, side: usize, args: &[u64]) -> Verdict {
        let is_text = args[2] != 1;
        let bytes = self.payload(args[1], is_text);
        let now = self.told_now();
        let place = &mut self.sides[side];
        let Some(conn) = place.conn_of(args[0]) else { return Ok(()) };
        let sent = place.hub.send(conn, payload(is_text, &bytes), now);
        place.model.advance(now.as_nanos());
        let expected = place.model.send(conn, &Reference::draft("", is_text, bytes));
        place.model.end_call();
        same("send", sent, expected)?;
        place.compare_numbers()
    }

    pub(super) fn send_volatile(&mut self, side: usize, args: &[u64]) -> Verdict {
        let is_text = args[2] != 1;
        let bytes = self.payload(args[1], is_text);
        let now = self.told_now();
        let place = &mut self.sides[side];
        let Some(conn) = place.conn_of(args[0]) else { return Ok(()) };
        let sent = place.hub.send_volatile(conn, payload(is_text, &bytes), now);
        place.model.advance(now.as_nanos());
        let expected = place.model.send_volatile(conn, &Reference::draft("", is_text, bytes));
        place.model.end_call();
        same("send_volatile", sent, expected)?;
        place.compare_numbers()
    }

    pub(super) fn receive(&mut self, side: usize, args: &[u64]) -> Verdict {
        let now = self.told_now();
        let place = &mut self.sides[side];
        let Some(conn) = place.conn_of(args[0]) else { return Ok(()) };
        for _ in 0..args[1].clamp(1, 64) {
            let received = place.hub.receive(conn, now).map(|payload| (payload.is_text, payload.bytes.to_vec()));
            place.model.advance(now.as_nanos());
            let expected = place.model.receive(conn);
            let is_over = expected.is_none();
            same("receive", received, expected)?;
            place.compare_numbers()?;
            if is_over {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn close(&mut self, side: usize, args: &[u64]) -> Verdict {
        let now = self.told_now();
        let place = &mut self.sides[side];
        let Some(conn) = place.conn_of(args[0]) else { return Ok(()) };
        let code = u16::try_from(args[1]).ok().and_then(CloseCode::new).unwrap_or(CloseCode::NORMAL);
        place.hub.close(conn, code, "so long", now);
        place.model.advance(now.as_nanos());
        place.model.close(conn, code, "so long");
        place.compare_numbers()
    }

    pub(super) fn kernel(&mut self, side: usize, args: &[u64]) -> Verdict {
        let place = &mut self.sides[side];
        let Some(conn) = place.conn_of(args[0]) else { return Ok(()) };
        let unsent = u32::try_from(small(args[1])).expect("small");
        place.hub.handle_kernel(conn, unsent);
        place.model.kernel(conn, unsent);
        place.compare_numbers()
    }

    pub(super) fn drain(&mut self, side: usize, nanos: u64) -> Verdict {
        let now = self.told_now();
        let until = forebay_core::Instant::from_nanos(now.as_nanos().saturating_add(nanos));
        let place = &mut self.sides[side];
        place.hub.drain(until, now);
        place.model.advance(now.as_nanos());
        place.model.drain(until.as_nanos());
        self.tally.drains += 1;
        place.compare_numbers()
    }

    /// Whatever is said of somebody who never was is counted, and that is all.
    pub(super) fn stale(&mut self, side: usize) -> Verdict {
        let now = self.told_now();
        let nobody = forebay_core::ConnId::from_bits(u64::MAX);
        let place = &mut self.sides[side];
        place.hub.handle_bytes(nobody, b"x", now);
        place.hub.handle_sent(nobody, 1, now);
        place.hub.handle_writable(nobody, now);
        place.hub.handle_eof(nobody, now);
        place.hub.handle_kernel(nobody, 1);
        place.model.advance(now.as_nanos());
        place.model.bytes(nobody, 1);
        place.model.sent(nobody, 1);
        place.model.writable(nobody);
        place.model.eof(nobody);
        place.model.kernel(nobody, 1);
        same("a topic that never was", place.hub.remove_topic(TopicId::from_bits(u64::MAX), now), false)?;
        place.model.end_call();
        place.compare_numbers()
    }

    /// From a reader of the first hub into the mailbox, while it has room.
    pub(super) fn post(&mut self, args: &[u64]) -> Verdict {
        if self.sides.len() < 2 {
            return Ok(());
        }
        for _ in 0..args[1].clamp(1, 64) {
            if self.mailbox.len() as u64 >= self.plan.mailbox_max {
                self.tally.mailbox_full += 1;
                break;
            }
            match self.take_one(0, place(args[0], LOCALS))? {
                None => break,
                Some(Entry::Gap(_)) => {}
                Some(Entry::Message { payload, .. }) => {
                    self.posted += 1;
                    self.mailbox.push_back(Letter { is_text: payload.is_text, bytes: payload.bytes.to_vec() });
                }
            }
        }
        Ok(())
    }

    /// From the mailbox into the second hub, as long as it takes them.
    pub(super) fn fetch(&mut self, args: &[u64]) -> Verdict {
        if self.sides.len() < 2 {
            return Ok(());
        }
        for _ in 0..args[1].clamp(1, 64) {
            let Some(letter) = self.mailbox.pop_front() else { break };
            let (is_text, bytes) = (letter.is_text, letter.bytes.clone());
            match self.publish_bytes(1, [args[0], 0, 0], is_text, bytes)? {
                Err(
                    PublishError::Full
                    | PublishError::Overloaded
                    | PublishError::UnknownTopic
                    | PublishError::Limited { .. },
                ) => {
                    self.mailbox.push_front(letter);
                    break;
                }
                _ => self.fetched += 1,
            }
        }
        Ok(())
    }

    /// What the first hub's readers were given for the second is with it, or on its way.
    pub(super) fn compare_mailbox(&self) -> Verdict {
        same("the mailbox", self.posted, self.fetched + self.mailbox.len() as u64)
    }
}
