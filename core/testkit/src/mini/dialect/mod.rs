//! A reader of `forebay.v1` that keeps book of everything it is told and believes none of it.

mod answers;
mod requests;
mod sessions;
#[cfg(test)]
mod tests;
mod told;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use requests::Wish;
pub use sessions::Place;
pub use told::{CODES, Data, OTHER_REASONS, POLICIES, Told};

/// A subscription and its ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sub {
    /// The numbering.
    pub epoch: String,
    /// The policy that holds.
    pub policy: String,
    /// How many may be unacknowledged; `None`: best effort.
    pub in_flight_max: Option<u64>,
    /// What was received and missed does not add up to what was told: some of it was asked for and is not there, was sent
    /// in vain, or belongs to another connection.
    pub is_uneven: bool,
    /// It began on another connection.
    pub is_resumed: bool,
    /// Messages from `start + 1` on will come.
    pub start: u64,
    /// The last message received, or `start`.
    pub last: u64,
    /// The highest number told, by a message or a gap.
    pub told: u64,
    /// Messages received.
    pub received: u64,
    /// Messages received again.
    pub again: u64,
    /// Payload bytes received.
    pub bytes: u64,
    /// Messages told as lost.
    pub missed: u64,
    /// Gap notices, in order: first, last, how many.
    pub gaps: Vec<(u64, u64, u64)>,
    /// The numbers received.
    pub seen: BTreeSet<u64>,
}

impl Sub {
    const fn new(epoch: String, policy: String, in_flight_max: Option<u64>, start: u64) -> Self {
        Self {
            epoch,
            policy,
            in_flight_max,
            is_uneven: false,
            is_resumed: false,
            start,
            last: start,
            told: start,
            received: 0,
            again: 0,
            bytes: 0,
            missed: 0,
            gaps: Vec::new(),
            seen: BTreeSet::new(),
        }
    }

    /// Whether the subscription may end for want of room: it may lose nothing and brakes nobody.
    #[must_use]
    pub fn may_end(&self) -> bool {
        self.policy == "disconnect" || (self.in_flight_max.is_some() && self.policy != "block")
    }

    /// Whether messages may be superseded, which no gap tells.
    #[must_use]
    pub fn is_keyed(&self) -> bool {
        matches!(self.policy.as_str(), "latest-per-key" | "latest-only")
    }
}

/// What was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// `subscribe`
    Subscribe,
    /// `unsubscribe`
    Unsubscribe,
    /// `publish`
    Publish,
    /// `ping`
    Ping,
    /// `keep`
    Keep,
    /// `resume`
    Resume,
    /// `credit`
    Credit,
    /// Something that can only be answered by an error.
    Nonsense,
}

#[derive(Clone, Debug)]
struct Request {
    asked: Asked,
    id: Option<String>,
    topic: String,
    tag: u64,
    policy: Option<String>,
}

/// One side's book of a `forebay.v1` connection.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    /// The session, once greeted.
    pub session: Option<String>,
    /// Subscriptions now.
    pub subs: BTreeMap<String, Sub>,
    /// Topics subscribed to without an id: nothing is known of where they start.
    pub loose: BTreeSet<String>,
    told: Vec<Told>,
    pending: VecDeque<Request>,
    last_id: u64,
    silent_errors: u64,
    /// Gap notices whose range is larger than what was missed, or that do not start at the next number.
    pub uneven_gaps: u64,
}

impl Reader {
    /// What was said since it was last asked.
    pub fn take_told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    /// Requests with an id that were not answered.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.pending.iter().filter(|request| request.id.is_some()).count()
    }

    /// The subscriptions of which nothing is asked that was not answered.
    #[must_use]
    pub fn settled_subs(&self) -> BTreeMap<String, Sub> {
        let is_asked = |topic: &String| {
            let is_of_lane = |request: &&Request| matches!(request.asked, Asked::Subscribe | Asked::Unsubscribe);
            self.pending.iter().filter(is_of_lane).any(|request| request.topic == *topic)
        };
        let subs = self.subs.iter().filter(|(topic, _)| !is_asked(topic));
        subs.map(|(topic, sub)| (topic.clone(), sub.clone())).collect()
    }

    /// The unanswered requests of one kind.
    #[must_use]
    pub fn unanswered_of(&self, asked: Asked) -> usize {
        self.pending.iter().filter(|request| request.id.is_some() && request.asked == asked).count()
    }
}
