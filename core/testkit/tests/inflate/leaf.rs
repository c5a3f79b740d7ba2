//! Compressor and inflater beside the testkit's, of which one is written from the RFC and the other by somebody else.

use bytes::BytesMut;
use forebay_core::wire::deflate::{Context, Deflater, InflateError, Inflater, WindowBits};
use forebay_testkit::alloc::measure;
use forebay_testkit::mini::inflate::{Compressor, Inflater as Reference, Way};
use forebay_testkit::rng::Choices;

const MESSAGE_BYTES_MAX: usize = 200_000;

/// Text in which much repeats, noise, or long runs; of any length, often small.
fn payload(choices: &mut Choices) -> Vec<u8> {
    let len = match choices.below(8) {
        0 => choices.index(3),
        1..=4 => choices.index(300),
        5 | 6 => choices.index(5_000),
        _ => choices.index(80_000),
    };
    let alphabet = choices.between(1, 255);
    let mut bytes: Vec<u8> = Vec::with_capacity(len);
    while bytes.len() < len {
        if choices.one_in(3) && !bytes.is_empty() {
            let from = choices.index(bytes.len());
            let many = choices.between(1, 400);
            for _ in 0..many {
                bytes.push(bytes[from + bytes.len() % (bytes.len() - from)]);
            }
        } else {
            for _ in 0..choices.between(1, 60) {
                bytes.push(u8::try_from(choices.below(alphabet)).expect("below 256"));
            }
        }
    }
    bytes.truncate(len);
    bytes
}

/// Inflates in pieces.
fn inflate(
    inflater: &mut Inflater,
    context: Option<&Context>,
    compressed: &[u8],
    choices: &mut Choices,
    bytes_max: usize,
) -> Result<Vec<u8>, InflateError> {
    let mut out = BytesMut::new();
    inflater.start(context);
    let mut rest = compressed;
    loop {
        let size = if choices.one_in(4) { rest.len() } else { choices.index(rest.len() + 1) };
        let (piece, behind) = rest.split_at(size);
        rest = behind;
        let left = bytes_max - out.len();
        let result = inflater.inflate(piece, rest.is_empty(), &mut out, left);
        assert!(out.len() <= bytes_max, "never more than the limit");
        result?;
        if rest.is_empty() {
            return Ok(out.to_vec());
        }
    }
}

fn seeds(default: u64) -> std::ops::Range<u64> {
    let seeds = std::env::var("FOREBAY_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    0..seeds.unwrap_or(default)
}

#[test]
fn what_is_compressed_is_read_by_others_within_the_window() {
    for seed in seeds(40) {
        let mut choices = Choices::from_seed(seed);
        let bits = WindowBits::new(u8::try_from(choices.between(9, 15)).unwrap()).unwrap();
        let (level, memory_level) = (choices.between(1, 9), choices.between(1, 9));
        let [level, memory_level] = [level, memory_level].map(|level| u8::try_from(level).unwrap());
        let takes_over = choices.one_in(2);
        let mut deflater = Deflater::new(bits, level, memory_level);
        let mut reference = Reference::new(Way { window_bits: bits.get(), takes_over });
        let (mut inflater, mut context) = (Inflater::new(), Context::new(bits));
        for _ in 0..6 {
            let message = payload(&mut choices);
            let cut = choices.index(message.len() + 1);
            let mut compressed = BytesMut::new();
            if !takes_over {
                deflater.reset();
            }
            deflater.compress([&message[..cut], &message[cut..]], &mut compressed);
            assert_eq!(reference.inflate(&compressed).as_deref(), Ok(&message[..]), "seed {seed}: {bits:?} {level}");
            let context_there = takes_over.then_some(&context);
            let back = inflate(&mut inflater, context_there, &compressed, &mut choices, message.len());
            assert_eq!(back.as_deref(), Ok(&message[..]), "seed {seed}");
            if let Some(less) = message.len().checked_sub(1) {
                let context_there = takes_over.then_some(&context);
                let refused = inflate(&mut inflater, context_there, &compressed, &mut choices, less);
                assert_eq!(refused, Err(InflateError::TooBig), "seed {seed}");
            }
            context.push(&message);
        }
    }
}

#[test]
fn what_others_compress_is_read_however_it_comes() {
    for seed in seeds(40) {
        let mut choices = Choices::from_seed(seed);
        let takes_over = choices.one_in(2);
        let way = Way { window_bits: 15, takes_over };
        let mut compressor = Compressor::new(way);
        let (mut inflater, mut context) = (Inflater::new(), Context::new(WindowBits::MAX));
        for _ in 0..6 {
            let message = payload(&mut choices);
            let compressed = compressor.compress(&message).unwrap();
            let context_there = takes_over.then_some(&context);
            let read = inflate(&mut inflater, context_there, &compressed, &mut choices, MESSAGE_BYTES_MAX);
            assert_eq!(read.as_deref(), Ok(&message[..]), "seed {seed}");
            context.push(&message);
        }
    }
}

/// Whatever comes, both say the same of it; nothing panics, and nothing is longer than the limit.
#[test]
fn what_is_damaged_is_judged_as_the_reference_does() {
    let mut verdicts = [0_u32; 3];
    for seed in seeds(60) {
        let mut choices = Choices::from_seed(seed);
        let mut message = payload(&mut choices);
        message.truncate(2_000);
        let mut compressed = BytesMut::new();
        if choices.one_in(2) {
            Deflater::new(WindowBits::MAX, 9, 8).compress([&message[..]], &mut compressed);
        } else {
            let way = Way { window_bits: 15, takes_over: false };
            compressed.extend_from_slice(&Compressor::new(way).compress(&message).unwrap());
        }
        let mut inflater = Inflater::new();
        let mut judge = |bytes: &[u8], choices: &mut Choices| {
            let theirs = Reference::new(Way { window_bits: 15, takes_over: false }).inflate(bytes);
            let ours = inflate(&mut inflater, None, bytes, choices, MESSAGE_BYTES_MAX);
            match (&theirs, &ours) {
                (Ok(theirs), Ok(ours)) => assert_eq!(theirs, ours, "seed {seed}"),
                (Ok(theirs), Err(InflateError::TooBig)) => assert!(theirs.len() > MESSAGE_BYTES_MAX, "seed {seed}"),
                (Err(_), Err(_)) => {}
                _ => panic!("seed {seed}: {bytes:02x?}: {theirs:?}, but {ours:?}"),
            }
            verdicts[ours.map_or_else(|error| 1 + usize::from(error == InflateError::TooBig), |_| 0)] += 1;
        };
        for end in 0..compressed.len().min(120) {
            judge(&compressed[..end], &mut choices);
        }
        for _ in 0..120 {
            let mut damaged = compressed.to_vec();
            for _ in 0..choices.between(1, 3) {
                let place = choices.index(damaged.len());
                damaged[place] ^= 1 << choices.below(8);
            }
            judge(&damaged, &mut choices);
        }
        let noise: Vec<u8> = (0..choices.index(40)).map(|_| u8::try_from(choices.below(256)).unwrap()).collect();
        judge(&noise, &mut choices);
    }
    assert!(verdicts[0] > 100 && verdicts[1] > 1_000, "{verdicts:?}");
}

#[test]
fn what_they_allocate_is_what_they_say() {
    for bits in 9..=15 {
        let bits = WindowBits::new(bits).unwrap();
        for memory_level in 1..=9 {
            let (deflater, counted) = measure(|| Deflater::new(bits, 6, memory_level));
            let says = i64::try_from(deflater.resident_bytes()).unwrap();
            assert_eq!(deflater.resident_bytes(), bits.compressor_bytes(memory_level));
            let is_so = (counted.live_bytes..counted.live_bytes * 51 / 50).contains(&says);
            assert!(is_so, "{} bytes, not {says} for {bits:?} and {memory_level}", counted.live_bytes);
        }
    }
    let (_inflater, counted) = measure(Inflater::new);
    let says = i64::try_from(Inflater::RESIDENT_BYTES).unwrap();
    assert!((counted.live_bytes..counted.live_bytes * 51 / 50).contains(&says), "{}, not {says}", counted.live_bytes);
    let (context, counted) = measure(|| {
        let mut context = Context::new(WindowBits::MIN);
        (0..100).for_each(|_| context.push(b"some twenty characters"));
        context
    });
    assert_eq!((counted.live_bytes, context.resident_bytes()), (512, 512));
}

#[test]
fn a_bomb_takes_no_more_memory_than_a_message() {
    let bomb = crate::bomb();
    for pieces in [1, 500] {
        let mut inflater = Inflater::new();
        let mut out = BytesMut::new();
        inflater.start(None);
        let mut inflate = |piece: &[u8]| {
            let left = (1 << 20) - out.len();
            inflater.inflate(piece, false, &mut out, left)
        };
        let (refused, counted) =
            measure(|| bomb.chunks(bomb.len().div_ceil(pieces)).find_map(|piece| inflate(piece).err()));
        assert_eq!((refused, out.len()), (Some(InflateError::TooBig), 1 << 20));
        assert!(counted.live_bytes <= (2 << 20) + (64 << 10), "{} bytes", counted.live_bytes);
    }
}
