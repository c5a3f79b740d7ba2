//! At least once: what was sent and is waited for, and what is sent again.

use std::rc::Rc;

use forebay_core::{AbandonReason, AckError, Acks, AtLeastOnce, ConnId, Gap, LossReason};

use super::clock::nanos;
use super::{Lane, LaneKey, Message, Owner, Reference, TopicKey, count, one};

/// Where a message is that was sent and not acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// With the peer, or lost.
    Sent,
    /// About to be sent again.
    Again,
    /// In a Transmit that was not answered, or in part.
    Out,
}

/// A message that was sent and is waited for.
#[derive(Clone, Debug)]
pub(crate) struct Unacknowledged {
    pub(crate) message: Rc<Message>,
    attempts: u16,
    /// When it was last sent, in its session's time.
    sent_at: u64,
    way: Way,
}

/// What an at-least-once lane knows.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    options: AtLeastOnce,
    pub(crate) unacknowledged: Vec<Unacknowledged>,
    /// All but what is unacknowledged.
    terms: Acks,
    /// Copies of what nobody waits for any more that are on their way.
    pub(super) strays: usize,
    /// The application is to be told of what was abandoned.
    pub(crate) is_news: bool,
}

impl Ledger {
    pub(super) fn new(options: AtLeastOnce) -> Self {
        Self { options, unacknowledged: Vec::new(), terms: Acks::default(), strays: 0, is_news: false }
    }

    pub(crate) fn in_flight_max(&self) -> u64 {
        self.options.in_flight_max.into()
    }

    pub(super) fn again(&self) -> Option<&Rc<Message>> {
        self.unacknowledged.iter().find(|sent| sent.way == Way::Again).map(|sent| &sent.message)
    }

    fn find(&mut self, message: &Rc<Message>) -> Option<&mut Unacknowledged> {
        self.unacknowledged.iter_mut().find(|sent| Rc::ptr_eq(&sent.message, message))
    }

    /// The terms of the ack law.
    pub(crate) fn acks(&self) -> Acks {
        Acks { unacknowledged: count(self.unacknowledged.iter().map(|sent| &sent.message)), ..self.terms }
    }
}

impl Reference {
    fn count_acks(&mut self, key: LaneKey, change: impl Fn(&mut Acks)) {
        let lane = self.lane(key);
        let topic = lane.topic;
        change(&mut lane.acks.as_mut().expect("at least once").terms);
        change(&mut self.acks);
        if let Some(topic) = self.topics.get_mut(&topic) {
            change(&mut topic.acks);
        }
    }

    fn abandon(&mut self, key: LaneKey, message: &Rc<Message>, reason: AbandonReason) {
        self.count_acks(key, |acks| acks.abandoned[reason as usize] += one(message.len()));
        if reason == AbandonReason::Attempts {
            let lane = self.lane(key);
            lane.note_gap(Gap { from: message.seq, to: message.seq, missed: 1, reasons: 1 << 10 });
            lane.acks.as_mut().expect("at least once").is_news = true;
        }
    }

    /// A message of a lane was sent for the first time.
    pub(super) fn is_waited_for(&mut self, key: LaneKey, message: &Rc<Message>) {
        let lane = &self.lanes[&key];
        if lane.acks.is_none() {
            return;
        }
        let (ended, sent_at) = (lane.ended, self.session_time(lane.owner));
        self.count_acks(key, |acks| acks.sent += one(message.len()));
        match ended {
            Some(reason) => self.abandon(key, message, abandoned_for(reason)),
            None => {
                let sent = Unacknowledged { message: message.clone(), attempts: 0, sent_at, way: Way::Sent };
                self.lane(key).acks.as_mut().expect("at least once").unacknowledged.push(sent);
            }
        }
    }

    /// A message is in a Transmit again.
    pub(super) fn goes_again(&mut self, key: LaneKey, message: &Rc<Message>) {
        self.lane(key).acks.as_mut().and_then(|acks| acks.find(message)).expect("unacknowledged").way = Way::Out;
    }

    /// A copy was sent in full.
    pub(super) fn was_sent_again(&mut self, key: LaneKey, message: &Rc<Message>) {
        let sent_at = self.session_time(self.lanes[&key].owner);
        if self.lanes[&key].ended.is_none() {
            self.count_acks(key, |acks| acks.retries += one(message.len()));
        }
        let acks = self.lane(key).acks.as_mut().expect("at least once");
        match acks.find(message) {
            Some(sent) => (sent.sent_at, sent.way) = (sent_at, Way::Sent),
            None => self.forget_stray(key),
        }
        self.retried += message.len();
    }

    /// A copy returns.
    pub(super) fn returns_again(&mut self, key: LaneKey, message: &Rc<Message>) {
        let acks = self.lane(key).acks.as_mut().expect("at least once");
        match acks.find(message) {
            Some(sent) => sent.way = Way::Again,
            None => self.forget_stray(key),
        }
    }

    fn forget_stray(&mut self, key: LaneKey) {
        self.lane(key).acks.as_mut().expect("at least once").strays -= 1;
        self.forget_lane(key);
    }

    /// Nobody waits for these any more.
    fn settle(&mut self, key: LaneKey, is_settled: impl Fn(&Unacknowledged) -> bool) -> Vec<Unacknowledged> {
        let acks = self.lane(key).acks.as_mut().expect("at least once");
        let (settled, rest) = std::mem::take(&mut acks.unacknowledged).into_iter().partition(is_settled);
        acks.unacknowledged = rest;
        let settled: Vec<Unacknowledged> = settled;
        acks.strays += settled.iter().filter(|sent| sent.way == Way::Out).count();
        settled
    }

    /// The lane ends.
    pub(super) fn abandon_all(&mut self, key: LaneKey, reason: LossReason) {
        if self.lanes[&key].acks.is_none() {
            return;
        }
        for sent in self.settle(key, |_| true) {
            self.abandon(key, &sent.message, abandoned_for(reason));
        }
    }

    /// Acknowledges what of a lane is chosen; how many that were.
    pub(super) fn acknowledge_some(&mut self, key: LaneKey, is_chosen: impl Fn(u64) -> bool) -> u32 {
        let acknowledged = self.settle(key, |sent| is_chosen(sent.message.seq));
        for sent in &acknowledged {
            self.count_acks(key, |acks| acks.acknowledged += one(sent.message.len()));
        }
        if !acknowledged.is_empty() {
            self.find_low(); // It may be low at this moment alone.
            self.touch(key, false);
            self.look_at_touched();
            self.made_room(self.lanes[&key].topic);
        }
        u32::try_from(acknowledged.len()).expect("at most 128")
    }

    /// A session acknowledges.
    pub(crate) fn acknowledge(
        &mut self,
        conn: ConnId,
        topic: Option<TopicKey>,
        is_chosen: impl Fn(u64) -> bool,
    ) -> Result<u32, AckError> {
        let Some(key) = self.lane_on(conn, topic) else {
            self.counters.unknown_acks += 1;
            return Err(AckError::UnknownLane);
        };
        if self.lanes[&key].acks.is_none() {
            self.counters.unknown_acks += 1;
            return Err(AckError::NotAtLeastOnce);
        }
        let acknowledged = self.acknowledge_some(key, is_chosen);
        if acknowledged == 0 {
            self.counters.unknown_acks += 1;
            return Err(AckError::UnknownMessage);
        }
        let now = self.now;
        self.conn(conn).clock.progresses(now);
        Ok(acknowledged)
    }

    /// Its session may be sent so many more; whether it has such a lane.
    pub(crate) fn grant(&mut self, conn: ConnId, topic: Option<TopicKey>, credit: u32) -> bool {
        let Some(key) = self.lane_on(conn, topic) else { return false };
        let known = &mut self.lane(key).credit;
        *known = Some(known.unwrap_or(0).saturating_add(credit));
        self.may_fall_meanwhile(key);
        true
    }

    /// When the timer of a lane fires, if nothing changes.
    pub(super) fn ack_due(&self, key: LaneKey) -> Option<u64> {
        let lane = &self.lanes[&key];
        let acks = lane.acks.as_ref()?;
        let oldest = acks.unacknowledged.first().filter(|sent| sent.way == Way::Sent)?;
        let Owner::Session(session) = lane.owner else { return None };
        self.sessions[&session].moment_of(oldest.sent_at.saturating_add(nanos(acks.options.ack_timeout)))
    }

    /// What was sent is sent again; at its own time, or all of it.
    pub(super) fn send_again(&mut self, key: LaneKey, is_resumed: bool) {
        let time = self.session_time(self.lanes[&key].owner);
        let Some(acks) = &mut self.lane(key).acks else { return };
        let (timeout, most) = (nanos(acks.options.ack_timeout), acks.options.attempts_max);
        for sent in acks.unacknowledged.iter_mut().filter(|sent| sent.way == Way::Sent && sent.attempts < most) {
            sent.attempts += 1;
            sent.way = Way::Again;
        }
        let is_over = |sent: &Unacknowledged| {
            let is_due = is_resumed || sent.sent_at.saturating_add(timeout) <= time;
            sent.way == Way::Sent && sent.attempts >= most && is_due
        };
        let abandoned = self.settle(key, is_over);
        self.may_fall_meanwhile(key);
        if abandoned.is_empty() {
            return;
        }
        for sent in abandoned {
            self.abandon(key, &sent.message, AbandonReason::Attempts);
        }
        self.find_low();
        self.touch(key, false);
        self.look_at_touched();
        self.made_room(self.lanes[&key].topic);
    }

    /// The ack law over all lanes.
    pub(crate) fn acks(&self) -> Acks {
        self.with_unacknowledged(self.acks, |_| true)
    }

    /// The ack law over all lanes a topic ever had.
    pub(crate) fn topic_acks(&self, key: TopicKey) -> Acks {
        self.with_unacknowledged(self.topics[&key].acks, |lane| lane.topic == key)
    }

    fn with_unacknowledged(&self, mut acks: Acks, is_meant: impl Fn(&Lane) -> bool) -> Acks {
        for lane in self.lanes.values().filter(|lane| is_meant(lane)).filter_map(|lane| lane.acks.as_ref()) {
            acks.unacknowledged += lane.acks().unacknowledged;
        }
        acks
    }
}

fn abandoned_for(reason: LossReason) -> AbandonReason {
    if reason == LossReason::Unsubscribed { AbandonReason::Unsubscribed } else { AbandonReason::SessionEnded }
}
