//! The compressed form of a block: the same messages in other frames, made once and sent to all who may take it.
//!
//! A form is cut into *units*, one WebSocket message each, that stand for one message of the block or several. Lanes count
//! messages, so a unit is sent to those who get all of its messages, and as a whole: others get these as they are in the block.
//! A unit may also be a plain frame, where compression is of no use.

use alloc::sync::Arc;
use bytes::Bytes;
use core::ops::Range;

use super::{Log, Plan};
use crate::lane::{Mark, Run};
use crate::stats::Count;

/// One WebSocket message of a form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unit {
    /// The cut behind its last message.
    pub(crate) through: Mark,
    /// Where its frame ends in the form.
    pub(crate) end: u32,
    /// How much was compressed; 0: it is a plain frame. Who inflates it has to remember no more than so many bytes.
    pub(crate) window_bytes: u32,
}

/// The compressed form of a block, or that it has none.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    /// The number before its first message.
    after: u64,
    bytes: Bytes,
    /// All messages of the block; none if it is of no use.
    units: Arc<[Unit]>,
    /// The largest of its units'.
    window_bytes: u32,
}

/// What a form costs beside its bytes and units: its place in the log, and what is beside what is shared.
pub(super) const FORM_BYTES: usize = size_of::<(u64, Form)>() + 2 * size_of::<usize>();

/// The bounds of a part of a Transmit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FormRoom {
    pub(crate) bytes: usize,
    /// Payload bytes before compression.
    pub(crate) payload_bytes: u64,
    /// Whether one unit goes even if it is larger.
    pub(crate) one: bool,
    /// How far back the peer remembers.
    pub(crate) window_bytes: usize,
}

/// How the front of a run is sent, up to the end of its first block at most.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Front {
    /// As units; nothing, where none fits.
    Units(Plan),
    /// As it is in the block, up to this message.
    Plain(u64),
}

impl Form {
    /// The form of a block whose first message is behind `after`. Without units: it has none.
    pub(crate) fn new(after: u64, bytes: Bytes, units: &[Unit]) -> Self {
        assert_eq!(units.last().map_or(0, |unit| unit.end as usize), bytes.len(), "units are all there is");
        let window_bytes = units.iter().map(|unit| unit.window_bytes).max().unwrap_or(0);
        Self { after, bytes, units: units.into(), window_bytes }
    }

    /// The most that the form of a block of `len` bytes with so many messages may take.
    pub(crate) fn resident_max(len: usize, messages: usize) -> usize {
        len + messages * size_of::<Unit>() + FORM_BYTES
    }

    /// Resident bytes.
    pub(crate) fn resident(&self) -> usize {
        Self::resident_max(self.bytes.len(), self.units.len())
    }

    /// The unit that a message lies in.
    fn place(&self, seq: u64) -> usize {
        self.units.partition_point(|unit| unit.through.messages < seq)
    }

    /// The number, and the place in the form, before a unit.
    fn before(&self, place: usize) -> (u64, usize) {
        let unit = place.checked_sub(1).map(|place| self.units[place]);
        unit.map_or((self.after, 0), |unit| (unit.through.messages, unit.end as usize))
    }

    /// How the front of a run that begins in the block is sent; where there is no unit, up to `last`.
    fn plan(&self, run: Run, last: u64, room: FormRoom) -> Front {
        let first = self.place(run.first());
        let Some(unit) = self.units.get(first) else { return Front::Plain(last) };
        let (after, start) = self.before(first);
        let is_taken =
            |unit: &Unit| unit.through.messages <= run.last() && unit.window_bytes as usize <= room.window_bytes;
        if after != run.after.messages || !is_taken(unit) {
            return Front::Plain(unit.through.messages.min(run.last()));
        }
        let units = &self.units[first..];
        let mut count = units.partition_point(|unit| {
            let payload_bytes = unit.through.bytes - run.after.bytes;
            unit.end as usize - start <= room.bytes && payload_bytes <= room.payload_bytes
        });
        if count == 0 && room.one {
            count = 1;
        }
        let units = &units[..count.min(units.partition_point(|unit| unit.through.messages <= run.last()))];
        let units = match self.window_bytes as usize <= room.window_bytes {
            true => units,
            false => &units[..units.iter().take_while(|unit| is_taken(unit)).count()],
        };
        let last = units.last();
        Front::Units(Plan {
            cut: last.map_or(run.after, |unit| unit.through),
            bytes: last.map_or(0, |unit| unit.end as usize - start),
            slices: usize::from(last.is_some()),
        })
    }

    /// The bytes of a run of whole units.
    pub(crate) fn piece(&self, run: Run) -> (&Bytes, Range<usize>) {
        let (after, start) = self.before(self.place(run.first()));
        let end = self.units[self.place(run.last())];
        assert!(after == run.after.messages && end.through == run.through, "units are sent whole");
        (&self.bytes, start..end.end as usize)
    }

    /// How far `sent` bytes of a run of whole units reach: the cut behind the last unit covered, and of the unit they end in the
    /// cut behind it and the rest.
    pub(crate) fn split(&self, run: Run, sent: usize) -> (Mark, Option<(Mark, &[u8])>) {
        let (_, range) = self.piece(run);
        let at = range.start + sent;
        let place = self.units.partition_point(|unit| unit.end as usize <= at);
        let (_, start) = self.before(place);
        let cut = if start == range.start { run.after } else { self.units[place - 1].through };
        let rest = self.units.get(place).filter(|_| start < at);
        (cut, rest.map(|unit| (unit.through, &self.bytes[at..unit.end as usize])))
    }

    /// What of a run of whole units is compressed: how much that was before, and how long its frames are.
    pub(crate) fn saved(&self, run: Run) -> (Count, u64) {
        let first = self.place(run.first());
        let (_, mut start) = self.before(first);
        let (mut before, mut sent_bytes) = (Count::default(), 0);
        for unit in &self.units[first..=self.place(run.last())] {
            if unit.window_bytes > 0 {
                before += Count::new(1, u64::from(unit.window_bytes));
                sent_bytes += (unit.end as usize - start) as u64;
            }
            start = unit.end as usize;
        }
        (before, sent_bytes)
    }

    /// Recounts it, as that of a block whose messages end at these cuts.
    pub(super) fn check(&self, after: u64, cuts: &[Mark]) {
        assert_eq!(self.after, after, "a form is of a block");
        let mut end = 0;
        for unit in &*self.units {
            assert!(unit.end > end, "units are in order");
            assert!(cuts.contains(&unit.through), "a unit ends behind a message");
            end = unit.end;
        }
        let messages = self.units.windows(2).all(|pair| pair[0].through.messages < pair[1].through.messages);
        assert!(messages, "units are of one message or several");
        let last = self.units.last().map(|unit| unit.through);
        assert!(last.is_none_or(|last| Some(&last) == cuts.last()), "a form is of the whole block");
    }
}

impl Log {
    /// The size of the block that a message lies in, in bytes and messages, if it is frozen and nobody has said whether it has
    /// a form.
    pub(crate) fn unformed(&self, seq: u64) -> Option<(usize, usize)> {
        let block = &self.blocks[self.find(seq)];
        let is_asked = block.is_open || self.forms.contains_key(&block.first);
        (!is_asked).then(|| (block.bytes.len(), block.len()))
    }

    /// The number before the block that a message lies in, and its frames, each with the cut behind it.
    pub(crate) fn frames(&self, seq: u64) -> (u64, impl Iterator<Item = (Mark, &[u8])>) {
        let block = &self.blocks[self.find(seq)];
        let mut start = 0;
        let frames = (block.first..=block.last).map(move |seq| {
            let (from, end) = (start, self.offset_after(block, seq));
            start = end;
            (self.mark(seq), &block.bytes[from..end])
        });
        (block.first - 1, frames)
    }

    /// This is the form of the block that a message lies in.
    pub(crate) fn set_form(&mut self, seq: u64, form: Form) {
        let block = &self.blocks[self.find(seq)];
        self.resident += form.resident();
        let before = self.forms.insert(block.first, form);
        assert!(before.is_none(), "a form is made once");
    }

    /// How the front of a run that is frozen is sent to those who take forms.
    pub(crate) fn front(&self, run: Run, room: FormRoom) -> Front {
        let block = &self.blocks[self.find(run.first())];
        let last = block.last.min(run.last());
        let form = self.forms.get(&block.first);
        form.map_or(Front::Plain(last), |form| form.plan(run, last, room))
    }

    /// The form that a run of whole units is of.
    pub(crate) fn form(&self, run: Run) -> &Form {
        self.forms.get(&self.blocks[self.find(run.first())].first).expect("what is outstanding stays as it is")
    }

    /// Forgets the forms of blocks of which nothing is outstanding.
    pub(crate) fn drop_forms(&mut self) {
        let forms = core::mem::take(&mut self.forms);
        for (first, form) in forms {
            if self.blocks[self.find(first)].held > 0 {
                self.forms.insert(first, form);
            } else {
                self.resident -= form.resident();
            }
        }
    }

    /// A block goes, and so does its form.
    pub(super) fn drop_form(&mut self, first: u64) {
        if let Some(form) = self.forms.remove(&first) {
            self.resident -= form.resident();
        }
    }

    /// Resident bytes of forms.
    pub(super) fn forms_bytes(&self) -> usize {
        self.forms.values().map(Form::resident).sum()
    }
}
