//! Lanes that have nothing special about them: what is drained of most lanes, most of the time.

use super::{LanePlace, Topic, TopicLane, Topics, Window};
use crate::conn::Plain;
use crate::lane::Run;
use crate::log::Log;
use crate::stats::Count;

/// What a plain Transmit holds.
pub(crate) struct PlainRun<'a> {
    pub(crate) log: &'a Log,
    pub(crate) run: Run,
    /// Its bytes, where they lie in one block.
    pub(crate) single: Option<&'a [u8]>,
    pub(crate) bytes: usize,
}

impl Topics {
    /// What a plain Transmit holds.
    pub(crate) fn plain(&self, plain: Plain) -> PlainRun<'_> {
        let LanePlace { topic, place } = self.lanes.at(plain.lane()).expect("the lane exists");
        let topic = self.slab.at(*topic).expect("a lane's topic exists");
        let lane = &topic.lanes[place.get() as usize - 1];
        let Window::Log(standing) = &lane.window else { panic!("it reads its log") };
        let encoding = topic.settings.get(lane.settings()).encoding;
        let log = &topic.logs[encoding].as_ref().expect("a lane's log exists").log;
        let run = standing.outstanding();
        let single = log.single(run);
        PlainRun { log, run, single, bytes: single.map_or_else(|| log.run_bytes(run), <[u8]>::len) }
    }
}

impl Topic {
    /// Takes what waits in a lane into a Transmit, as much as goes in; whether that was not all. `None`: nothing waits, or
    /// there is something special about the lane (a gap to tell, credit, acknowledgements, ages, levels to look at, batches),
    /// and nothing was done.
    pub(crate) fn start_plain(&mut self, place: usize, (bytes_max, slices_max): (usize, usize)) -> Option<bool> {
        let lane = &mut self.lanes[place];
        let settings = self.settings.get(lane.settings());
        let is_special = lane.is(TopicLane::WATCHED) || lane.is(TopicLane::GATED) || settings.age_max.is_some();
        let Window::Log(standing) = &mut lane.window else { return None };
        let run = Run { after: standing.plain_tail()?, through: self.head };
        if is_special || self.flushed.messages != self.head.messages || run.is_empty() {
            return None;
        }
        let log = &mut self.logs[settings.encoding].as_mut().expect("a lane's log exists").log;
        if log.start_newest_block(run, bytes_max) {
            standing.start(self.head, self.head);
            return Some(false);
        }
        let plan = log.plan(run, bytes_max, slices_max, true);
        log.start(standing.start(self.head, plan.cut));
        Some(plan.cut.messages != self.head.messages)
    }

    /// If what is outstanding of a lane is no longer than `bytes`, all of it was sent. What that was, and whether the log gave
    /// something back. `None`: it is longer, or there is something special about the lane, and nothing was done.
    pub(crate) fn plain_sent(&mut self, place: usize, bytes: usize) -> Option<(Count, bool)> {
        let lane = &mut self.lanes[place];
        let is_special = lane.is(TopicLane::WATCHED);
        let encoding = self.settings.get(lane.settings()).encoding;
        let Window::Log(standing) = &mut lane.window else { return None };
        let run = standing.plain_outstanding()?;
        let log = &mut self.logs[encoding].as_mut().expect("a lane's log exists").log;
        if is_special || log.run_bytes(run) > bytes {
            return None;
        }
        let count = standing.plain_sent();
        let before = log.resident();
        log.sent(run);
        self.totals.send(count);
        Some((count, log.resident() != before))
    }
}
