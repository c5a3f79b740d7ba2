//! The history: the newest messages of a topic, kept in its logs for those who come later. It reads each of them like a lane
//! whose tail only the bounds move. A topic with a history has a log for every dialect as long as it lives, so each of them
//! has all of it.

use alloc::boxed::Box;

use super::{Encoded, Topic};
use crate::dialect;
use crate::lane::{Mark, Needs, Run, Standing};
use crate::log::Log;
use crate::stats::Count;
use crate::time::Instant;

impl Topic {
    /// What a topic has from the beginning.
    pub(super) fn begin_history(&mut self) {
        if self.options.history.is_none() {
            return;
        }
        self.history = Some(self.head);
        for dialect in dialect::all() {
            let mut log = Log::new(self.head);
            log.change_needs(&Standing::NO_NEEDS, &needs(self.head));
            let prefix = dialect.prefix(&self.name);
            self.logs[dialect.encoding()] = Some(Box::new(Encoded { dialect, prefix, log, lanes: 0 }));
        }
    }

    /// Everything behind this cut is in the history.
    pub(crate) fn kept_after(&self) -> Mark {
        self.history.unwrap_or(self.head)
    }

    /// What is in the history.
    pub(crate) fn kept(&self) -> Count {
        self.kept_after().to(self.head)
    }

    /// What every log has to keep for it.
    pub(crate) fn history_needs(&self) -> Option<Needs> {
        self.history.map(needs)
    }

    /// When the oldest message of the history will be too old.
    pub(crate) fn history_expires_at(&self) -> Option<Instant> {
        let age_max = self.options.history?.age_max?;
        let after = self.history.filter(|after| after.messages < self.head.messages)?;
        Some(self.kept_log().at(after.messages + 1) + age_max)
    }

    /// Any log: all of them have the history.
    fn kept_log(&self) -> &Log {
        &self.logs[dialect::RAW.encoding()].as_ref().expect("a topic with a history has its logs").log
    }

    /// Lets go of what is beyond the bounds of the history.
    pub(crate) fn trim_history(&mut self, now: Instant) {
        let (Some(bounds), Some(after), head) = (self.options.history, self.history, self.head) else { return };
        let mut cut = after;
        let log = self.kept_log();
        if cut.to(head).messages > u64::from(bounds.messages_max) {
            cut = log.mark(head.messages - u64::from(bounds.messages_max));
        }
        while cut.to(head).bytes > bounds.bytes_max {
            cut = log.mark(cut.messages + 1);
        }
        if let Some(age_max) = bounds.age_max {
            let old = log.last_at(Run { after: cut, through: head }, |at| at + age_max <= now);
            cut = old.unwrap_or(cut);
        }
        self.cut_history(cut);
    }

    /// Lets go of everything up to `cut`.
    pub(crate) fn cut_history(&mut self, cut: Mark) {
        let Some(after) = self.history.filter(|after| after.messages < cut.messages) else { return };
        self.history = Some(cut);
        for encoded in self.logs.iter_mut().flatten() {
            encoded.log.change_needs(&needs(after), &needs(cut));
        }
    }

    /// Whether it keeps to its bounds.
    pub(crate) fn check_history(&self) {
        let Some(bounds) = self.options.history else { return assert!(self.history.is_none(), "no history is kept") };
        let kept = self.kept();
        assert!(kept.messages <= u64::from(bounds.messages_max), "messages of a history");
        assert!(kept.bytes <= bounds.bytes_max, "bytes of a history");
        assert!(!self.is_removed || kept == Count::default(), "a removed topic has no history");
        assert!(dialect::all().all(|dialect| self.logs[dialect.encoding()].is_some()), "every log has the history");
    }

    /// Lets go of the oldest block of the history, where nobody else keeps what is behind it in one of the logs; whether
    /// there was one.
    pub(crate) fn drop_history_block(&mut self) -> bool {
        let Some(after) = self.history else { return false };
        let alone = self.logs.iter().flatten().filter_map(|encoded| encoded.log.kept_only_behind(after));
        let Some(cut) = alone.min_by_key(|cut| cut.messages) else { return false };
        self.cut_history(cut);
        true
    }
}

fn needs(tail: Mark) -> Needs {
    Needs { tail: Some(tail), ..Standing::NO_NEEDS }
}
