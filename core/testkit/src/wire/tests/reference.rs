//! The reference decoder on what the RFCs show.

use super::*;

fn server(stream: &[u8]) -> Reader {
    read(Rules { from_client: false, message_bytes_max: 1_000, deflate: Deflate::Declined }, stream)
}

#[test]
fn examples_of_the_rfc() {
    // §5.7
    let hello = [Told::Message { is_text: true, is_compressed: false, payload: b"Hello".into() }];
    assert_eq!(server(b"\x81\x05Hello").told, hello);
    assert_eq!(server(b"\x01\x03Hel\x80\x02lo").told, hello);
    let masked = [0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58];
    assert_eq!(
        read(Rules { from_client: true, message_bytes_max: 5, deflate: Deflate::Declined }, &masked).told,
        hello
    );
    assert_eq!(server(b"\x89\x05Hello").told, [Told::Ping(b"Hello".into())]);
    let mut long = vec![0x82, 0x7E, 1, 0];
    long.extend([7; 256]);
    assert_eq!(server(&long).told, [Told::Message { is_text: false, is_compressed: false, payload: vec![7; 256] }]);
    assert_eq!(server(b"\x82\x7F\x00\x00\x00\x00\x00\x01\x00\x00").faults, [Fault::MessageTooBig]);
}

/// Each fault at its byte, and not before.
#[test]
fn every_fault_at_its_byte() {
    for (stream, faults) in [
        (&b"\xC1"[..], &[Fault::ReservedBits][..]),
        (b"\xA3", &[Fault::ReservedBits, Fault::ReservedOpcode]),
        (b"\x8F", &[Fault::ReservedOpcode]),
        (b"\x09", &[Fault::FragmentedControl]),
        (b"\x89\x7E", &[Fault::ControlTooLong]),
        (b"\x81\x80", &[Fault::Masked]),
        (b"\x81\x7E\x00\x7D", &[Fault::LengthNotMinimal]),
        (b"\x81\x7F\x00\x00\x00\x00\x00\x00", &[Fault::LengthNotMinimal]),
        (b"\x81\x7F\x80", &[Fault::LengthOverflow]),
        (b"\x80", &[Fault::UnexpectedContinuation]),
        (b"\x01\x00\x81", &[Fault::InterleavedMessage]),
        (b"\x02\x7E\x03\xE9", &[Fault::MessageTooBig]),
        (b"\x02\x01x\x80\x7E\x03\xE8", &[Fault::MessageTooBig]),
        (b"\x01\x09\xED\xA0", &[Fault::InvalidUtf8]),
        (b"\x81\x02\xE2\x82", &[Fault::InvalidUtf8]),
        (b"\x01\x02\xE2\x82\x80\x00", &[Fault::InvalidUtf8]),
        (b"\x88\x01", &[Fault::CloseTruncated]),
        (b"\x88\x7D\x03\xED", &[Fault::CloseCodeInvalid]),
        (b"\x88\x7D\x03\xE8\xFF", &[Fault::CloseReasonInvalid]),
        (b"\x88\x03\x03\xE8\xC3", &[Fault::CloseReasonInvalid]),
    ] {
        let (all, but_one) = (server(stream), server(&stream[..stream.len() - 1]));
        assert_eq!((all.faults.as_slice(), but_one.faults.len()), (faults, 0), "{stream:02x?}");
    }
    let client = read(Rules { from_client: true, message_bytes_max: 0, deflate: Deflate::Declined }, b"\x81\x05");
    assert_eq!((client.close_codes(), client.faults), (vec![1002], vec![Fault::Unmasked, Fault::MessageTooBig]));
}

#[test]
fn the_credit_of_frames() {
    let mut stream = b"\x02\x00".to_vec();
    stream.extend(b"\x00\x00\x89\x00\x8A\x00\x00\x00".repeat(4_096));
    let with = |rest: &[u8]| server(&[&stream[..], rest].concat()).faults;
    assert_eq!(with(b""), []);
    assert_eq!((with(b"\x80\x1F"), with(b"\x89\x7D")), (vec![Fault::Flood], vec![Fault::Flood]));
    assert_eq!((with(b"\x80"), with(b"\x80\x20"), with(b"\x88\x00")), (vec![], vec![], vec![]));
    let useful = [&b"\x80\x20"[..], &[7; 32], b"\x82\x20", &[7; 32], b"\x89\x00"].concat();
    assert_eq!((with(&useful), with(&[&useful[..], b"\x8A\x00"].concat())), (vec![], vec![Fault::Flood]));
}

#[test]
fn the_credit_of_compressed_messages() {
    let rules = Rules { from_client: false, message_bytes_max: 10, deflate: Deflate::Alone };
    // Empty ones, of one byte: each costs 15.
    let stream = b"\xC2\x01\x00".repeat(34_952);
    assert_eq!(read(rules, &stream).faults, []);
    assert_eq!(read(rules, &[&stream[..], b"\xC2\x07"].concat()).faults, [Fault::Flood]);
    assert_eq!(read(rules, &[&stream[..], b"\xC2\x08"].concat()).faults, [], "eight are left");
}

#[test]
fn compressed_messages() {
    let rules = Rules { from_client: false, message_bytes_max: 10, deflate: Deflate::TakesOver };
    let inflated = |rules, stream: &[u8]| {
        let mut reader = Reader::inflating(rules);
        stream.iter().for_each(|byte| reader.take(*byte));
        (reader.told.len(), reader.faults)
    };
    // RFC 7692 §7.2.3.2, the second in two frames.
    let stream = b"\xC1\x07\xF2\x48\xCD\xC9\xC9\x07\x00\x41\x02\xF2\x00\x80\x03\x11\x00\x00";
    assert_eq!(inflated(rules, stream), (2, vec![]));
    let alone = Rules { deflate: Deflate::Alone, ..rules };
    assert_eq!(inflated(alone, stream), (1, vec![Fault::CorruptDeflate]));
    assert_eq!(inflated(Rules { message_bytes_max: 4, ..rules }, stream), (0, vec![Fault::MessageTooBig]));
    assert_eq!(inflated(rules, b"\xC1\x4C"), (0, vec![Fault::MessageTooBig]), "10 + 1 + 64, at the header");
    assert_eq!(inflated(rules, b"\x41\x00\xC0"), (0, vec![Fault::ReservedBits]));
    assert_eq!(inflated(rules, b"\xC9"), (0, vec![Fault::ReservedBits]));
    assert_eq!(inflated(rules, b"\xC1\x06\x00\x01\x00\xFE\xFF"), (0, vec![]));
    assert_eq!(inflated(rules, b"\xC1\x06\x00\x01\x00\xFE\xFF\xFF"), (0, vec![Fault::InvalidUtf8]));
    let lent = Told::Message { is_text: true, is_compressed: true, payload: b"\xFF".into() };
    assert_eq!(read(rules, b"\xC1\x01\xFF").told, [lent]);
}

#[test]
fn nothing_counts_behind_the_end() {
    let reader = server(b"\x88\x05\x03\xE8bye\x81");
    assert_eq!((reader.told, reader.faults.len()), (vec![Told::Close(Some((1000, "bye".into())))], 0));
    assert_eq!(server(b"\x88\x00\xFF").told, [Told::Close(None)]);
}
