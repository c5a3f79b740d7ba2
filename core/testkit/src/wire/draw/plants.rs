//! What is wrong in a stream, and how it comes there.

use super::super::reference::{Deflate, FRAME_COST, INFLATE_COST, WORK_CREDIT, compressed_bytes_max};
use super::{Form, Pen};
use crate::mini::frame::close_payload;

/// What can be planted. What comes of it is the reference's to say.
#[derive(Clone, Copy, Debug)]
pub(super) enum Plant {
    ReservedBits,
    ReservedOpcode,
    FragmentedControl,
    LongControl,
    WrongMask,
    LongForm,
    Overflow,
    Huge,
    Continuation,
    Interleaved,
    TooBig,
    BadText,
    CutText,
    HalfCode,
    BadCode,
    BadReason,
    Garbage,
    Corrupt,
    Bomb,
    Flood,
}

pub(super) const PLANTS: [Plant; 19] = [
    Plant::ReservedBits,
    Plant::ReservedOpcode,
    Plant::FragmentedControl,
    Plant::LongControl,
    Plant::WrongMask,
    Plant::LongForm,
    Plant::Overflow,
    Plant::Huge,
    Plant::Continuation,
    Plant::Interleaved,
    Plant::TooBig,
    Plant::BadText,
    Plant::CutText,
    Plant::HalfCode,
    Plant::BadCode,
    Plant::BadReason,
    Plant::Garbage,
    Plant::Corrupt,
    Plant::Bomb,
];

/// What is never text, and what is text no longer: each class of RFC 3629 §4, and its neighbours.
const BAD_TEXTS: [&[u8]; 16] = [
    b"\x80",
    b"\xBF",
    b"\xC0\x80",
    b"\xC1\xBF",
    b"\xC3(",
    b"\xE0\x9F\xBF",
    b"\xE2(",
    b"\xE2\x82(",
    b"\xED\xA0\x80",
    b"\xED\xBF\xBF",
    b"\xF0\x8F\xBF\xBF",
    b"\xF0\x9F(",
    b"\xF0\x9F\x98(",
    b"\xF4\x90\x80\x80",
    b"\xF5\x80\x80\x80",
    b"\xFF",
];

/// Beginnings of code points.
const CUT_TEXTS: [&[u8]; 8] =
    [b"\xC3", b"\xE2", b"\xE2\x82", b"\xED\x9F", b"\xF0", b"\xF0\x9F", b"\xF0\x9F\x98", b"\xF4\x8F"];

impl Pen<'_> {
    /// The first byte of any frame that may come now.
    fn first(&mut self) -> u8 {
        let data = if self.rest.is_some() { [0, 0x80, 0x89] } else { [1, 0x82, 0x89] };
        *self.choices.pick(&data)
    }

    pub(super) fn plant(&mut self, plant: Plant) {
        let masked = self.rules.from_client;
        match plant {
            Plant::ReservedBits => {
                let first = self.first() | self.choices.small(1, 7).to_le_bytes()[0] << 4;
                self.frame(first, b"abc");
            }
            Plant::ReservedOpcode => {
                let opcode = *self.choices.pick(&[3, 4, 5, 6, 7, 11, 12, 13, 14, 15]);
                self.frame(0x80 | opcode, b"abc");
            }
            Plant::FragmentedControl => {
                let opcode = *self.choices.pick(&[8, 9, 10]);
                self.frame(opcode, b"");
            }
            Plant::LongControl => {
                let first = *self.choices.pick(&[0x88, 0x89, 0x8A]);
                let len = *self.choices.pick(&[126, 300, 70_000]);
                let payload = self.filler(len);
                self.frame(first, &payload);
            }
            Plant::WrongMask => {
                let first = self.first();
                self.head(first, Form::Shortest, 3, !masked, b"abc");
            }
            Plant::LongForm => {
                let first = self.first();
                let (form, len) =
                    *self.choices.pick(&[(Form::Two, 0), (Form::Two, 125), (Form::Eight, 126), (Form::Eight, 65_535)]);
                let payload = self.text(len);
                self.head(first, form, payload.len() as u64, masked, &payload);
            }
            Plant::Overflow | Plant::Huge => {
                let first = if self.rest.is_some() { 0 } else { *self.choices.pick(&[1, 2, 0x81]) };
                let bits = self.choices.bits();
                let len =
                    if matches!(plant, Plant::Overflow) { bits | 1 << 63 } else { bits >> self.choices.size(1, 40) };
                self.head(first, Form::Eight, len.max(1 << 16), masked, b"abc");
            }
            Plant::Continuation => self.frame(0x80, b"abc"),
            Plant::Interleaved => {
                if self.rest.is_none() {
                    self.frame(1, b"abc");
                }
                let first = *self.choices.pick(&[1, 2, 0x81, 0x82]);
                self.frame(first, b"abc");
            }
            Plant::TooBig => self.too_big(),
            Plant::BadText | Plant::CutText => self.bad_text(matches!(plant, Plant::CutText)),
            Plant::HalfCode | Plant::BadCode | Plant::BadReason => self.bad_close(plant),
            Plant::Garbage => {
                let len = self.choices.size(1, 40);
                let bytes = self.choices.bytes(len);
                self.stream.extend(bytes);
            }
            Plant::Corrupt => self.corrupt(),
            Plant::Bomb => self.bomb(),
            Plant::Flood => self.flood(),
        }
    }

    /// One byte more than is taken, in one frame or in two.
    fn too_big(&mut self) {
        self.end_message();
        let limit = u64::try_from(self.rules.message_bytes_max).expect("64 bits");
        let Some(len) = limit.checked_add(1) else { return };
        let masked = self.rules.from_client;
        let first = if self.choices.one_in(2) { 0x82 } else { 0x81 };
        if self.rules.deflate != Deflate::Declined && self.choices.one_in(4) {
            let most = compressed_bytes_max(self.rules.message_bytes_max);
            let Ok(len) = u64::try_from(most + u128::from(self.choices.small(0, 1))) else { return };
            return self.head(first | 0x40, Form::Shortest, len.min(u64::MAX >> 1), masked, b"\x02");
        }
        if self.choices.one_in(2) && limit <= 100_000 {
            let before = self.text(usize::try_from(limit).expect("small") / 2);
            self.frame(first & 0x7F, &before);
            return self.head(0x80, Form::Shortest, len - before.len() as u64, masked, b"abc");
        }
        self.head(first, Form::Shortest, len, masked, b"abc");
    }

    fn bad_text(&mut self, is_cut: bool) {
        self.end_message();
        let bad = if is_cut { *self.choices.pick(&CUT_TEXTS) } else { *self.choices.pick(&BAD_TEXTS) };
        let len = self.choices.index(40);
        let mut payload = self.text(len);
        payload.extend(bad);
        if !is_cut {
            payload.extend(b"more");
        }
        self.begin(true, payload);
        while self.rest.is_some() {
            if self.choices.one_in(4) {
                self.good_control();
            }
            let more = self.choices.one_in(2);
            self.go_on(!more);
        }
    }

    fn bad_close(&mut self, plant: Plant) {
        let payload = match plant {
            Plant::HalfCode => vec![3],
            Plant::BadCode => {
                let some = self.choices.small(0, 0xFFFF);
                let codes = [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535, some];
                let code = u16::try_from(*self.choices.pick(&codes)).expect("16 bits");
                close_payload(code, "bye")
            }
            _ => {
                let mut payload = close_payload(1000, "é");
                let bad = if self.choices.one_in(2) {
                    *self.choices.pick(&BAD_TEXTS)
                } else {
                    *self.choices.pick(&CUT_TEXTS)
                };
                payload.extend(bad);
                payload
            }
        };
        self.frame(0x88, &payload);
    }

    /// A compressed message that is not one, or not a whole one.
    fn corrupt(&mut self) {
        if self.rules.deflate == Deflate::Declined {
            return;
        }
        self.end_message();
        let len = self.choices.size(1, 300);
        let text = self.text(len);
        let mut payload = self.compress(&text);
        match self.choices.below(4) {
            0 => payload.truncate(self.choices.index(payload.len())),
            1 => payload = self.choices.bytes(len),
            _ => {
                let place = self.choices.index(payload.len());
                payload[place] ^= 1 << self.choices.below(8);
            }
        }
        self.begin_with(0x42, payload);
        self.finish();
    }

    /// A short message that is a long one when it is inflated: as long as may be, or more.
    fn bomb(&mut self) {
        if self.rules.deflate == Deflate::Declined || self.rules.message_bytes_max > 70_000 {
            return;
        }
        self.end_message();
        let limit = usize::try_from(self.rules.message_bytes_max).expect("small");
        let len = limit + *self.choices.pick(&[0, 1, 1, 2_000]);
        let payload = self.compress(&vec![b'b'; len]);
        self.begin_with(0x41, payload);
        self.finish();
    }

    /// Frames that cost more than they bring, to where the credit ends, or nearly: those behind them may be too many.
    fn flood(&mut self) {
        self.end_message();
        let (cost, credit) =
            (usize::try_from(FRAME_COST).expect("small"), usize::try_from(WORK_CREDIT).expect("small"));
        if self.rules.deflate != Deflate::Declined && self.choices.one_in(4) {
            // Empty messages, which bring the one byte that they are long.
            let cost = usize::try_from(INFLATE_COST).expect("small") - 1;
            for _ in 0..credit / cost - self.choices.index(3) {
                self.frame(0xC2, &[0]);
            }
        } else {
            let (frames, brings): (&[u8], usize) = *self.choices.pick(&[
                (&[0][..], 0),
                (&[0], 1),
                (&[0], 2),
                (&[0x89], 0),
                (&[0x8A], 0),
                (&[0, 0x89, 0x8A], 0),
            ]);
            let payload = vec![b'x'; brings];
            self.frame(1, b"");
            self.rest = Some(Vec::new());
            for number in 0..credit / (cost - brings) - self.choices.index(3) {
                self.frame(frames[number % frames.len()], &payload);
            }
        }
        if self.rest.is_some() {
            let len = *self.choices.pick(&[0, 1, 31, 32, 33]);
            self.rest = Some(self.text(len));
            self.go_on(true);
        }
        let payload = self.text(20);
        self.begin(true, payload);
        self.good_control();
        self.good_control();
    }

    /// Continues the message in progress to its end, which comes at once when fuzz input is used up.
    fn finish(&mut self) {
        while self.rest.is_some() {
            let more = self.choices.one_in(2);
            self.go_on(!more);
        }
    }

    fn end_message(&mut self) {
        if self.rest.is_some() {
            self.go_on(true);
        }
    }
}
