//! Compressed frames of latest messages: made once, and sent to all who may take them.

use alloc::vec::Vec;
use bytes::Bytes;

use super::{Latest, Slot, Taken, Unsettled};

/// The compressed frame of a message in one encoding.
#[derive(Debug)]
pub(super) struct Form {
    /// Empty: compression is of no use.
    pub(super) frame: Bytes,
    pub(super) taken: u32,
}

/// What a form costs beside its bytes: its place.
const FORM_BYTES: usize = size_of::<((u64, usize), Form)>() + 2 * size_of::<usize>();

impl Form {
    pub(super) fn resident(&self) -> usize {
        Latest::form_bytes_max(self.frame.len())
    }
}

/// Which of a message's frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Which {
    Plain,
    Compressed,
    /// Compressed for its connection alone, which has it; the plain one is kept for as long.
    Own,
}

impl Latest {
    /// The most resident bytes that the compressed form of a frame adds.
    pub(crate) fn form_bytes_max(frame_bytes: usize) -> usize {
        frame_bytes + FORM_BYTES
    }

    /// How long the compressed frame of a message is, 0 where compression is of no use; `None`: nobody has said.
    pub(crate) fn compressed_bytes(&self, seq: u64, encoding: usize) -> Option<usize> {
        self.forms.get(&(seq, encoding)).map(|form| form.frame.len())
    }

    /// This is the compressed frame of a latest message; empty: there is none.
    pub(crate) fn set_form(&mut self, seq: u64, encoding: usize, frame: Bytes) {
        assert!(self.by_seq.contains_key(&seq), "a form is of a latest message");
        let form = Form { frame, taken: 0 };
        self.resident += form.resident();
        assert!(self.forms.insert((seq, encoding), form).is_none(), "a form is made once");
    }

    /// Forgets compressed frames that are in no Transmit.
    pub(crate) fn drop_forms(&mut self) {
        let resident = &mut self.resident;
        self.forms.retain(|_, form| {
            let is_kept = form.taken > 0;
            *resident -= if is_kept { 0 } else { form.resident() };
            is_kept
        });
    }

    /// A slot was taken out, and with it its forms. What is taken of them is lent from now on.
    pub(super) fn release_forms(&mut self, seq: u64) {
        if self.forms.is_empty() {
            return;
        }
        let of_slot: Vec<usize> =
            self.forms.range((seq, 0)..(seq + 1, 0)).map(|((_, encoding), _)| *encoding).collect();
        for encoding in of_slot {
            let form = &self.forms[&(seq, encoding)];
            let resident = form.resident();
            self.resident -= resident;
            if form.taken > 0 {
                self.taken_bytes -= resident;
                self.lent_bytes += resident;
            } else {
                self.forms.remove(&(seq, encoding));
            }
        }
    }

    /// A compressed frame becomes outstanding.
    pub(super) fn take_form(&mut self, seq: u64, encoding: usize) -> Bytes {
        let form = self.forms.get_mut(&(seq, encoding)).expect("it is known to be compressed");
        if form.taken == 0 {
            self.taken_bytes += form.resident();
        }
        form.taken += 1;
        form.frame.clone()
    }

    /// An outstanding one is let go.
    pub(super) fn let_form_go(&mut self, taken: Taken) -> Unsettled {
        let Taken { message, encoding, frame, .. } = taken;
        let encoding = usize::from(encoding);
        drop(frame);
        let form = self.forms.get_mut(&(message.seq, encoding)).expect("what is taken is charged");
        form.taken -= 1;
        let resident = form.resident();
        if form.taken > 0 {
            return message;
        }
        if self.by_seq.contains_key(&message.seq) {
            self.taken_bytes -= resident;
        } else {
            self.lent_bytes -= resident;
            self.forms.remove(&(message.seq, encoding));
        }
        message
    }

    /// What forms count of `resident`, `taken_bytes` and `lent_bytes`, recounted.
    pub(super) fn forms_bytes(&self) -> (usize, usize, usize) {
        let (mut resident, mut taken, mut lent) = (0, 0, 0);
        for ((seq, _), form) in &self.forms {
            if self.by_seq.contains_key(seq) {
                resident += form.resident();
                taken += if form.taken > 0 { form.resident() } else { 0 };
            } else {
                assert!(form.taken > 0, "what nobody has is not lent");
                lent += form.resident();
            }
        }
        (resident, taken, lent)
    }
}

impl Slot {
    /// Its frame, as it is.
    pub(crate) fn frame(&self, encoding: usize) -> &Bytes {
        &self.frames[encoding]
    }
}
