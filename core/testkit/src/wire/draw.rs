//! Streams of frames as a peer might write them: mostly good, with faults of every kind planted.

mod plants;

use bytes::BytesMut;
use forebay_core::wire::deflate::{Deflater, WindowBits};

use super::reference::{Deflate, Rules};
use crate::mini::frame::close_payload;
use crate::rng::Choices;
use plants::{PLANTS, Plant};

/// A stream and what to read it by.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// What to read it by.
    pub rules: Rules,
    /// The stream.
    pub stream: Vec<u8>,
}

/// How the length of a frame is written.
#[derive(Clone, Copy)]
enum Form {
    Shortest,
    Two,
    Eight,
}

struct Pen<'a> {
    choices: &'a mut Choices,
    rules: Rules,
    stream: Vec<u8>,
    /// The message in progress: what is left of it.
    rest: Option<Vec<u8>>,
    /// What compressed messages are written with. That it is the core's own does no harm: it is not what is tried here.
    deflater: Deflater,
}

/// A stream.
pub fn stream(choices: &mut Choices) -> Drawn {
    let limits = [1_000, 1_000, 65_536, 65_535, 100_000, 200, 127, 126, 125, 7, 1, 0, 1 << 40, u128::from(u64::MAX)];
    let rules = Rules {
        from_client: !choices.one_in(3),
        message_bytes_max: *choices.pick(&limits),
        deflate: *choices.pick(&[Deflate::Declined, Deflate::Alone, Deflate::TakesOver]),
    };
    let deflater = Deflater::new(WindowBits::MAX, *choices.pick(&[1, 6, 9]), 8);
    let mut pen = Pen { choices, rules, stream: Vec::new(), rest: None, deflater };
    for _ in 0..pen.choices.size(1, 24) {
        match pen.choices.below(64) {
            0..=59 => pen.good_frame(),
            60 => pen.good_close(),
            61 if pen.choices.one_in(6) => pen.plant(Plant::Flood),
            _ => {
                let plant = *pen.choices.pick(&PLANTS);
                pen.plant(plant);
            }
        }
    }
    let mut stream = pen.stream;
    if choices.one_in(16) && !stream.is_empty() {
        let place = choices.index(stream.len());
        stream[place] ^= 1 << choices.below(8);
    }
    if choices.one_in(8) {
        let len = choices.index(stream.len() + 1);
        stream.truncate(len);
    }
    Drawn { rules, stream }
}

/// How a stream is cut: the sizes of its pieces, for ever again. Never empty, and no piece is.
pub fn pieces(choices: &mut Choices) -> Vec<usize> {
    match choices.below(6) {
        0 => vec![usize::MAX],
        1 => vec![1],
        2 => vec![choices.size(1, 9)],
        3 => (0..choices.size(1, 9)).map(|_| choices.size(1, 4)).collect(),
        4 => (0..choices.size(1, 9)).map(|_| choices.size(1, 300)).collect(),
        _ => (0..choices.size(1, 9)).map(|_| if choices.one_in(2) { 1 } else { choices.size(1, 5_000) }).collect(),
    }
}

impl Pen<'_> {
    fn good_frame(&mut self) {
        if self.choices.one_in(4) {
            return self.good_control();
        }
        if self.rest.is_none() {
            let is_text = self.choices.one_in(2);
            let payload = self.payload(is_text);
            return self.begin(is_text, payload);
        }
        let last = self.choices.one_in(2);
        self.go_on(last);
    }

    fn good_control(&mut self) {
        let opcode = *self.choices.pick(&[9, 10]);
        let len = *self.choices.pick(&[0, 1, 4, 7, 124, 125]);
        let payload = self.filler(len);
        self.frame(0x80 | opcode, &payload);
    }

    fn good_close(&mut self) {
        let codes = [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1014, 3000, 3999, 4000, 4999];
        let code = *self.choices.pick(&codes);
        let reason = *self.choices.pick(&["", "bye", "é€😀"]);
        let reason = if self.choices.one_in(8) { "é".repeat(61) + "x" } else { reason.to_owned() };
        let payload = if self.choices.one_in(4) { Vec::new() } else { close_payload(code, &reason) };
        self.frame(0x88, &payload);
    }

    /// The payload of a message that may be sent, as far as lengths go.
    fn payload(&mut self, is_text: bool) -> Vec<u8> {
        let limit = usize::try_from(self.rules.message_bytes_max.min(70_000)).expect("at most 70000");
        // Used up fuzz input gives zeros, and so short messages.
        let len = match self.choices.below(128) {
            127 => limit,
            126 => self.choices.size(65_530, 65_540),
            118..=125 => limit.min(1_000),
            108..=117 => self.choices.size(120, 130),
            98..=107 => 0,
            88..=97 => self.choices.size(0, 700),
            _ => self.choices.size(1, 24),
        };
        if is_text { self.text(len.min(limit)) } else { self.filler(len.min(limit)) }
    }

    /// So many bytes of text.
    fn text(&mut self, len: usize) -> Vec<u8> {
        let chars = ['x', 'é', '€', '😀', '\u{7FF}', '\u{800}', '\u{D7FF}', '\u{E000}', '\u{FFFF}', '\u{10FFFF}', '\0'];
        let mut text = String::new();
        let turn = self.choices.index(chars.len());
        for char in chars.iter().cycle().skip(turn).step_by(self.choices.size(1, 5)) {
            if text.len() + char.len_utf8() > len {
                break;
            }
            text.push(*char);
        }
        while text.len() < len {
            text.push('.');
        }
        text.into_bytes()
    }

    fn filler(&mut self, len: usize) -> Vec<u8> {
        let first = self.choices.index(256);
        (first..first + len).map(|number| number.to_le_bytes()[0]).collect()
    }

    /// Starts a message, in one frame or not.
    fn begin(&mut self, is_text: bool, payload: Vec<u8>) {
        let opcode = if is_text { 1 } else { 2 };
        if self.rules.deflate != Deflate::Declined && self.choices.one_in(2) && payload.len() <= 2_000 {
            let payload = self.compress(&payload);
            return self.begin_with(0x40 | opcode, payload);
        }
        self.begin_with(opcode, payload);
    }

    fn begin_with(&mut self, opcode: u8, mut payload: Vec<u8>) {
        if self.choices.one_in(2) {
            return self.frame(0x80 | opcode, &payload);
        }
        let at = self.cut(payload.len());
        let rest = payload.split_off(at);
        self.frame(opcode, &payload);
        self.rest = Some(rest);
    }

    /// A message as it goes into frames with RSV1.
    fn compress(&mut self, payload: &[u8]) -> Vec<u8> {
        if payload.len() < 100 && self.choices.one_in(8) {
            return self.by_hand(payload);
        }
        if self.rules.deflate == Deflate::Alone || self.choices.one_in(8) {
            self.deflater.reset();
        }
        let mut out = BytesMut::new();
        self.deflater.compress([payload], &mut out);
        out.to_vec()
    }

    /// The same in stored blocks, some of which may say that they are the last (RFC 7692 §7.2.3).
    fn by_hand(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in payload.chunks(self.choices.size(1, 40)) {
            let len = u16::try_from(piece.len()).expect("small");
            out.push(u8::from(self.rules.deflate == Deflate::Alone && self.choices.one_in(3)));
            out.extend(len.to_le_bytes());
            out.extend((!len).to_le_bytes());
            out.extend(piece);
        }
        // The compressor does not know of this message: what comes next refers to none before it.
        self.deflater.reset();
        out.push(0);
        out
    }

    /// Continues the message in progress.
    fn go_on(&mut self, last: bool) {
        let mut piece = self.rest.take().expect("a message in progress");
        if !last {
            let at = self.cut(piece.len());
            self.rest = Some(piece.split_off(at));
        }
        self.frame(u8::from(last) << 7, &piece);
    }

    fn cut(&mut self, len: usize) -> usize {
        match self.choices.below(4) {
            0 => 0,
            1 => self.choices.index(len + 1),
            _ => self.choices.index(len.min(8) + 1),
        }
    }

    /// A frame with its length in the shortest form.
    fn frame(&mut self, first: u8, payload: &[u8]) {
        let masked = self.rules.from_client;
        self.head(first, Form::Shortest, payload.len() as u64, masked, payload);
    }

    fn head(&mut self, first: u8, form: Form, len: u64, masked: bool, payload: &[u8]) {
        let mask = u8::from(masked) << 7;
        self.stream.push(first);
        match (form, u8::try_from(len), u16::try_from(len)) {
            (Form::Shortest, Ok(len @ 0..=125), _) => self.stream.push(mask | len),
            (Form::Shortest | Form::Two, _, Ok(len)) => {
                self.stream.push(mask | 126);
                self.stream.extend(len.to_be_bytes());
            }
            _ => {
                self.stream.push(mask | 127);
                self.stream.extend(len.to_be_bytes());
            }
        }
        let mut key = [0; 4];
        if masked {
            if !self.choices.one_in(8) {
                key = self.choices.bits().to_le_bytes()[..4].try_into().expect("four of eight");
            }
            self.stream.extend(key);
        }
        self.stream.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    }
}
