//! The fuzz bodies on random input: what a fuzzer starts from. `FOREBAY_FUZZ` makes it more.

use forebay_testkit::fuzz;
use forebay_testkit::mini::{Client, frame};
use forebay_testkit::rng::Choices;

fn rounds() -> u64 {
    std::env::var("FOREBAY_FUZZ").ok().and_then(|text| text.parse().ok()).unwrap_or(300)
}

/// Frames, mostly good, with something wrong now and then.
fn frames(choices: &mut Choices) -> Vec<u8> {
    let mut bytes = choices.bytes(4);
    bytes[0] = 3;
    for _ in 0..choices.index(12) {
        let payload: Vec<u8> = match choices.below(6) {
            0 => br#"{"op":"subscribe","topic":"t","id":1}"#.to_vec(),
            1 => br#"{"op":"publish","topic":"t","data":[1, 2],"id":2}"#.to_vec(),
            2 => br#"{"op":"ping"}"#.to_vec(),
            3 => frame::close_payload(1000, "bye"),
            _ => {
                let size = choices.index(200);
                choices.bytes(size)
            }
        };
        let opcode = *choices.pick(&[1, 1, 1, 2, 0, 9, 10, 8]);
        let mask = [1, 2, 3, 4].map(|_| choices.small(0, 255).to_le_bytes()[0]);
        let mut frame = frame::encode(!choices.one_in(4), opcode, &payload, Some(mask));
        if choices.one_in(6) {
            let place = choices.index(frame.len());
            frame[place] ^= 1 << choices.below(8);
        }
        bytes.extend(frame);
    }
    bytes
}

#[test]
fn frames_in_any_pieces() {
    for seed in 0..rounds() {
        let mut choices = Choices::from_seed(seed);
        let bytes = frames(&mut choices);
        let result = std::panic::catch_unwind(|| fuzz::frame(&bytes));
        assert!(result.is_ok(), "seed {seed}: {bytes:?}");
    }
    fuzz::frame(&[]);
}

#[test]
fn handshakes_in_any_pieces() {
    for seed in 0..rounds() {
        let mut choices = Choices::from_seed(seed);
        let mut bytes = choices.bytes(4);
        bytes[0] = 3;
        if choices.one_in(2) {
            bytes.push(choices.bytes(1)[0] | 1);
            let extra: [&[u8]; 9] = [
                b"\r\nX: y\r\n",
                b"\r\n\r\n",
                b"\x00",
                b":",
                b"\r\nHost: z",
                b" ",
                b"\r\nOrigin: http://world.example:8080",
                b"\r\nOrigin: null",
                b"?token=1",
            ];
            bytes.extend(*choices.pick(&extra));
        } else {
            bytes.push(0);
            let mut request: Vec<u8> = Client::new(seed, &["forebay.v1"], true).out().drain(..).collect();
            for _ in 0..choices.index(3) {
                let place = choices.index(request.len());
                request[place] = choices.bytes(1)[0];
            }
            bytes.extend(request);
            // Frames right behind the request.
            bytes.extend(&frames(&mut choices)[4..]);
        }
        let result = std::panic::catch_unwind(|| fuzz::handshake(&bytes));
        assert!(result.is_ok(), "seed {seed}: {:?}", String::from_utf8_lossy(&bytes));
    }
    fuzz::handshake(&[]);
}

#[test]
fn compressed_messages_from_bytes() {
    for seed in 0..rounds() {
        let mut choices = Choices::from_seed(seed);
        let len = choices.index(300);
        let bytes = choices.bytes(4 + len);
        let result = std::panic::catch_unwind(|| fuzz::inflate(&bytes));
        assert!(result.is_ok(), "seed {seed}: {bytes:?}");
    }
    fuzz::inflate(&[]);
}

#[test]
fn streams_from_bytes() {
    for seed in 0..rounds() {
        let mut choices = Choices::from_seed(seed);
        let mut bytes = choices.bytes(300);
        bytes[0] = 3;
        let result = std::panic::catch_unwind(|| fuzz::wire_differential(&bytes));
        assert!(result.is_ok(), "seed {seed}: {bytes:?}");
    }
    fuzz::wire_differential(&[]);
}

#[test]
fn worlds_from_bytes() {
    for seed in 0..rounds() / 10 {
        let bytes = Choices::from_seed(seed).bytes(2_000);
        fuzz::hub(&bytes);
    }
    fuzz::hub(&[]);
}
