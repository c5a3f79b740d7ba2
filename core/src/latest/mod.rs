//! The latest message of each key, and lanes on it: `Policy::LatestPerKey`, and with one constant key `Policy::LatestOnly`.
//!
//! A lane keeps no list: what waits in it is every latest message behind its place. Each latest message counts the lanes it
//! waits in, so that a publish which supersedes it settles all of them at once. Superseded messages hold nothing but the
//! frames that are in unanswered Transmits: each counts how often it is taken, and is charged once until nobody has it.

mod form;
mod lane;

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use bytes::{Bytes, BytesMut};

use crate::dialect::ENCODINGS;
use crate::lane::Mark;
use crate::output::LossReason;
use crate::stats::Count;
use crate::time::Instant;
use form::Form;
pub(crate) use form::Which;
pub(crate) use lane::LatestLane;

/// Resident bytes, as a topic's log bound counts them and as the hub's budget does. What is lent is in the latter alone: one
/// stuck consumer fills no log.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Resident {
    pub(crate) log: usize,
    pub(crate) hub: usize,
}

impl Resident {
    /// What both count.
    pub(crate) fn of_both(bytes: usize) -> Self {
        Self { log: bytes, hub: bytes }
    }
}

impl core::ops::Add for Resident {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { log: self.log + other.log, hub: self.hub + other.hub }
    }
}

impl core::iter::Sum for Resident {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |sum, part| sum + part)
    }
}

/// What a key costs beside its bytes and its frames: its place in both trees.
const ENTRY_BYTES: usize = size_of::<Slot>() + size_of::<(Arc<str>, u64, u64)>() + 2 * size_of::<usize>();

/// A message that becomes the latest of its key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct New<'a> {
    pub(crate) key: &'a str,
    /// The cut behind it.
    pub(crate) through: Mark,
    pub(crate) bytes: u64,
    /// Its place in the order of all publishes of the hub.
    pub(crate) stamp: u64,
    pub(crate) at: Instant,
    /// Lanes it enters.
    pub(crate) lanes: u32,
}

/// The latest message of a key.
#[derive(Debug)]
pub(crate) struct Slot {
    key: Arc<str>,
    bytes: u64,
    pub(crate) stamp: u64,
    pub(crate) at: Instant,
    /// Lanes it waits in and is not outstanding of.
    waiting: u32,
    /// By encoding; empty where nobody reads it.
    frames: [Bytes; ENCODINGS],
    /// What is allocated for each of them.
    capacities: [usize; ENCODINGS],
    /// How often each of them is taken.
    taken: [u32; ENCODINGS],
    resident: usize,
}

impl Slot {
    /// Resident bytes that outlive it.
    fn taken_bytes(&self) -> usize {
        self.capacities.iter().zip(self.taken).map(|(bytes, taken)| if taken > 0 { *bytes } else { 0 }).sum()
    }

    pub(crate) fn frame_bytes(&self, encoding: usize) -> usize {
        self.frames[encoding].len()
    }

    /// What it counts in every lane it waits in.
    fn in_all_lanes(&self) -> Count {
        Count::new(u64::from(self.waiting), u64::from(self.waiting) * self.bytes)
    }
}

/// Whether a buffer of that capacity is used again for a frame of `len` bytes: not one that is much too large.
fn is_fit(capacity: usize, len: usize) -> bool {
    (len..=2 * len).contains(&capacity)
}

/// A frame that is taken, but no longer of its key's latest message.
#[derive(Debug)]
struct Lent {
    taken: u32,
    /// What is allocated for it.
    bytes: usize,
}

/// A key that was forgotten.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forgotten {
    pub(crate) seq: u64,
    pub(crate) bytes: u64,
    pub(crate) reason: LossReason,
    /// What all lanes that waited for it lose.
    pub(crate) lost: Count,
}

#[derive(Debug)]
pub(crate) struct Latest {
    keys_max: usize,
    bytes_max: u64,
    by_key: BTreeMap<Arc<str>, u64>,
    by_seq: BTreeMap<u64, Slot>,
    /// Payload bytes of all of them.
    bytes: u64,
    resident: usize,
    /// `Slot::taken_bytes` of all of them.
    taken_bytes: usize,
    /// By number and encoding.
    lent: BTreeMap<(u64, usize), Lent>,
    lent_bytes: usize,
    /// Compressed frames of latest messages, and of what is lent, by number and encoding.
    forms: BTreeMap<(u64, usize), Form>,
    /// Why a key was forgotten last.
    forgotten_for: LossReason,
}

impl Latest {
    pub(crate) fn new(keys_max: u32, bytes_max: u64) -> Self {
        let keys_max = keys_max as usize;
        Self {
            keys_max,
            bytes_max,
            by_key: BTreeMap::new(),
            by_seq: BTreeMap::new(),
            bytes: 0,
            resident: 0,
            taken_bytes: 0,
            lent: BTreeMap::new(),
            lent_bytes: 0,
            forms: BTreeMap::new(),
            forgotten_for: LossReason::Oldest,
        }
    }

    /// Resident bytes, by allocated capacity.
    pub(crate) fn resident(&self) -> Resident {
        Resident { log: self.resident, hub: self.resident + self.lent_bytes }
    }

    /// What goes if every key is forgotten: of what is taken, the budget gets nothing back.
    pub(crate) fn freeable(&self) -> Resident {
        Resident { log: self.resident, hub: self.resident - self.taken_bytes }
    }

    /// The most resident bytes a message adds whose frames have `frame_bytes`.
    pub(crate) fn growth(&self, key: &str, frame_bytes: [usize; ENCODINGS]) -> Resident {
        let Some(before) = self.by_key.get(key).map(|seq| &self.by_seq[seq]) else {
            return Resident::of_both(Self::growth_without(key, frame_bytes));
        };
        let frames = core::array::from_fn(|encoding| {
            let (len, used) = (frame_bytes[encoding], before.capacities[encoding]);
            if is_fit(used, len) && before.taken[encoding] == 0 { used } else { len }
        });
        let after = Self::growth_without(key, frames);
        Resident {
            log: after.saturating_sub(before.resident),
            hub: (after + before.taken_bytes()).saturating_sub(before.resident),
        }
    }

    /// The same for a key that is not known.
    pub(crate) fn growth_without(key: &str, frame_bytes: [usize; ENCODINGS]) -> usize {
        frame_bytes.iter().sum::<usize>() + key.len() + ENTRY_BYTES
    }

    /// A message takes the place of the one before of its key. What is superseded by that, in all lanes.
    pub(crate) fn put(
        &mut self,
        new: New<'_>,
        frame_bytes: [usize; ENCODINGS],
        mut write: impl FnMut(usize, &mut BytesMut),
    ) -> Count {
        let mut before = None;
        let key = match self.by_key.get_key_value(new.key) {
            Some((key, _)) => Arc::clone(key),
            None => Arc::from(new.key),
        };
        if let Some(seq) = self.by_key.insert(Arc::clone(&key), new.through.messages) {
            before = self.by_seq.remove(&seq).map(|slot| (seq, slot));
        }
        let (mut superseded, mut used) = (Count::default(), <[Bytes; ENCODINGS]>::default());
        if let Some((seq, slot)) = before {
            superseded = slot.in_all_lanes();
            self.release(seq, &slot);
            used = slot.frames;
        }
        let mut capacities = [0; ENCODINGS];
        let mut frames = <[Bytes; ENCODINGS]>::default();
        for (encoding, (frame, used)) in frames.iter_mut().zip(used).enumerate() {
            let len = frame_bytes[encoding];
            if len > 0 {
                // A frame nobody sends any more lends its buffer.
                let used = used.try_into_mut().ok().filter(|used| is_fit(used.capacity(), len));
                let mut buffer = used.unwrap_or_else(|| BytesMut::with_capacity(len));
                buffer.clear();
                write(encoding, &mut buffer);
                assert_eq!(buffer.len(), len, "a dialect writes what it announces");
                capacities[encoding] = buffer.capacity();
                *frame = buffer.freeze();
            }
        }
        let New { through, bytes, stamp, at, lanes, .. } = new;
        let resident = Self::growth_without(&key, capacities);
        let slot = Slot { key, bytes, stamp, at, waiting: lanes, frames, capacities, taken: [0; ENCODINGS], resident };
        self.by_seq.insert(through.messages, slot);
        self.bytes += bytes;
        self.resident += resident;
        superseded
    }

    /// A slot that was taken out holds nothing any more. What is taken of it is lent from now on.
    fn release(&mut self, seq: u64, slot: &Slot) {
        self.bytes -= slot.bytes;
        self.resident -= slot.resident;
        self.taken_bytes -= slot.taken_bytes();
        self.release_forms(seq);
        self.lent_bytes += slot.taken_bytes();
        for (encoding, (taken, bytes)) in slot.taken.into_iter().zip(slot.capacities).enumerate() {
            if taken > 0 {
                self.lent.insert((seq, encoding), Lent { taken, bytes });
            }
        }
    }

    /// The frame of an outstanding message is let go. The message is still to be settled.
    pub(crate) fn let_go(&mut self, taken: Taken) -> Unsettled {
        if taken.which == Which::Compressed {
            return self.let_form_go(taken);
        }
        let Taken { message, encoding, frame, .. } = taken;
        let encoding = usize::from(encoding);
        drop(frame);
        if let Some(slot) = self.by_seq.get_mut(&message.seq) {
            slot.taken[encoding] -= 1;
            if slot.taken[encoding] == 0 {
                self.taken_bytes -= slot.capacities[encoding];
            }
            return message;
        }
        let lent = self.lent.get_mut(&(message.seq, encoding)).expect("what is taken is charged");
        lent.taken -= 1;
        if lent.taken == 0 {
            self.lent_bytes -= lent.bytes;
            self.lent.remove(&(message.seq, encoding));
        }
        message
    }

    /// How many frames are taken and were not let go.
    pub(crate) fn taken(&self) -> u64 {
        let taken = self.by_seq.values().flat_map(|slot| slot.taken);
        let forms = self.forms.values().map(|form| form.taken);
        taken.chain(self.lent.values().map(|lent| lent.taken)).chain(forms).map(u64::from).sum()
    }

    /// Whether there are more keys than the bounds allow.
    pub(crate) fn is_over(&self) -> bool {
        self.by_key.len() > self.keys_max || self.bytes > self.bytes_max
    }

    /// The number of the oldest of them.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.by_seq.first_key_value().map(|(seq, _)| *seq)
    }

    /// Forgets the key whose latest message is the oldest.
    pub(crate) fn forget_oldest(&mut self, reason: LossReason) -> Option<Forgotten> {
        let (seq, slot) = self.by_seq.pop_first()?;
        self.forgotten_for = reason;
        self.by_key.remove(&slot.key);
        self.release(seq, &slot);
        Some(Forgotten { seq, bytes: slot.bytes, reason, lost: slot.in_all_lanes() })
    }

    fn behind(&self, place: u64) -> impl Iterator<Item = (u64, &Slot)> {
        self.by_seq.range(place + 1..).map(|(seq, slot)| (*seq, slot))
    }

    /// Recounts everything; `places` are those of the lanes that have not ended.
    pub(crate) fn check(&self, places: &[u64]) {
        assert_eq!(self.by_key.len(), self.by_seq.len(), "one latest message per key");
        for (key, seq) in &self.by_key {
            assert_eq!(self.by_seq[seq].key, *key, "a key's latest message is its own");
        }
        assert_eq!(self.bytes, self.by_seq.values().map(|slot| slot.bytes).sum::<u64>(), "payload bytes of keys");
        let (resident, taken, lent) = self.forms_bytes();
        let slots = self.by_seq.values().map(|slot| slot.resident).sum::<usize>();
        assert_eq!(self.resident, slots + resident, "resident bytes of keys");
        assert!(!self.is_over(), "no more keys than may be");
        let taken_bytes = self.by_seq.values().map(Slot::taken_bytes).sum::<usize>();
        assert_eq!(self.taken_bytes, taken_bytes + taken, "resident bytes that are taken");
        let lent_bytes = self.lent.values().map(|lent| lent.bytes).sum::<usize>();
        assert_eq!(self.lent_bytes, lent_bytes + lent, "resident bytes that are lent");
        assert!(self.lent.values().all(|lent| lent.taken > 0), "what nobody has is not lent");
        assert!(self.lent.keys().all(|(seq, _)| !self.by_seq.contains_key(seq)), "what is lent is nobody's latest");
        for (seq, slot) in &self.by_seq {
            let waiting = places.iter().filter(|place| *place < seq).count();
            assert_eq!(slot.waiting as usize, waiting, "lanes that wait for a key's latest message");
        }
    }
}

/// A latest message in a Transmit. Its frame is charged until `Latest::let_go`.
#[derive(Debug)]
pub(crate) struct Taken {
    message: Unsettled,
    encoding: u8,
    pub(crate) which: Which,
    /// How long its frame is as it is; what it is sent as may be shorter.
    pub(crate) plain_bytes: u32,
    pub(crate) frame: Bytes,
}

impl Taken {
    /// The same message as it was compressed for one connection alone.
    pub(crate) fn own(self, frame: Bytes) -> Self {
        Self { which: Which::Own, frame, ..self }
    }
}

/// An outstanding latest message whose frame was let go: for `LatestLane::sent` or `LatestLane::returned`.
#[derive(Debug)]
#[must_use = "what is outstanding is settled in its lane"]
pub(crate) struct Unsettled {
    pub(crate) seq: u64,
    pub(crate) bytes: u64,
    key: Arc<str>,
}

#[cfg(test)]
mod tests;
