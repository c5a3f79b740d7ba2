//! Lanes on the latest messages.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::{Forgotten, Latest, Slot, Taken, Unsettled, Which};
use crate::lane::{Mark, narrow};
use crate::losses::{Losses, NO_LOSSES};
use crate::output::LossReason;
use crate::stats::{Count, Totals};
use crate::time::Instant;

/// One consumer's window on the latest messages. They always fit: they are bounded by the topic, and it was checked that its
/// bounds do.
#[derive(Debug)]
pub(crate) struct LatestLane {
    /// The head when the lane began.
    began: Mark,
    sent: Count,
    /// Every latest message behind it waits.
    place: u64,
    /// What is outstanding: less than 2^32 bytes, see `Standing`; of one slice each.
    out_bytes: u32,
    out_messages: u16,
    is_ended: bool,
    /// There while it says anything.
    rare: Option<Box<Rare>>,
}

/// What most lanes do not have.
#[derive(Debug, Default)]
struct Rare {
    losses: Losses,
    /// What was published up to here is too old for this lane.
    expired: u64,
    /// The head when the lane ended, and why it did.
    ended: Option<(Mark, LossReason)>,
}

impl LatestLane {
    pub(crate) fn new(head: Mark) -> Self {
        Self {
            began: head,
            sent: Count::default(),
            place: head.messages,
            out_bytes: 0,
            out_messages: 0,
            is_ended: false,
            rare: None,
        }
    }

    /// A lane that has just begun gets what is behind `place`, too: the newest that have a frame in its encoding and are not
    /// too old.
    pub(crate) fn enter(
        &mut self,
        latest: &mut Latest,
        place: u64,
        encoding: usize,
        is_too_old: impl Fn(Instant) -> bool,
    ) {
        for (seq, slot) in latest.by_seq.range_mut(place + 1..).rev() {
            if slot.frame_bytes(encoding) == 0 || is_too_old(slot.at) {
                self.place = *seq;
                return;
            }
            slot.waiting += 1;
            // What entered is what lies behind this.
            self.began.messages -= 1;
            self.began.bytes -= slot.bytes;
        }
        self.place = place;
    }

    fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    pub(crate) fn losses(&self) -> &Losses {
        self.rare.as_ref().map_or(&NO_LOSSES, |rare| &rare.losses)
    }

    pub(crate) fn losses_mut(&mut self) -> &mut Losses {
        &mut self.rare_mut().losses
    }

    /// Why the lane ended, if it did.
    pub(crate) fn end_reason(&self) -> Option<LossReason> {
        self.rare.as_ref().and_then(|rare| rare.ended).map(|(_, reason)| reason)
    }

    /// The next message that waits and is not outstanding.
    pub(crate) fn next<'a>(&self, latest: &'a Latest) -> Option<(u64, &'a Slot)> {
        if self.is_ended() { None } else { latest.behind(self.place).next() }
    }

    /// Waiting and not outstanding. It looks at every message that waits.
    pub(crate) fn waiting(&self, latest: &Latest) -> Count {
        let mut waiting = Count::default();
        if !self.is_ended() {
            latest.behind(self.place).for_each(|(_, slot)| waiting += Count::new(1, slot.bytes));
        }
        waiting
    }

    pub(crate) fn outstanding(&self) -> Count {
        Count::new(u64::from(self.out_messages), u64::from(self.out_bytes))
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Its place, while it has not ended.
    pub(crate) fn place(&self) -> Option<u64> {
        (!self.is_ended()).then_some(self.place)
    }

    /// The next message becomes outstanding.
    pub(crate) fn start(&mut self, latest: &mut Latest, encoding: usize, which: Which) -> Option<Taken> {
        let (seq, slot) = latest.by_seq.range_mut(self.place + 1..).next().filter(|_| !self.is_ended)?;
        slot.waiting -= 1;
        self.place = *seq;
        self.out_messages += 1;
        self.out_bytes += narrow(slot.bytes);
        let plain_bytes = narrow(slot.frames[encoding].len() as u64);
        let message = Unsettled { seq: *seq, bytes: slot.bytes, key: Arc::clone(&slot.key) };
        let frame = match which {
            Which::Compressed => latest.take_form(message.seq, encoding),
            Which::Plain | Which::Own => {
                if slot.taken[encoding] == 0 {
                    latest.taken_bytes += slot.capacities[encoding];
                }
                slot.taken[encoding] += 1;
                slot.frames[encoding].clone()
            }
        };
        let encoding = u8::try_from(encoding).expect("there are few");
        Some(Taken { message, encoding, which, plain_bytes, frame })
    }

    /// An outstanding message was sent.
    #[expect(clippy::needless_pass_by_value, reason = "a message is settled once")]
    pub(crate) fn sent(&mut self, message: Unsettled) -> Count {
        let count = Count::new(1, message.bytes);
        self.settle(message.bytes);
        self.sent += count;
        count
    }

    fn settle(&mut self, bytes: u64) {
        self.out_messages -= 1;
        self.out_bytes -= narrow(bytes);
    }

    /// An outstanding message was not sent: it waits again if it is still the latest of its key. Otherwise it is lost, for
    /// the reason that is returned.
    #[expect(clippy::needless_pass_by_value, reason = "a message is settled once")]
    pub(crate) fn returned(
        &mut self,
        latest: &mut Latest,
        taken: Unsettled,
        end_reason: Option<LossReason>,
    ) -> Option<LossReason> {
        self.settle(taken.bytes);
        let expired = self.rare.as_ref().map_or(0, |rare| rare.expired);
        let reason = match (end_reason, latest.by_key.get(&taken.key)) {
            (Some(reason), _) => reason,
            (None, Some(seq)) if *seq == taken.seq && taken.seq <= expired => LossReason::Age,
            (None, Some(seq)) if *seq == taken.seq => {
                latest.by_seq.get_mut(seq).expect("a key has a latest message").waiting += 1;
                // Nothing between was passed over: what is the latest now was so then, and is outstanding too.
                self.place = self.place.min(taken.seq - 1);
                return None;
            }
            (None, Some(_)) => LossReason::Superseded,
            (None, None) => latest.forgotten_for,
        };
        self.lose(taken.seq, taken.bytes, reason);
        Some(reason)
    }

    /// A key's latest message was forgotten.
    pub(crate) fn forget(&mut self, forgotten: Forgotten) {
        if !self.is_ended && self.place < forgotten.seq {
            self.lose(forgotten.seq, forgotten.bytes, forgotten.reason);
        }
    }

    fn lose(&mut self, seq: u64, bytes: u64, reason: LossReason) {
        if reason != LossReason::Superseded {
            self.losses_mut().lose((seq, seq), Count::new(1, bytes), reason);
        }
    }

    /// What waits and is too old is lost.
    pub(crate) fn expire(&mut self, latest: &mut Latest, is_too_old: impl Fn(Instant) -> bool) -> Count {
        let mut lost = Count::default();
        if self.is_ended() {
            return lost;
        }
        for (seq, slot) in latest.by_seq.range_mut(self.place + 1..) {
            if !is_too_old(slot.at) {
                break;
            }
            slot.waiting -= 1;
            lost += Count::new(1, slot.bytes);
            let rare = self.rare.get_or_insert_default();
            rare.losses.lose((*seq, *seq), Count::new(1, slot.bytes), LossReason::Age);
            (self.place, rare.expired) = (*seq, *seq);
        }
        lost
    }

    /// Ends the lane: what waits is lost. What is outstanding is settled by `sent` and `returned`.
    pub(crate) fn end(&mut self, latest: &mut Latest, head: Mark, reason: LossReason) -> Count {
        let mut lost = Count::default();
        let rare = self.rare.get_or_insert_default();
        for (seq, slot) in latest.by_seq.range_mut(self.place + 1..) {
            slot.waiting -= 1;
            lost += Count::new(1, slot.bytes);
            rare.losses.lose((*seq, *seq), Count::new(1, slot.bytes), reason);
        }
        rare.ended = Some((head, reason));
        self.is_ended = true;
        lost
    }

    /// The terms of the queue law. What was superseded is the rest: every other term is counted one by one, and the
    /// topic's terms are counted apart.
    pub(crate) fn totals(&self, latest: &Latest, head: Mark) -> Totals {
        let ended = self.rare.as_ref().and_then(|rare| rare.ended);
        let entered = self.began.to(ended.map_or(head, |(end, _)| end));
        let mut waiting = self.waiting(latest);
        waiting += self.outstanding();
        let mut lost = self.losses().counts();
        let mut known = self.sent;
        known += waiting;
        lost.iter().for_each(|count| known += *count);
        lost[LossReason::Superseded as usize] =
            Count::new(entered.messages - known.messages, entered.bytes - known.bytes);
        Totals { entered, sent: self.sent, waiting, lost }
    }
}
