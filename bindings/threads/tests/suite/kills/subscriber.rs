//! A subscriber that is killed, and resumes its session.

use std::collections::{BTreeMap, BTreeSet};

use super::super::common::number;
use super::wire::{Death, Draw, Lost, Wire};
use super::{Alarm, PUBLISHERS, Said, World, publisher};
use crate::binding::Policy;

/// How many messages were published at most, and not answered.
const UNANSWERED_MAX: u64 = (PUBLISHERS * publisher::WINDOW) as u64;

/// What a subscriber got.
pub(super) struct Tally {
    pub(super) received: BTreeMap<u64, Said>,
    /// How many messages came that had come before.
    pub(super) again: u64,
}

pub(super) struct Subscriber<'a> {
    world: &'a World,
    index: usize,
    draw: Draw,
    session: String,
    epoch: String,
    tally: Tally,
    seen: u64,
    /// Received, and no acknowledgement was written since.
    pending: BTreeSet<u64>,
    /// The same, but it had been acknowledged before: that may have crossed with it.
    doubtful: BTreeSet<u64>,
    /// Acknowledged, but nobody knows whether that has arrived; by number, with when it was written.
    unconfirmed: BTreeMap<u64, u64>,
    /// Counts acknowledgements and pings.
    clock: u64,
    life: Life,
    /// A connection that was left open when it was given up.
    left: Option<Wire>,
    is_safe: bool,
}

/// What is of one connection.
#[derive(Default)]
struct Life {
    is_resumed: bool,
    began: u64,
    /// The number up to which nothing comes.
    floor: u64,
    last: u64,
    /// What has to come again before anything new.
    again: BTreeSet<u64>,
    /// Nothing beyond it was published when the connection began: what was lost of that was told on this one.
    head: u64,
    /// Losses are told up to here.
    told: u64,
    ack_at: usize,
    /// Of the ping that was not answered yet.
    ping: Option<u64>,
}

impl<'a> Subscriber<'a> {
    /// It has subscribed.
    pub(super) fn new(world: &'a World, index: usize) -> Self {
        let mut wire = Wire::new(world.address, Death::Never);
        let hello = wire.open().unwrap();
        wire.say(r#"{"op":"keep","id":1}"#).unwrap();
        wire.say(r#"{"op":"subscribe","topic":"orders","id":2}"#).unwrap();
        let kept = wire.hear().unwrap();
        assert!(kept.starts_with(r#"{"op":"ok","id":1,"session":""#) && kept.contains("\"ttl_ms\":3600000"), "{kept}");
        assert_eq!(text(&hello, "session"), text(&kept, "session"));
        let answer = wire.hear().unwrap();
        let delivery = format!(r#""delivery":"at-least-once","in_flight_max":{}"#, world.in_flight_max);
        assert!(answer.starts_with(r#"{"op":"ok","id":2,"#) && answer.contains(&delivery), "{answer}");
        assert_eq!(number(&answer, "seq"), 0);
        Self {
            world,
            index,
            draw: Draw(index as u64),
            session: text(&kept, "session"),
            epoch: text(&answer, "epoch"),
            tally: Tally { received: BTreeMap::new(), again: 0 },
            seen: 0,
            pending: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            unconfirmed: BTreeMap::new(),
            clock: 0,
            life: Life { is_resumed: true, ..Life::default() },
            left: Some(wire),
            is_safe: false,
        }
    }

    pub(super) fn run(mut self) -> Tally {
        let _alarm = Alarm(self.world);
        loop {
            let death = if self.world.kills_subscribers() { Death::draw(&mut self.draw) } else { Death::Never };
            let mut wire = Wire::new(self.world.address, death);
            let head = self.world.state().head + UNANSWERED_MAX;
            self.life = Life { began: self.clock, head, ..Life::default() };
            match self.live(&mut wire) {
                Ok(()) => break,
                Err(Lost::Killed) => {
                    self.world.change(|state| state.subscribers_killed += 1);
                    match self.draw.below(3) {
                        0 => drop(wire),
                        1 => wire.reset(),
                        _ => self.left = self.life.is_resumed.then_some(wire),
                    }
                }
                Err(Lost::Ended(code)) => panic!("the server has closed the connection: {code:?}"),
            }
        }
        self.tally
    }

    fn live(&mut self, wire: &mut Wire) -> Result<(), Lost> {
        wire.open()?;
        self.resume(wire)?;
        while self.world.kills_subscribers() {
            self.hear(wire)?;
            if self.pending.len() + self.doubtful.len() >= self.life.ack_at {
                self.acknowledge(wire)?;
            }
            if self.life.ping.is_none() && self.draw.below(8) == 0 {
                self.ping(wire)?;
            }
        }
        wire.spare();
        if !std::mem::replace(&mut self.is_safe, true) {
            self.world.change(|state| state.safe += 1);
        }
        while !self.world.state().is_finished {
            if let Some(last) = self.pending.last().max(self.doubtful.last()).copied() {
                self.acknowledge_through(wire, last)?;
            }
            if self.life.ping.is_none() {
                self.ping(wire)?;
            }
            self.hear(wire)?;
        }
        assert!(self.world.policy != Policy::Block || self.seen == self.world.state().head);
        Ok(())
    }

    fn resume(&mut self, wire: &mut Wire) -> Result<(), Lost> {
        let through = match self.draw.below(4) {
            0 => None,
            1 => Some(self.seen),
            2 => Some(self.pending.first().map_or(self.seen, |first| first - 1)),
            _ => Some(self.draw.below(self.seen + 1)),
        };
        let position = through.map(|seq| format!(r#","epoch":"{}","seq":{seq}"#, self.epoch)).unwrap_or_default();
        let lanes = format!(r#"[{{"topic":"orders"{position}}}]"#);
        let request = format!(r#"{{"op":"resume","session":"{}","lanes":{lanes},"id":3}}"#, self.session);
        if let Some(through) = through {
            self.dealt_with(through);
        }
        wire.say(&request)?;
        let answer = wire.hear()?;
        assert!(answer.starts_with(r#"{"op":"ok","id":3,"session":""#), "{answer}");
        assert_eq!((text(&answer, "session"), text(&answer, "epoch")), (self.session.clone(), self.epoch.clone()));
        self.life.is_resumed = true;
        self.life.floor = number(&answer, "seq");
        if let Some(through) = through {
            assert!(self.life.floor >= through, "{answer} after {request}");
            self.unconfirmed = self.unconfirmed.split_off(&(through + 1));
        }
        self.life.again = self.pending.clone();
        self.life.ack_at = 1 + self.draw.index(self.world.in_flight_max.into());
        if let Some(mut left) = self.left.take() {
            left.spare();
            let code = loop {
                if let Err(Lost::Ended(code)) = left.hear() {
                    break code;
                }
            };
            assert!(code.is_none_or(|code| code == 4001), "the older is closed with {code:?}");
        }
        Ok(())
    }

    /// That is written or about to be.
    fn dealt_with(&mut self, through: u64) {
        self.clock += 1;
        for set in [&mut self.pending, &mut self.doubtful] {
            let later = set.split_off(&(through + 1));
            self.unconfirmed.extend(std::mem::replace(set, later).into_iter().map(|seq| (seq, self.clock)));
        }
        self.unconfirmed.range_mut(..=through).for_each(|(_, written)| *written = self.clock);
        self.life.again = self.life.again.split_off(&(through + 1));
    }

    fn acknowledge_through(&mut self, wire: &mut Wire, through: u64) -> Result<(), Lost> {
        self.dealt_with(through);
        wire.say(&format!(r#"{{"op":"ack","topic":"orders","seq":{through}}}"#))
    }

    fn acknowledge(&mut self, wire: &mut Wire) -> Result<(), Lost> {
        let pending: Vec<u64> = self.pending.union(&self.doubtful).copied().collect();
        if self.draw.below(2) == 0 {
            let through = pending[self.draw.index(pending.len())];
            return self.acknowledge_through(wire, through);
        }
        let mut chosen: Vec<u64> = pending.iter().copied().filter(|_| self.draw.below(2) == 0).collect();
        if chosen.is_empty() {
            chosen.push(pending[0]);
        }
        self.clock += 1;
        for seq in &chosen {
            self.pending.remove(seq);
            self.doubtful.remove(seq);
            self.life.again.remove(seq);
            self.unconfirmed.insert(*seq, self.clock);
        }
        wire.say(&format!(r#"{{"op":"ack","topic":"orders","seqs":{chosen:?}}}"#))
    }

    /// When it is answered everything that was said before has been read.
    fn ping(&mut self, wire: &mut Wire) -> Result<(), Lost> {
        self.life.ping = Some(self.clock);
        wire.say(r#"{"op":"ping"}"#)
    }

    fn hear(&mut self, wire: &mut Wire) -> Result<(), Lost> {
        let heard = wire.hear()?;
        if heard.starts_with(r#"{"op":"message","topic":"orders","#) {
            let publisher = usize::try_from(number(&heard, "publisher")).unwrap();
            self.receive(number(&heard, "seq"), Said { publisher, number: number(&heard, "number") });
        } else if heard.starts_with(r#"{"op":"gap","topic":"orders","#) {
            assert!(self.world.policy != Policy::Block && heard.ends_with(r#""reasons":["newest"]}"#), "{heard}");
            assert!(number(&heard, "missed") > 0 && number(&heard, "from") > 0, "{heard}");
            self.life.told = number(&heard, "to");
        } else {
            assert_eq!(heard, r#"{"op":"pong"}"#);
            let (began, pinged) = (self.life.began, self.life.ping.take().expect("it was asked for"));
            self.unconfirmed.retain(|_, written| *written <= began || *written > pinged);
        }
        Ok(())
    }

    fn receive(&mut self, seq: u64, said: Said) {
        assert!(seq > self.life.floor, "number {seq} was not to come again");
        if seq > self.seen {
            self.receive_new(seq, said);
        } else {
            self.receive_again(seq, said);
        }
        self.life.last = seq;
        let window = usize::from(self.world.in_flight_max);
        assert!(self.pending.len() <= window, "{:?}", self.pending);
    }

    fn receive_again(&mut self, seq: u64, said: Said) {
        assert_eq!(self.tally.received.get(&seq), Some(&said), "number {seq} comes again");
        self.tally.again += 1;
        if seq <= self.life.last {
            assert!(self.world.has_timer, "number {seq} behind number {}", self.life.last);
            self.life.again = self.pending.clone();
        }
        let first = self.life.again.first();
        assert!(first.is_none_or(|first| *first >= seq), "number {seq} before number {first:?}");
        self.life.again.remove(&seq);
        if let Some(written) = self.unconfirmed.remove(&seq) {
            let may_have_crossed = written > self.life.began;
            let set = if may_have_crossed { &mut self.doubtful } else { &mut self.pending };
            set.insert(seq);
        }
        let is_unacknowledged = self.pending.contains(&seq) || self.doubtful.contains(&seq);
        assert!(is_unacknowledged, "number {seq} comes again, and its acknowledgement was read");
    }

    fn receive_new(&mut self, seq: u64, said: Said) {
        assert!(self.life.again.is_empty(), "number {seq} before {:?} came again", self.life.again);
        let may_lose = self.world.policy != Policy::Block;
        assert!(may_lose || seq == self.seen + 1, "number {seq} behind number {}", self.seen);
        let is_told = seq == self.seen + 1 || seq - 1 <= self.life.told.max(self.life.head);
        assert!(is_told, "number {seq} behind number {}, told up to {}", self.seen, self.life.told);
        self.seen = seq;
        self.pending.insert(seq);
        self.tally.received.insert(seq, said);
        self.world.change(|state| state.seen[self.index] = seq);
    }
}

/// The text behind a member's name.
fn text(message: &str, member: &str) -> String {
    let key = format!("\"{member}\":\"");
    let (_, rest) = message.split_once(&key).unwrap_or_else(|| panic!("{member} in {message}"));
    rest[..rest.find('"').unwrap()].to_owned()
}
