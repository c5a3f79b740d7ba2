//! The latest messages of a topic: what supersedes them, and what makes them forgotten.

use super::Hub;
use crate::dialect::ENCODINGS;
use crate::id::TopicId;
use crate::latest::{Latest, New, Resident};
use crate::output::{LossReason, Message};
use crate::topics::{Topic, Window, latest_place};

impl Hub {
    /// The message at the head becomes the latest of its key.
    pub(super) fn put_latest(&mut self, topic_id: TopicId, message: Message<'_>) {
        let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
        let (head, bytes) = (topic.head, message.payload.as_bytes().len() as u64);
        for place in 0..topic.keyed.len() {
            let Some(keyed) = &mut topic.keyed[place] else { continue };
            let (key, lanes, frame_bytes) =
                (keyed.key(message), keyed.live_lanes, keyed.frame_bytes(head.messages, message));
            let new = New { key, through: head, bytes, stamp: self.stamp, at: self.now, lanes };
            let readers = &keyed.readers;
            let superseded = keyed.latest.put(new, frame_bytes, |encoding, out| {
                let reader = readers[encoding].as_ref().expect("its frame has a length");
                reader.dialect.put_message(out, &reader.prefix, head.messages, message);
            });
            topic.totals.lose(LossReason::Superseded, superseded);
            self.stats.lanes.lose(LossReason::Superseded, superseded);
            while topic.keyed[place].as_ref().is_some_and(|keyed| keyed.latest.is_over()) {
                let lost = topic.forget_oldest_key(place, LossReason::Oldest);
                self.stats.lanes.lose(LossReason::Oldest, lost);
            }
        }
    }

    /// Forgets the key whose latest message is the oldest, to give back its memory; `false` if none is known.
    pub(super) fn forget_key(&mut self, topic_id: TopicId, reason: LossReason) -> bool {
        let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
        let oldest = |place: &usize| topic.keyed[*place].as_ref().and_then(|keyed| keyed.latest.oldest());
        let places = (0..topic.keyed.len()).filter_map(|place| Some((oldest(&place)?, place)));
        let Some((_, place)) = places.min() else { return false };
        let lost = topic.forget_oldest_key(place, reason);
        self.stats.lanes.lose(reason, lost);
        self.recharge_topic(topic_id);
        true
    }
}

impl Topic {
    /// What the lanes that waited for it lose.
    fn forget_oldest_key(&mut self, place: usize, reason: LossReason) -> crate::stats::Count {
        let keyed = self.keyed[place].as_mut().expect("just looked up");
        let forgotten = keyed.latest.forget_oldest(reason).expect("a key is known");
        if forgotten.lost.messages > 0 {
            for lane in 0..self.lanes.len() {
                let is_reader = latest_place(self.policy(lane)) == Some(place);
                if let (true, Window::Latest(window)) = (is_reader, &mut self.lanes[lane].window) {
                    window.forget(forgotten);
                }
            }
            self.totals.lose(reason, forgotten.lost);
        }
        forgotten.lost
    }

    /// How many resident bytes the latest messages grow by with one more.
    pub(super) fn latest_growth(&self, message: Message<'_>) -> Resident {
        self.latest_sum(message, |latest, key, frame_bytes| latest.growth(key, frame_bytes))
    }

    /// The same, if all keys are forgotten before.
    pub(super) fn latest_growth_without(&self, message: Message<'_>) -> usize {
        self.latest_sum(message, |_, key, frame_bytes| Latest::growth_without(key, frame_bytes))
    }

    fn latest_sum<T: core::iter::Sum>(
        &self,
        message: Message<'_>,
        growth: impl Fn(&Latest, &str, [usize; ENCODINGS]) -> T,
    ) -> T {
        let seq = self.head.messages + 1;
        let keyed = self.keyed.iter().flatten();
        keyed.map(|keyed| growth(&keyed.latest, keyed.key(message), keyed.frame_bytes(seq, message))).sum()
    }

    /// Resident bytes that go if all keys are forgotten.
    pub(super) fn latest_freeable(&self) -> Resident {
        self.keyed.iter().flatten().map(|keyed| keyed.latest.freeable()).sum()
    }
}
