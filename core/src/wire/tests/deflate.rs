//! Compressor and inflater beside each other and beside the RFC. `core/testkit/tests/deflate.rs` has others' beside them.

use alloc::vec;
use alloc::vec::Vec;

use super::*;
use bytes::BytesMut;

fn inflate(inflater: &mut Inflater, context: Option<&Context>, bytes: &[u8]) -> Result<Vec<u8>, InflateError> {
    let mut out = BytesMut::new();
    inflater.start(context);
    inflater.inflate(bytes, true, &mut out, 1 << 20).map(|()| out.to_vec())
}

fn compress(deflater: &mut Deflater, pieces: &[&[u8]]) -> Vec<u8> {
    let mut out = BytesMut::from(&b"before"[..]);
    deflater.compress(pieces.iter().copied(), &mut out);
    out.strip_prefix(b"before").expect("it is appended").to_vec()
}

#[test]
fn examples_of_the_rfc() {
    let mut inflater = Inflater::new();
    let mut read = |bytes: &[u8]| inflate(&mut inflater, None, bytes).map_err(|error| (error, bytes.to_vec()));
    let hello = Ok(b"Hello".to_vec());
    assert_eq!(read(&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]), hello, "§7.2.3.1");
    assert_eq!(read(&[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00]), hello, "§7.2.3.3");
    assert_eq!(read(&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]), hello, "§7.2.3.4");
    assert_eq!(read(&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]), hello, "§7.2.3.4, without the last octet");
    let two = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
    assert_eq!(read(&two), hello, "§7.2.3.5");
    assert_eq!(read(&[0x00]), Ok(vec![]), "§7.2.3.6");
    assert_eq!(read(&[]), Ok(vec![]));
    // §7.2.3.2: the second message is a reference to the first.
    let mut context = Context::new(WindowBits::MIN);
    context.push(b"Hello");
    assert_eq!(inflate(&mut inflater, Some(&context), &[0xf2, 0x00, 0x11, 0x00, 0x00]), Ok(b"Hello".to_vec()));
    let alone = inflate(&mut inflater, None, &[0xf2, 0x00, 0x11, 0x00, 0x00]);
    assert_eq!(alone, Err(InflateError::Corrupt), "too far back");
}

#[test]
fn messages_of_all_parameters_come_back_however_they_are_cut() {
    let text: Vec<u8> = (0..3_000_u32).flat_map(|n| (n * n % 1_013).to_be_bytes()).collect();
    let mut inflater = Inflater::new();
    for bits in 9..=15 {
        let bits = WindowBits::new(bits).unwrap();
        for (level, memory_level) in [(1, 1), (2, 9), (6, 8), (9, 3)] {
            let mut deflater = Deflater::new(bits, level, memory_level);
            let mut context = Context::new(bits);
            for cut in [0, 1, 300, 11_999, 12_000] {
                let (a, b) = text.split_at(cut);
                let compressed = compress(&mut deflater, &[a, &[], b]);
                assert!(compressed.len() < text.len());
                assert_eq!(inflate(&mut inflater, Some(&context), &compressed).unwrap(), text);
                context.push(&text);
            }
            assert_eq!(compress(&mut deflater, &[]), [0]);
            assert_eq!(compress(&mut deflater, &[&[], &[]]), [0], "twice");
            deflater.reset();
            let alone = compress(&mut deflater, &[&text]);
            assert_eq!(inflate(&mut inflater, None, &alone).unwrap(), text);
            assert_eq!(compress(&mut Deflater::new(bits, level, memory_level), &[&text]), alone, "as new");
        }
    }
    assert_eq!([WindowBits::new(8), WindowBits::new(16), WindowBits::new(0)], [None; 3]);
}

#[test]
fn it_stops_at_one_byte_too_many_and_has_said_the_rest() {
    let mut deflater = Deflater::new(WindowBits::MAX, 9, 9);
    let zeros = vec![0; 1 << 20];
    let compressed = compress(&mut deflater, &[&zeros]);
    let mut inflater = Inflater::new();
    for max in [0, 1, 63, 64, 65, 16_384, 16_385, 100_000, (1 << 20) - 1, 1 << 20] {
        let mut out = BytesMut::from(&b"before"[..]);
        inflater.start(None);
        let result = inflater.inflate(&compressed, true, &mut out, max);
        assert_eq!(result, if max == 1 << 20 { Ok(()) } else { Err(InflateError::TooBig) });
        assert_eq!(out.len(), 6 + max);
        assert!(out.capacity() <= (max + 6 + (16 << 10)) * 2, "{} for {max}", out.capacity());
    }
    let mut out = BytesMut::new();
    inflater.start(None);
    let mut refused = compressed.iter().map(|byte| {
        let left = 5_000 - out.len();
        inflater.inflate(&[*byte], false, &mut out, left)
    });
    assert_eq!(refused.find(Result::is_err), Some(Err(InflateError::TooBig)));
    assert_eq!(out.len(), 5_000);
}

#[test]
fn what_is_cut_off_or_means_nothing_is_corrupt() {
    let text = b"a text that is long enough to be cut, a text that is cut".repeat(20);
    let compressed = compress(&mut Deflater::new(WindowBits::MAX, 6, 8), &[&text]);
    let mut inflater = Inflater::new();
    for end in 1..compressed.len() - 1 {
        assert_eq!(inflate(&mut inflater, None, &compressed[..end]), Err(InflateError::Corrupt), "{end}");
    }
    for (bytes, why) in [
        (&[0x06][..], "a block type that there is not"),
        (&[0x00, 0x05, 0x00, 0xfb, 0xff], "a length that is not its complement's"),
        (&[0x02, 0x04, 0x00], "a reference before the beginning"),
        (&[0xff; 40], "nothing"),
    ] {
        assert_eq!(inflate(&mut inflater, None, bytes), Err(InflateError::Corrupt), "{why}");
    }
    assert_eq!(inflate(&mut inflater, None, &compressed).unwrap(), text, "what came before is forgotten");
}
