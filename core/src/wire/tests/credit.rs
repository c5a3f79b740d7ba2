//! The work credit: what it allows, what gives it back, and a plain model of it.

use super::*;

/// What one frame does to the credit, as the docs of [`WORK_CREDIT`] say it.
fn pay(credit: u64, opcode: Opcode, len: usize) -> Option<u64> {
    let (cost, useful) = match opcode {
        Opcode::Close => (0, 0),
        Opcode::Ping | Opcode::Pong => (32, 0),
        Opcode::Continuation => (32, len as u64),
        Opcode::Text | Opcode::Binary => (0, len as u64),
    };
    Some((credit + useful).checked_sub(cost)?.min(524_288))
}

fn frame(decoder: &mut Decoder, fin: bool, opcode: Opcode, payload: &[u8]) -> Result<(), WireError> {
    let mask = matches!(decoder.role, Role::Server).then_some(KEY);
    let mut wire = Vec::new();
    put_fragment(&mut wire, fin, opcode, mask, payload);
    let mut at = 0;
    while at < wire.len() {
        at += decoder.decode(&mut wire[at..])?.consumed;
    }
    Ok(())
}

/// How many frames of one kind are taken behind the begin of a message, and the verdict.
fn flood(role: Role, opcode: Opcode, payload: &[u8], frames: usize) -> (usize, Option<WireError>) {
    let mut decoder = Decoder::new(role, u64::MAX);
    frame(&mut decoder, false, Opcode::Binary, payload).unwrap();
    for taken in 0..frames {
        if let Err(error) = frame(&mut decoder, opcode != Opcode::Continuation, opcode, payload) {
            return (taken, Some(error));
        }
    }
    (frames, None)
}

#[test]
fn the_numbers_of_the_docs() {
    let spent = Some(WireError::Flood);
    assert_eq!(WireError::Flood.close_code(), CloseCode::POLICY);
    assert_eq!((WORK_CREDIT, FRAME_COST, CREDIT_NANOS), (524_288, 32, 262_144));
    for role in [Role::Server, Role::Client] {
        assert_eq!(flood(role, Opcode::Continuation, b"", 400_000), (16_384, spent));
        assert_eq!(flood(role, Opcode::Continuation, b"x", 400_000), (16_912, spent));
        assert_eq!(flood(role, Opcode::Ping, b"", 200_000), (16_384, spent));
        assert_eq!(flood(role, Opcode::Ping, &[0; 125], 200_000), (16_384, spent));
        assert_eq!(flood(role, Opcode::Pong, b"", 300_000), (16_384, spent));
    }
    assert_eq!(flood(Role::Client, Opcode::Continuation, &[0; 31], 600_000), (524_288, spent));
    assert_eq!(flood(Role::Client, Opcode::Continuation, &[0; 32], 600_000), (600_000, None));
    // 4 MiB in fragments of 64 bytes.
    assert_eq!(flood(Role::Server, Opcode::Continuation, &[0; 64], 65_535), (65_535, None));
}

#[test]
fn it_belongs_to_the_connection_and_comes_back_with_bytes_of_whatever_message() {
    let mut decoder = Decoder::new(Role::Client, u64::MAX);
    let large = vec![0; 1 << 20];
    let spend = |decoder: &mut Decoder| {
        for _ in 0..16_384 {
            frame(decoder, true, Opcode::Pong, b"").unwrap();
        }
        assert_eq!((decoder.credit(), decoder.spent()), (0, WORK_CREDIT));
    };
    for (fin, opcode) in [(false, Opcode::Text), (false, Opcode::Continuation), (true, Opcode::Continuation)] {
        spend(&mut decoder);
        frame(&mut decoder, fin, opcode, &large).unwrap();
        assert_eq!(decoder.credit(), WORK_CREDIT, "never above where it started");
    }
    spend(&mut decoder);
    for whole in 1..=40 {
        frame(&mut decoder, true, Opcode::Binary, b"x").unwrap();
        assert_eq!(decoder.credit(), whole);
    }
    // A new message starts with what is left.
    frame(&mut decoder, false, Opcode::Binary, b"").unwrap();
    frame(&mut decoder, true, Opcode::Continuation, b"").unwrap();
    frame(&mut decoder, false, Opcode::Binary, b"").unwrap();
    assert_eq!(frame(&mut decoder, true, Opcode::Continuation, &[0; 23]), Err(WireError::Flood));
}

#[test]
fn whole_messages_cost_nothing_however_small_and_many() {
    let mut decoder = Decoder::new(Role::Client, MAX);
    for _ in 0..200_000 {
        assert!(decoder.decode(&mut [0x81, 0x00]).is_ok());
        assert!(decoder.decode(&mut [0x82, 0x01, b'x']).is_ok());
    }
    assert_eq!(decoder.credit(), WORK_CREDIT);
}

#[test]
fn a_close_is_always_heard() {
    let mut decoder = Decoder::new(Role::Client, MAX);
    decoder.set_spent(u32::MAX);
    assert_eq!(decoder.credit(), 0);
    assert_eq!(decoder.decode(&mut [0x88, 0]).unwrap().item, Some(Item::Close(None)));
}

#[test]
fn time_gives_it_back() {
    let mut decoder = Decoder::new(Role::Client, MAX);
    decoder.set_spent(WORK_CREDIT);
    decoder.refill(FRAME_COST - 1);
    assert_eq!(decoder.decode(&mut [0x89, 0]), Err(WireError::Flood));
    let mut decoder = Decoder::new(Role::Client, MAX);
    decoder.set_spent(WORK_CREDIT);
    decoder.refill(FRAME_COST);
    assert!(decoder.decode(&mut [0x89, 0]).is_ok());
    decoder.refill(u32::MAX);
    assert_eq!(decoder.credit(), WORK_CREDIT);
}

/// Of a frame that cannot be paid for, how many bytes come before the verdict.
fn told_at(wire: &[u8], message: Option<&[u8]>, credit: u32) -> Option<usize> {
    let mut decoder = Decoder::new(Role::Server, MAX);
    if let Some(begin) = message {
        decoder.decode(&mut begin.to_vec()).unwrap();
    }
    decoder.set_spent(WORK_CREDIT - credit);
    (0..=wire.len()).find(|len| decoder.clone().decode(&mut wire[..*len].to_vec()) == Err(WireError::Flood))
}

#[test]
fn it_is_told_before_masking_key_and_payload_and_costs_nothing_until_then() {
    let begun = b"\x02\x80\0\0\0\0".as_slice();
    // A ping, with a key and a payload that never come.
    assert_eq!(told_at(b"\x89\x85", None, 31), Some(2));
    assert_eq!(told_at(b"\x8a\x80\0\0\0\0", Some(begun), 31), Some(2));
    assert_eq!(told_at(b"\x89\x80\0\0\0\0", Some(begun), 32), None);
    // A fragment of 3 bytes is short of 29, one of 126 of nothing.
    assert_eq!(told_at(b"\x00\x83", Some(begun), 28), Some(2));
    assert_eq!(told_at(b"\x00\x83\0\0\0\0abc", Some(begun), 29), None);
    assert_eq!(told_at(b"\x80\xfe\x00\x7e\0\0\0\0abc", Some(begun), 0), None);
    // What the header violates beside it comes first.
    assert_eq!(told_at(b"\x89\x05", None, 0), None, "not masked");
    assert_eq!(told_at(b"\x00\x83", None, 0), None, "no message");
    assert_eq!(told_at(b"\x00\xff\0\0\0\x01\0\0\0\0", Some(begun), 0), None, "too big");

    // Presented again and again, it is charged once, when it is complete.
    let mut decoder = Decoder::new(Role::Server, MAX);
    let ping = b"\x89\x82\0\0\0\0ok";
    for len in (0..ping.len()).chain(0..ping.len()) {
        assert!(decoder.decode(&mut ping[..len].to_vec()).unwrap().item.is_none());
        assert_eq!(decoder.credit(), WORK_CREDIT);
    }
    assert!(decoder.decode(&mut ping.to_vec()).unwrap().item.is_some());
    assert_eq!(decoder.credit(), WORK_CREDIT - FRAME_COST);
}

#[test]
fn is_as_the_model_says() {
    let mut random = Random(0x5eed);
    for round in 0..60 {
        let role = if round % 2 == 0 { Role::Server } else { Role::Client };
        let mut decoder = Decoder::new(role, u64::MAX);
        // Near its end, so that some are refused.
        let mut credit = random.below(2_000) as u64;
        decoder.set_spent(WORK_CREDIT - u32::try_from(credit).unwrap());
        let mut open = false;
        for _ in 0..2_000 {
            let opcode = match random.below(8) {
                0 => Opcode::Ping,
                1 => Opcode::Pong,
                _ if open => Opcode::Continuation,
                n if n < 5 => Opcode::Text,
                _ => Opcode::Binary,
            };
            let len = if random.below(40) == 0 { 126 + random.below(600) } else { random.below(33) };
            let len = if opcode.is_control() { len.min(125) } else { len };
            let fin = opcode.is_control() || random.below(3) == 0;
            let result = frame(&mut decoder, fin, opcode, &vec![b'a'; len]);
            let Some(left) = pay(credit, opcode, len) else {
                assert_eq!(result, Err(WireError::Flood));
                break;
            };
            assert_eq!(result, Ok(()));
            credit = left;
            if random.below(30) == 0 {
                let back = random.below(200);
                decoder.refill(u32::try_from(back).unwrap());
                credit = (credit + back as u64).min(524_288);
            }
            assert_eq!(u64::from(decoder.credit()), credit);
            open = if opcode.is_control() { open } else { !fin };
        }
    }
}

#[test]
fn a_compressed_message_costs_what_it_is_to_begin_it_and_its_bytes_give_back() {
    let mut decoder = Decoder::new(Role::Client, MAX).with_deflate();
    let take = |decoder: &mut Decoder, wire: &[u8]| decoder.decode(&mut wire.to_vec()).map(|decoded| decoded.consumed);
    assert_eq!(take(&mut decoder, b"\xc1\x01\x00"), Ok(3));
    assert_eq!(decoder.credit(), WORK_CREDIT - 15);
    // Its other fragments cost what any do.
    assert_eq!(take(&mut decoder, b"\x41\x01\x00"), Ok(3));
    assert_eq!(take(&mut decoder, b"\x80\x00"), Ok(2));
    assert_eq!(decoder.credit(), WORK_CREDIT - 15 - 15 - 32);
    decoder.refill(100);
    decoder.set_spent(WORK_CREDIT - 14);
    assert_eq!(take(&mut decoder, b"\xc1\x02"), Ok(2));
    assert_eq!(take(&mut decoder, b"\x00\x00"), Ok(2));
    assert_eq!(decoder.credit(), 0);
    assert_eq!(take(&mut decoder, b"\xc1\x0f"), Err(WireError::Flood));
}
