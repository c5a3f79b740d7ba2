//! The arithmetic of one lane: what enters, what fits, what is lost and told.

use std::rc::Rc;

use forebay_core::{Count, Gap, LossReason, Policy, Totals};

use super::{Error, Lane, LaneKey, Message, Reference, TOPICS, Verdict, count, one};

/// Policies for which what is outstanding belongs to the connection.
fn leaves_out(policy: Policy) -> bool {
    matches!(policy, Policy::DropOldest | Policy::LatestPerKey | Policy::LatestOnly)
}

impl Lane {
    /// All that waits, outstanding included.
    pub(crate) fn all_waiting(&self) -> Count {
        let mut waiting = count(&self.waiting);
        waiting += count(&self.out);
        waiting
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals { entered: self.entered, sent: self.sent, waiting: self.all_waiting(), lost: self.lost }
    }

    /// What is compared with the limits.
    pub(super) fn load(&self) -> Count {
        let mut load = if leaves_out(self.policy) { count(&self.waiting) } else { self.all_waiting() };
        if let Some(acks) = &self.acks {
            load += acks.acks().unacknowledged;
        }
        load
    }

    /// What is sent next, if anything: a message again, or for the first time.
    pub(super) fn next(&self, flushed: u64) -> Option<Next<'_>> {
        if let Some(message) = self.acks.as_ref().and_then(|acks| acks.again()) {
            return Some(Next::Again(message));
        }
        self.waiting.front().filter(|message| self.is_free() && message.seq <= flushed).map(Next::First)
    }

    /// Whether it has a window, and credit, for something new.
    fn is_free(&self) -> bool {
        let in_flight = self.acks.as_ref().map_or(0, |acks| (acks.unacknowledged.len() + self.out.len()) as u64);
        self.acks.as_ref().is_none_or(|acks| in_flight < acks.in_flight_max()) && self.credit != Some(0)
    }

    /// Whether there are messages to be sent, now or later.
    fn has_messages(&self) -> bool {
        !self.waiting.is_empty() || self.acks.as_ref().is_some_and(|acks| acks.again().is_some())
    }

    /// A lane of the same kind, without anything in it.
    pub(super) fn renewed(&self) -> Lane {
        Lane::new(self.topic, self.owner, self.policy, [self.messages_max, self.bytes_max], self.age_max, self.credit)
    }

    fn is_over(&self, load: Count) -> bool {
        load.messages > self.messages_max || load.bytes > self.bytes_max
    }

    pub(super) fn fits(&self, bytes: u64) -> bool {
        let mut load = self.load();
        load += one(bytes);
        !self.is_over(load)
    }

    /// Messages without a hole between them count as one; what is outstanding counts as one.
    pub(super) fn runs(&self) -> usize {
        let mut last = self.out.last().map(|message| message.seq);
        let mut runs = usize::from(last.is_some());
        for message in &self.waiting {
            runs += usize::from(last.is_none_or(|last| last + 1 != message.seq));
            last = Some(message.seq);
        }
        runs
    }

    /// Whether something is there to be handed out: a message, or a gap that is told by itself.
    pub(super) fn has_output(&self, tells_gaps: bool, flushed: u64) -> bool {
        self.next(flushed).is_some() || (tells_gaps && self.has_lone_gap(flushed))
    }

    /// Whether the gap is told though no message follows, and nothing waits for a flush.
    pub(super) fn has_lone_gap(&self, flushed: u64) -> bool {
        self.gap.is_some() && !self.has_messages() && self.is_free() && flushed == u64::MAX
    }

    /// Whether the gap is told before anything else.
    pub(super) fn gap_is_next(&self, flushed: u64) -> bool {
        let Some(gap) = self.gap.filter(|_| self.is_free()) else { return false };
        self.next(flushed).map_or(self.has_lone_gap(flushed), |next| gap.from < next.message().seq)
    }

    pub(super) fn is_too_old(&self, message: &Message, now: u64) -> bool {
        self.age_max.is_some_and(|age| message.at.saturating_add(age) <= now)
    }

    pub(super) fn note_gap(&mut self, gap: Gap) {
        self.gap = Some(match self.gap {
            None => gap,
            Some(old) => Gap {
                from: old.from.min(gap.from),
                to: old.to.max(gap.to),
                missed: old.missed + gap.missed,
                reasons: old.reasons | gap.reasons,
            },
        });
    }

    /// The shortest run, to be lost where there are too many; the first of several.
    fn shortest_run(&self) -> Vec<Rc<Message>> {
        let mut runs: Vec<Vec<Rc<Message>>> = Vec::new();
        for message in &self.waiting {
            match runs.last_mut() {
                Some(run) if run.last().is_some_and(|last| last.seq + 1 == message.seq) => run.push(message.clone()),
                _ => runs.push(vec![message.clone()]),
            }
        }
        runs.into_iter().min_by_key(Vec::len).unwrap_or_default()
    }
}

/// What a lane sends next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next<'a> {
    Again(&'a Rc<Message>),
    First(&'a Rc<Message>),
}

impl<'a> Next<'a> {
    pub(super) fn message(self) -> &'a Rc<Message> {
        match self {
            Self::Again(message) | Self::First(message) => message,
        }
    }
}

/// Where a reason stands in `LossReason::ALL`.
fn place(reason: LossReason) -> usize {
    LossReason::ALL.iter().position(|other| *other == reason).expect("a reason")
}

/// Whether a client is told of such losses: the others are no gap, or end the lane.
fn is_told(reason: LossReason) -> bool {
    !matches!(reason, LossReason::Superseded | LossReason::Closed | LossReason::Unsubscribed)
}

impl Reference {
    pub(super) fn lane(&mut self, key: LaneKey) -> &mut Lane {
        self.lanes.get_mut(&key).expect("a lane of the reference")
    }

    pub(super) fn enter(&mut self, key: LaneKey, message: &Message) {
        let counted = one(message.len());
        let topic = {
            let lane = self.lane(key);
            lane.entered += counted;
            lane.topic
        };
        self.entered[TOPICS] += counted;
        if let Some(topic) = self.topics.get_mut(&topic) {
            topic.entered += counted;
        }
    }

    /// A message that is in none of the lane's lists any more is lost.
    pub(super) fn lose(&mut self, key: LaneKey, message: &Message, reason: LossReason) {
        let counted = one(message.len());
        let place = place(reason);
        let lane = self.lane(key);
        lane.lost[place] += counted;
        if is_told(reason) && lane.ended.is_none() {
            lane.note_gap(Gap { from: message.seq, to: message.seq, missed: 1, reasons: 1 << place });
        }
        let topic = lane.topic;
        self.lost[TOPICS][place] += counted;
        if let Some(topic) = self.topics.get_mut(&topic) {
            topic.lost[place] += counted;
        }
    }

    pub(super) fn lane_sent(&mut self, key: LaneKey, message: &Rc<Message>) {
        let counted = one(message.len());
        let lane = self.lane(key);
        lane.sent += counted;
        if leaves_out(lane.policy) {
            lane.asked_behind = lane.asked_behind.max(message.seq);
        }
        let topic = lane.topic;
        self.touch(key, false);
        // Before it is looked for room: what is waited for counts on.
        self.is_waited_for(key, message);
        self.made_room(topic);
        self.sent[TOPICS] += counted;
        if let Some(topic) = self.topics.get_mut(&topic) {
            topic.sent += counted;
        }
    }

    /// The lane's oldest waiting messages are lost.
    fn lose_oldest(&mut self, key: LaneKey, reason: LossReason) {
        let lane = self.lane(key);
        let Some(message) = lane.waiting.pop_front() else { return };
        if let (Some(last), Some(next)) = (lane.out.last(), lane.waiting.front()) {
            lane.is_left |= next.seq - last.seq > lane.messages_max + 1;
        }
        self.lose(key, &message, reason);
    }

    /// The lane's oldest messages give room in the log.
    pub(crate) fn shed(&mut self, key: LaneKey, messages: u64, reason: LossReason) -> Verdict {
        for _ in 0..messages {
            if self.lanes[&key].waiting.is_empty() {
                return Err(format!("{:?} lost more than waits", self.lanes[&key].id));
            }
            self.touch(key, false);
            // What the log sheds leaves nothing behind: what is outstanding returns.
            let is_left = self.lanes[&key].is_left;
            self.lose_oldest(key, reason);
            self.lane(key).is_left = is_left;
        }
        self.look_at_touched();
        Ok(())
    }

    /// A message is published that does not end the lane.
    pub(super) fn put(&mut self, key: LaneKey, message: &Rc<Message>) {
        self.enter(key, message);
        let room = u64::from(self.error == Error::Room);
        let lane = self.lane(key);
        lane.messages_max += room;
        let fits = lane.fits(message.len());
        self.touch(key, !fits);
        let lane = self.lane(key);
        match lane.policy {
            Policy::DropNewest => {
                let last = lane.waiting.back().or(lane.out.last()).map(|last| last.seq);
                let grows = last.is_none_or(|last| last + 1 == message.seq);
                if fits && (grows || lane.runs() < 8) {
                    lane.waiting.push_back(message.clone());
                } else {
                    self.touch(key, true);
                    self.lose(key, message, LossReason::Newest);
                }
            }
            Policy::LatestPerKey | Policy::LatestOnly => {
                let by_key = lane.policy == Policy::LatestPerKey;
                let old = lane.waiting.iter().position(|other| !by_key || other.key == message.key);
                let old = old.and_then(|old| lane.waiting.remove(old));
                lane.waiting.push_back(message.clone());
                if let Some(old) = old {
                    self.lose(key, &old, LossReason::Superseded);
                }
            }
            _ => {
                lane.waiting.push_back(message.clone());
                self.judge(key);
            }
        }
        let lane = self.lane(key);
        lane.messages_max -= room;
        self.look_at_touched();
    }

    /// What waits is brought within the limits, and within what a lane may have of runs.
    pub(super) fn judge(&mut self, key: LaneKey) {
        let lane = self.lane(key);
        if lane.policy != Policy::DropOldest {
            return;
        }
        while self.lanes[&key].is_over(self.lanes[&key].load()) {
            self.touch(key, true);
            self.lose_oldest(key, LossReason::Oldest);
        }
    }

    /// What was begun and cannot return is lost, and told.
    pub(super) fn lose_begun(&mut self, key: LaneKey, message: &Rc<Message>) {
        let lane = self.lane(key);
        lane.out.retain(|other| !Rc::ptr_eq(other, message));
        lane.credit = lane.credit.map(|credit| credit.saturating_add(1));
        self.touch(key, true);
        self.lose(key, message, LossReason::Oldest);
    }

    /// What was not sent comes back to its lane, in order.
    pub(super) fn take_back(&mut self, key: LaneKey, back: Vec<Rc<Message>>) {
        let lane = self.lane(key);
        lane.out.retain(|message| !back.iter().any(|other| Rc::ptr_eq(other, message)));
        let returned = u32::try_from(back.len()).expect("few");
        lane.credit = lane.credit.map(|credit| credit.saturating_add(returned));
        let (ended, policy) = (lane.ended, lane.policy);
        if let Some(reason) = ended {
            back.iter().for_each(|message| self.lose(key, message, reason));
            return self.forget_lane(key);
        }
        let is_left = lane.is_left;
        // What came back too old is lost when the lane is next drained; but not after what was published later.
        let looks_at_keys = matches!(policy, Policy::LatestPerKey | Policy::LatestOnly);
        let mut kept = Vec::new();
        for message in back {
            let later = self.later_of(key, &message);
            let reason = if is_left && policy == Policy::DropOldest {
                self.touch(key, true);
                Some(LossReason::Oldest)
            } else if later == Later::Superseded {
                Some(LossReason::Superseded)
            } else if later == Later::Forgotten {
                Some(LossReason::Oldest)
            } else if looks_at_keys && message.seq <= self.lanes[&key].aged {
                Some(LossReason::Age)
            } else {
                None
            };
            match reason {
                Some(reason) => self.lose(key, &message, reason),
                None => kept.push(message),
            }
        }
        self.touch(key, false);
        self.may_fall_meanwhile(key);
        let lane = self.lane(key);
        for message in kept.into_iter().rev() {
            lane.waiting.push_front(message);
        }
        if looks_at_keys {
            // The latest of several keys wait in the order in which they were published.
            self.lane(key).waiting.make_contiguous().sort_by_key(|message| message.seq);
        } else {
            self.judge(key);
            self.limit_runs(key);
            // Whether it was high before it was full.
            self.is_open |= self.touched.contains(&(key, true));
        }
    }

    fn limit_runs(&mut self, key: LaneKey) {
        let most = if self.lane(key).policy == Policy::DropNewest { 8 } else { 7 };
        while self.lane(key).runs() > most {
            let shortest = self.lane(key).shortest_run();
            for message in shortest {
                self.lane(key).waiting.retain(|other| !Rc::ptr_eq(other, &message));
                self.lose(key, &message, LossReason::Oldest);
            }
        }
    }

    /// Whether a message of a lane that looks at keys is still the latest.
    fn later_of(&self, key: LaneKey, message: &Message) -> Later {
        let lane = &self.lanes[&key];
        let topic = &self.topics[&lane.topic];
        match lane.policy {
            Policy::LatestOnly if topic.head != message.seq => Later::Superseded,
            Policy::LatestPerKey => match topic.keys.iter().find(|known| known.key == message.key) {
                Some(known) if known.seq == message.seq => Later::Latest,
                Some(_) => Later::Superseded,
                None => Later::Forgotten,
            },
            _ => Later::Latest,
        }
    }

    /// What has waited too long is lost.
    pub(super) fn expire(&mut self, key: LaneKey) {
        let now = self.now;
        let lane = self.lane(key);
        if lane.age_max.is_none() {
            return;
        }
        let old: Vec<_> = lane.waiting.iter().filter(|message| lane.is_too_old(message, now)).cloned().collect();
        if old.is_empty() {
            return;
        }
        self.lane(key).waiting.retain(|message| !old.iter().any(|other| Rc::ptr_eq(other, message)));
        self.touch(key, false);
        for message in old {
            let lane = self.lane(key);
            lane.aged = lane.aged.max(message.seq);
            self.lose(key, &message, LossReason::Age);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Later {
    Latest,
    Superseded,
    Forgotten,
}
