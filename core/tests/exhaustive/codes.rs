//! All 65,536 close codes: received by the codec and by a hub, and what may be sent.

use bytes::BytesMut;
use forebay_core::wire::{CloseCode, Role, WireError, frame};
use forebay_core::{Config, EndReason, Event, Hub, Instant, Mode, Options, Peer, Upgraded};

use crate::receiver::{Event as Told, Receiver};

/// RFC 6455 §7.4.1 and §7.4.2, and the registry of IANA for 1012 to 1014: what may be on the wire.
fn is_legal(code: u16) -> bool {
    let defined = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014];
    defined.contains(&code) || code / 1000 == 3 || code / 1000 == 4
}

#[test]
fn all_codes_that_may_be_sent() {
    let mut legal = 0;
    for code in 0..=u16::MAX {
        let made = CloseCode::new(code);
        assert_eq!(made.is_some(), is_legal(code), "{code}");
        let Some(made) = made else { continue };
        legal += 1;
        assert!(made.is_sendable() && made.get() == code);
        let mut bytes = BytesMut::new();
        frame::put_close(&mut bytes, None, Some((made, "x")));
        let [high, low] = code.to_be_bytes();
        assert_eq!(bytes[..], [0x88, 3, high, low, b'x']);
    }
    assert_eq!(legal, 12 + 2_000);
    for never in [CloseCode::NO_STATUS, CloseCode::ABNORMAL] {
        let mut bytes = BytesMut::new();
        frame::put_close(&mut bytes, None, Some((never, "x")));
        assert_eq!((bytes.as_ref(), never.is_sendable()), (&[0x88, 0][..], false));
    }
}

#[test]
fn all_codes_received_with_and_without_a_reason() {
    for code in 0..=u16::MAX {
        let [high, low] = code.to_be_bytes();
        for role in [Role::Client, Role::Server] {
            let mut receiver = Receiver::new(role, 0);
            // Byte by byte, of a frame that is never complete: the second byte of the code shows it.
            let header: &[u8] = if role == Role::Client { &[0x88, 3] } else { &[0x88, 0x83, 0, 0, 0, 0] };
            receiver.take(header);
            receiver.take(&[high]);
            assert_eq!(receiver.events, [], "{code}");
            receiver.take(&[low]);
            if is_legal(code) {
                assert_eq!(receiver.events, [], "{code}");
                receiver.take(b"x");
                assert_eq!(receiver.events, [Told::Close(Some((code, "x".into())))]);
            } else {
                assert_eq!(receiver.events, [Told::Failed(WireError::CloseCodeInvalid)], "{code}");
            }
        }
        let mut receiver = Receiver::new(Role::Client, 0);
        receiver.take(&[0x88, 2, high, low]);
        let whole = if is_legal(code) {
            Told::Close(Some((code, String::new())))
        } else {
            Told::Failed(WireError::CloseCodeInvalid)
        };
        assert_eq!(receiver.events, [whole], "{code}");
    }
}

/// A hub echoes a code that may be sent (§5.5.1), and answers 1002 to any other.
#[test]
fn all_codes_received_by_a_hub() {
    let config = Config::try_from(Options::default()).expect("the defaults");
    let mut hub = Hub::new(config, [5; 32], Instant::ZERO);
    let peer = Peer { mode: Mode::Raw, ..Peer::default() };
    for code in 0..=u16::MAX {
        let upgraded = Upgraded { peer, ..Upgraded::default() };
        let conn = hub.handle_upgraded(upgraded, b"", Instant::ZERO).expect("room");
        let [high, low] = code.to_be_bytes();
        hub.handle_bytes(conn, &[0x88, 0x82, 0, 0, 0, 0, high, low], Instant::ZERO);
        let transmit = hub.poll_transmit().expect("a Close frame");
        let written: Vec<u8> = transmit.slices().flatten().copied().collect();
        hub.handle_sent(conn, written.len(), Instant::ZERO);
        hub.handle_eof(conn, Instant::ZERO);
        let mut reason = None;
        while let Some(event) = hub.poll_event() {
            if let Event::Closed { reason: told, .. } = event {
                reason = Some(told);
            }
        }
        while hub.poll_effect().is_some() {}
        if is_legal(code) {
            assert_eq!(written, [0x88, 2, high, low], "{code}");
            assert_eq!(reason, Some(EndReason::PeerClosed(CloseCode::new(code))));
        } else {
            assert_eq!(written[2..4], 1002_u16.to_be_bytes(), "{code}");
            assert_eq!(reason, Some(EndReason::Protocol(WireError::CloseCodeInvalid)));
        }
    }
    assert_eq!(hub.connections(), 0);
}
