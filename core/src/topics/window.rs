//! What a lane looks at: a run of the log or a few, or the latest messages.

use alloc::boxed::Box;

use super::{Encoded, Origin, Settings, Topic};
use crate::config::TopicOptions;
use crate::dialect::{self, Dialect, ENCODINGS, raw_payload};
use crate::lane::{Run, Standing};
use crate::latest::{Latest, LatestLane, Which};
use crate::log::Log;
use crate::losses::Losses;
use crate::output::{Gap, LossReason, Message, OwnedPayload};
use crate::policy::Policy;
use crate::stats::{Count, Totals};
use crate::time::Instant;

/// What a lane looks at.
#[derive(Debug)]
pub(crate) enum Window {
    /// A run of the log, or a few.
    Log(Standing),
    /// The latest messages.
    Latest(LatestLane),
}

impl Window {
    pub(crate) fn losses(&self) -> &Losses {
        match self {
            Self::Log(lane) => lane.losses(),
            Self::Latest(lane) => lane.losses(),
        }
    }

    pub(crate) fn losses_mut(&mut self) -> &mut Losses {
        match self {
            Self::Log(lane) => lane.losses_mut(),
            Self::Latest(lane) => lane.losses_mut(),
        }
    }

    pub(crate) fn outstanding(&self) -> Count {
        match self {
            Self::Log(lane) => lane.outstanding().count(),
            Self::Latest(lane) => lane.outstanding(),
        }
    }

    pub(super) fn end_reason(&self) -> Option<LossReason> {
        match self {
            Self::Log(lane) => lane.end_reason(),
            Self::Latest(lane) => lane.end_reason(),
        }
    }
}

/// The place of the latest messages that lanes with a policy look at; `None`: they look at the log.
pub(crate) fn latest_place(policy: Policy) -> Option<usize> {
    match policy {
        Policy::LatestPerKey => Some(0),
        Policy::LatestOnly => Some(1),
        _ => None,
    }
}

/// The latest messages, and who reads them.
#[derive(Debug)]
pub(crate) struct Keyed {
    pub(crate) latest: Latest,
    /// Whether one constant key stands for all.
    pub(crate) is_constant: bool,
    pub(crate) readers: [Option<Reader>; ENCODINGS],
    /// Lanes that have not ended.
    pub(crate) live_lanes: u32,
}

/// Lanes of one encoding.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) dialect: &'static dyn Dialect,
    pub(crate) prefix: Box<[u8]>,
    /// Ended ones included.
    pub(crate) lanes: u32,
}

impl Keyed {
    /// The key of a message here.
    pub(crate) fn key<'a>(&self, message: Message<'a>) -> &'a str {
        if self.is_constant { "" } else { message.key }
    }

    /// How long the frames of a message are, by encoding; 0 where nobody reads them.
    pub(crate) fn frame_bytes(&self, seq: u64, message: Message<'_>) -> [usize; ENCODINGS] {
        core::array::from_fn(|encoding| {
            let reader = self.readers[encoding].as_ref();
            reader.map_or(0, |reader| reader.dialect.message_bytes(&reader.prefix, seq, message))
        })
    }
}

/// A lane and what it looks at.
pub(crate) enum View<'a> {
    Log(&'a Standing, &'a Log),
    Latest(&'a LatestLane, &'a Latest),
}

/// The same, to be changed. Of a log, only through `change_lane`.
pub(crate) enum ViewMut<'a> {
    Log(&'a mut Standing, &'a mut Log),
    Latest(&'a mut LatestLane, &'a mut Latest),
}

/// Changes a lane and tells its log what it needs now.
#[inline]
pub(crate) fn change_lane<R>(lane: &mut Standing, log: &mut Log, change: impl FnOnce(&mut Standing, &Log) -> R) -> R {
    let before = lane.needs();
    let result = change(lane, log);
    log.change_needs(&before, &lane.needs());
    result
}

impl Topic {
    /// The lane at `place` with what it looks at.
    pub(crate) fn view(&self, place: usize) -> View<'_> {
        let Settings { terms, encoding, .. } = *self.settings(place);
        match &self.lanes[place].window {
            Window::Log(window) => {
                let encoded = self.logs[encoding].as_ref().expect("a lane's log exists");
                View::Log(window, &encoded.log)
            }
            Window::Latest(window) => View::Latest(window, &self.keyed_of(terms.policy).latest),
        }
    }

    pub(crate) fn view_mut(&mut self, place: usize) -> ViewMut<'_> {
        let Settings { terms, encoding, .. } = *self.settings(place);
        match &mut self.lanes[place].window {
            Window::Log(window) => {
                let encoded = self.logs[encoding].as_mut().expect("a lane's log exists");
                ViewMut::Log(window, &mut encoded.log)
            }
            Window::Latest(window) => {
                let keyed = latest_place(terms.policy).and_then(|place| self.keyed[place].as_mut());
                ViewMut::Latest(window, &mut keyed.expect("a lane's latest messages exist").latest)
            }
        }
    }

    fn keyed_of(&self, policy: Policy) -> &Keyed {
        let keyed = latest_place(policy).and_then(|place| self.keyed[place].as_ref());
        keyed.expect("a lane's latest messages exist")
    }

    /// The dialect of the lane at `place`.
    pub(crate) fn dialect(&self, place: usize) -> &'static dyn Dialect {
        let Settings { terms, encoding, .. } = *self.settings(place);
        let of_latest = || self.keyed_of(terms.policy).readers[encoding].as_ref().map(|reader| reader.dialect);
        let of_log = || self.logs[encoding].as_ref().map(|encoded| encoded.dialect);
        let found = if latest_place(terms.policy).is_some() { of_latest() } else { of_log() };
        found.expect("what a lane reads exists")
    }

    /// The log that the lane at `place` reads.
    pub(crate) fn log(&self, place: usize) -> &Log {
        match self.view(place) {
            View::Log(_, log) => log,
            View::Latest(..) => panic!("a lane of the latest messages has no log"),
        }
    }

    /// The same, to be added to.
    pub(crate) fn log_mut(&mut self, place: usize) -> &mut Log {
        match self.view_mut(place) {
            ViewMut::Log(_, log) => log,
            ViewMut::Latest(..) => panic!("a lane of the latest messages has no log"),
        }
    }

    /// The lane at `place`, where it reads the log.
    pub(crate) fn run_lane(&self, place: usize) -> Option<&Standing> {
        match &self.lanes[place].window {
            Window::Log(lane) => Some(lane),
            Window::Latest(_) => None,
        }
    }

    /// Changes a lane that reads the log, and tells the log what it needs now.
    #[inline]
    pub(crate) fn change<R>(&mut self, place: usize, change: impl FnOnce(&mut Standing, &Log) -> R) -> R {
        match self.view_mut(place) {
            ViewMut::Log(lane, log) => change_lane(lane, log, change),
            ViewMut::Latest(..) => panic!("a lane of the latest messages has no log"),
        }
    }

    /// The number of the lane's next message that waits and is not outstanding.
    pub(crate) fn next(&self, place: usize) -> Option<u64> {
        match self.view(place) {
            View::Log(lane, _) => lane.next(self.head),
            View::Latest(lane, latest) => lane.next(latest).map(|(seq, _)| seq),
        }
    }

    /// The number behind which everything that waits in a lane lies.
    pub(crate) fn place_of(&self, place: usize) -> u64 {
        match &self.lanes[place].window {
            Window::Log(lane) => lane.front(self.head).after.messages,
            Window::Latest(lane) => lane.place().unwrap_or(self.head.messages),
        }
    }

    /// Whether the lane has something to send, or to tell, and may.
    pub(crate) fn has_something(&self, place: usize) -> bool {
        if self.is_held_back(place) {
            return self.next_again(place).is_some();
        }
        let has_new = self.lanes[place].window.losses().gap().is_some() || self.next(place).is_some();
        has_new || self.next_again(place).is_some()
    }

    /// A gap that is to be told before the lane's next message.
    pub(crate) fn take_due_gap(&mut self, place: usize) -> Option<Gap> {
        self.lanes[place].window.losses().gap()?;
        if self.is_held_back(place) {
            return None;
        }
        let next = self.next_again(place).map_or_else(|| self.next(place), |run| Some(run.first()));
        self.lanes[place].window.losses_mut().take_due_gap(next)
    }

    /// Takes the next message out of an in-process lane: its number, its payload, and what it counts.
    pub(crate) fn take(&mut self, place: usize) -> Option<(u64, OwnedPayload, Count)> {
        let (head, encoding) = (self.head, self.settings(place).encoding);
        self.next_flushed(place)?;
        match self.view_mut(place) {
            ViewMut::Latest(lane, latest) => {
                let taken = lane.start(latest, encoding, Which::Plain)?;
                let payload = raw_payload(&taken.frame);
                let message = latest.let_go(taken);
                Some((message.seq, payload, lane.sent(message)))
            }
            ViewMut::Log(lane, log) => {
                log.freeze();
                let after = lane.front(head).after;
                let seq = lane.next(head)?;
                let cut = log.mark(seq);
                let (bytes, range) = log.pieces(Run { after, through: cut }).next().expect("one message is one piece");
                let payload = raw_payload(&bytes.slice(range));
                let sent = change_lane(lane, log, |lane, _| {
                    lane.start(head, cut);
                    lane.sent(cut)
                });
                Some((seq, payload, sent))
            }
        }
    }

    /// Drops what has waited in a lane for `age_max` or longer.
    pub(crate) fn expire(&mut self, place: usize, now: Instant) -> Count {
        let head = self.head;
        let mut lost = Count::default();
        let Some(age_max) = self.age_max(place) else { return lost };
        match self.view_mut(place) {
            ViewMut::Log(lane, log) => {
                while let Some(cut) = log.last_at(lane.front(head), |at| at + age_max <= now) {
                    lost += change_lane(lane, log, |lane, _| lane.drop_through(cut, head, LossReason::Age));
                }
            }
            ViewMut::Latest(lane, latest) => lost = lane.expire(latest, |at| at + age_max <= now),
        }
        self.totals.lose(LossReason::Age, lost);
        lost
    }

    /// When the oldest message that waits in a lane will be too old.
    pub(crate) fn expires_at(&self, place: usize) -> Option<Instant> {
        let age_max = self.age_max(place)?;
        self.oldest_at(place).map(|at| at + age_max)
    }

    /// When the oldest message that waits in a lane was published.
    pub(crate) fn oldest_at(&self, place: usize) -> Option<Instant> {
        match self.view(place) {
            View::Log(lane, log) => lane.next(self.head).map(|seq| log.at(seq)),
            View::Latest(lane, latest) => lane.next(latest).map(|(_, slot)| slot.at),
        }
    }

    /// A lane's terms of the queue law.
    pub(crate) fn lane_totals(&self, place: usize) -> Totals {
        match self.view(place) {
            View::Log(lane, _) => lane.totals(self.head),
            View::Latest(lane, latest) => lane.totals(latest, self.head),
        }
    }

    /// Ends a lane: what waits is lost.
    pub(crate) fn end_window(&mut self, place: usize, reason: LossReason) -> Count {
        let head = self.head;
        let lost = match self.view_mut(place) {
            ViewMut::Log(lane, log) => change_lane(lane, log, |lane, _| lane.end(head, reason)),
            ViewMut::Latest(lane, latest) => lane.end(latest, head, reason),
        };
        if let Some(keyed) = latest_place(self.policy(place)).and_then(|place| self.keyed[place].as_mut()) {
            keyed.live_lanes -= 1;
        }
        self.live_lanes -= 1;
        self.aging.remove(&self.lanes[place].index);
        lost
    }

    /// Its log has what is behind the origin.
    pub(super) fn add_run_lane(&mut self, dialect: &'static dyn Dialect, origin: Origin) -> Standing {
        let mut lane = Standing::new(origin.after);
        origin.tell(|| lane.losses_mut());
        let encoded = self.logs[dialect.encoding()].get_or_insert_with(|| {
            let prefix = dialect.prefix(&self.name);
            Box::new(Encoded { dialect, prefix, log: Log::new(self.head), lanes: 0 })
        });
        encoded.lanes += 1;
        encoded.log.change_needs(&Standing::NO_NEEDS, &lane.needs());
        lane
    }

    /// Where the latest messages are kept though no lane needs them, they are so in every encoding.
    pub(super) fn begin_latest(&mut self) {
        if self.options.keeps_latest {
            for place in 0..self.keyed.len() {
                for dialect in dialect::all() {
                    self.latest_reader(place, dialect);
                }
            }
        }
    }

    /// The latest messages, with a place for readers of a dialect.
    fn latest_reader(&mut self, place: usize, dialect: &'static dyn Dialect) -> &mut Keyed {
        let is_constant = latest_place(Policy::LatestOnly) == Some(place);
        let TopicOptions { keys_max, keys_bytes_max, .. } = self.options;
        let keyed = self.keyed[place].get_or_insert_with(|| {
            // One message fits any lane.
            let latest = if is_constant { Latest::new(1, u64::MAX) } else { Latest::new(keys_max, keys_bytes_max) };
            Box::new(Keyed { latest, is_constant, readers: [const { None }; ENCODINGS], live_lanes: 0 })
        });
        keyed.readers[dialect.encoding()].get_or_insert_with(|| Reader {
            dialect,
            prefix: dialect.prefix(&self.name),
            lanes: 0,
        });
        keyed
    }

    pub(super) fn add_latest_lane(
        &mut self,
        place: usize,
        dialect: &'static dyn Dialect,
        origin: Origin,
    ) -> LatestLane {
        let head = self.head;
        let keyed = self.latest_reader(place, dialect);
        keyed.readers[dialect.encoding()].as_mut().expect("just made").lanes += 1;
        keyed.live_lanes += 1;
        let mut lane = LatestLane::new(head);
        if origin.after.messages < head.messages {
            let is_too_old = |at| origin.is_too_old(at);
            lane.enter(&mut keyed.latest, origin.after.messages, dialect.encoding(), is_too_old);
        }
        origin.tell(|| lane.losses_mut());
        lane
    }

    /// A lane that reads a log goes, and the log with the last of them.
    pub(super) fn remove_reader(&mut self, encoding: usize) {
        let log = &mut self.logs[encoding];
        let encoded = log.as_mut().expect("a lane's log exists");
        encoded.lanes -= 1;
        if encoded.lanes == 0 && self.options.history.is_none() {
            *log = None;
        }
    }

    /// The same of the latest messages.
    pub(super) fn remove_latest_reader(&mut self, place: usize, encoding: usize) {
        let keyed = self.keyed[place].as_mut().expect("a lane's latest messages exist");
        let reader = &mut keyed.readers[encoding];
        let lanes = &mut reader.as_mut().expect("a lane is counted").lanes;
        *lanes -= 1;
        if self.options.keeps_latest {
            return;
        }
        if *lanes == 0 {
            *reader = None;
        }
        if keyed.readers.iter().all(Option::is_none) {
            self.keyed[place] = None;
        }
    }
}
