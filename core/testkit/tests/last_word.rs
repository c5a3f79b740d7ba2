//! A raw peer's last word, a Close or a violation: valid messages that came before it are delivered and answered first.

use std::time::Duration;

use forebay_core::wire::{CloseCode, WireError};
use forebay_core::{ConnId, EndReason, Event, Payload, SendError};
use forebay_testkit::mini::frame;
use forebay_testkit::rng::Choices;
use forebay_testkit::stage::{Order, Stage};

const VIOLATION: EndReason = EndReason::Protocol(WireError::ReservedBits);

/// What a client says last, why that ends its connection, and the code of our Close frame.
const LAST_WORDS: [(u8, &[u8], EndReason, u16); 2] = [
    (0x88, &[0x0f, 0xa0], EndReason::PeerClosed(CloseCode::new(4_000)), 4_000),
    (0xc1, b"with a reserved bit", VIOLATION, 1_002),
];

/// Frames of a client, the mask 0.
fn frames(frames: &[(u8, &[u8])]) -> Vec<u8> {
    let each = |(head, payload): &(u8, &[u8])| {
        let length = 0x80 | u8::try_from(payload.len()).expect("short");
        [&[*head, length, 0, 0, 0, 0], *payload].concat()
    };
    frames.iter().flat_map(each).collect()
}

/// The messages and close codes that were written to a client since it was open.
fn written(stage: &mut Stage, conn: ConnId) -> Vec<String> {
    let stream = &stage.seat_of(conn).stream;
    let head = stream.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
    let mut rest = &stream[head..];
    let mut told = Vec::new();
    while let [kind, length, behind @ ..] = rest {
        let (payload, next) = behind.split_at(usize::from(*length));
        told.push(match kind {
            0x88 => format!("close {}", u16::from_be_bytes([payload[0], payload[1]])),
            0x8a => "pong".to_owned(),
            _ => String::from_utf8(payload.to_vec()).expect("text"),
        });
        rest = next;
    }
    told
}

/// Says `a` and `b` and the last word in one read.
fn say(stage: &mut Stage, conn: ConnId, (head, payload, ..): (u8, &[u8], EndReason, u16)) {
    let bytes = frames(&[(0x81, b"a"), (0x89, b""), (0x81, b"b"), (head, payload), (0x81, b"too late")]);
    stage.client(conn).misbehave(&bytes);
    stage.pump();
}

/// Takes one message and says it back; whether there was one.
fn answer(stage: &mut Stage, conn: ConnId) -> bool {
    let Some(message) = stage.hub.receive(conn, stage.now) else { return false };
    let text = message.as_text().expect("text").to_owned();
    stage.hub.send(conn, Payload::Text(&text), stage.now).expect("it is not closed yet");
    true
}

#[test]
fn what_came_before_is_answered_before_the_close() {
    let orders = [Order::Plain, Order::Reverse, Order::Random(Choices::from_seed(7))];
    for last in LAST_WORDS {
        for order in orders.clone() {
            let mut stage = Stage::new(|_| {});
            let conn = stage.join_raw();
            stage.order = order;
            say(&mut stage, conn, last);
            assert_eq!(written(&mut stage, conn), ["pong"], "a ping is answered by the hub");
            while answer(&mut stage, conn) {
                stage.pump();
                assert_eq!(stage.ended(conn), None, "it may have more to say");
            }
            stage.pump();
            assert_eq!(written(&mut stage, conn), ["pong", "a", "b", &format!("close {}", last.3)]);
            assert_eq!(stage.ended(conn), Some(last.2));
        }
    }
}

#[test]
fn a_last_word_of_its_own_is_answered_at_once_if_nothing_is_owed() {
    for (head, payload, reason, code) in LAST_WORDS {
        let mut stage = Stage::new(|_| {});
        let (silent, idle, busy) = (stage.join_raw(), stage.join_raw(), stage.join_raw());
        for conn in [idle, busy] {
            stage.client(conn).text("a");
            stage.pump();
            assert!(answer(&mut stage, conn));
        }
        assert!(!answer(&mut stage, idle), "and so it has no more to say; the other was not asked");
        for conn in [silent, idle, busy] {
            stage.client(conn).misbehave(&frames(&[(head, payload)]));
        }
        stage.pump();
        for conn in [silent, idle] {
            assert_eq!(stage.ended(conn), Some(reason));
        }
        assert_eq!(stage.ended(busy), None);
        stage.hub.send(busy, Payload::Text("and b"), stage.now).expect("it is not closed yet");
        assert!(!answer(&mut stage, busy));
        stage.pump();
        assert_eq!(written(&mut stage, busy), ["a", "and b", &format!("close {code}")]);
        assert_eq!(stage.ended(busy), Some(reason));
    }
}

#[test]
fn an_application_that_does_not_answer_is_waited_for_no_longer_than_close_timeout() {
    let timeout = Duration::from_secs(2);
    for last in LAST_WORDS {
        let mut stage = Stage::new(|options| options.close_timeout = timeout);
        let conn = stage.join_raw();
        say(&mut stage, conn, last);
        stage.advance(timeout - Duration::from_nanos(1));
        assert_eq!(written(&mut stage, conn), ["pong"]);
        stage.advance(Duration::from_nanos(1));
        assert_eq!(written(&mut stage, conn), ["pong", &format!("close {}", last.3)]);
        let send = stage.hub.send(conn, Payload::Text("too late"), stage.now);
        assert_eq!(send, Err(SendError::UnknownConnection));
        assert_eq!(stage.ended(conn), None, "what came is still there");
        for text in ["a", "b"] {
            let received = stage.hub.receive(conn, stage.now).expect("it came before");
            assert_eq!(received.as_text(), Some(text));
        }
        stage.pump();
        assert_eq!(stage.ended(conn), Some(last.2));
    }
}

#[test]
fn answers_that_the_peer_does_not_take_are_lost_after_close_timeout() {
    for last in LAST_WORDS {
        let mut stage = Stage::new(|options| options.close_timeout = Duration::from_secs(2));
        let (slow, frozen) = (stage.join_raw(), stage.join_raw());
        for conn in [slow, frozen] {
            say(&mut stage, conn, last);
            stage.freeze(conn);
            while answer(&mut stage, conn) {}
        }
        stage.pump();
        stage.advance(Duration::from_secs(1));
        assert_eq!((written(&mut stage, slow).len(), stage.ended(slow)), (1, None));
        stage.thaw(slow);
        assert_eq!(written(&mut stage, slow), ["pong", "a", "b", &format!("close {}", last.3)]);
        assert_eq!(stage.ended(slow), Some(last.2));
        assert_eq!(stage.hub.stats().direct.lost_total().messages, 0);
        stage.advance(Duration::from_secs(1));
        assert_eq!(stage.hub.stats().direct.lost_total().messages, 2);
        assert_eq!(stage.ended(frozen), None, "its Close frame has as long again to leave");
        stage.advance(Duration::from_secs(2));
        assert_eq!(stage.ended(frozen), Some(last.2));
    }
}

#[test]
fn whatever_else_ends_it_the_last_word_is_the_reason() {
    let ends: [fn(&mut Stage, ConnId); 3] = [
        |stage, conn| stage.hub.close(conn, CloseCode::NORMAL, "mine", stage.now),
        |stage, conn| stage.hang_up(conn),
        |stage, _| {
            let until = stage.now + Duration::from_secs(1);
            stage.hub.drain(until, stage.now);
            stage.pump();
            assert!(stage.events.iter().all(|event| !matches!(event, Event::Closed { .. })), "it is still answering");
            stage.advance(Duration::from_secs(1));
        },
    ];
    for last in LAST_WORDS {
        for (place, end) in ends.iter().enumerate() {
            let mut stage = Stage::new(|_| {});
            let conn = stage.join_raw();
            say(&mut stage, conn, last);
            end(&mut stage, conn);
            stage.pump();
            let close = format!("close {}", last.3);
            assert_eq!(written(&mut stage, conn)[1..], [close][..usize::from(place != 1)], "end {place}");
            while stage.hub.receive(conn, stage.now).is_some() {}
            stage.pump();
            assert_eq!(stage.ended(conn), Some(last.2), "end {place}");
        }
    }
}

#[test]
fn what_follows_a_last_word_is_not_kept_and_what_it_cut_off_neither() {
    for (head, payload, ..) in LAST_WORDS {
        let mut stage = Stage::new(|_| {});
        let conn = stage.join_raw();
        let began = frames(&[(0x81, b"a"), (0x01, b"the beginning of a message"), (head, payload)]);
        stage.client(conn).misbehave(&began);
        stage.pump();
        let before = stage.hub.connection(conn).expect("there");
        stage.client(conn).misbehave(&vec![0; 1 << 20]);
        stage.pump();
        let after = stage.hub.connection(conn).expect("there");
        assert_eq!(
            (after.inbound_bytes, after),
            (usize::try_from(before.inbound.waiting.bytes).unwrap() + inbox_entry(), before)
        );
        stage.advance(Duration::from_secs(4));
        assert!(stage.seat_of(conn).stream.len() < 200, "and it is not pinged");
    }
}

/// What a message that waits counts beside its bytes.
fn inbox_entry() -> usize {
    let mut stage = Stage::new(|_| {});
    let conn = stage.join_raw();
    stage.client(conn).text("");
    stage.pump();
    stage.hub.connection(conn).expect("there").inbound_bytes
}

/// A connection that is not read, because its application does not receive, may have said its last word long ago.
#[test]
fn a_last_word_behind_the_inbound_bound_is_heard_in_its_turn() {
    for last in LAST_WORDS {
        let mut stage = Stage::new(|options| {
            (options.message_bytes_max, options.inbound_bytes_max) = (1_000, 1_000);
        });
        let conn = stage.join_raw();
        let message = frame::encode(true, 1, &[b'm'; 600], Some([0; 4]));
        let bytes = [message.clone(), message, frames(&[(last.0, last.1)])].concat();
        stage.client(conn).misbehave(&bytes);
        stage.pump();
        assert!(!stage.hub.wants_read(conn), "two of 600 bytes are over the bound");
        let mut answers = 0;
        while let Some(message) = stage.hub.receive(conn, stage.now) {
            answers += 1;
            stage.hub.send(conn, Payload::Text(&message.as_text().unwrap()[..1]), stage.now).expect("open");
            stage.pump();
        }
        stage.pump();
        assert_eq!(
            (answers, written(&mut stage, conn)),
            (2, vec!["m".into(), "m".into(), format!("close {}", last.3)])
        );
        assert_eq!(stage.ended(conn), Some(last.2));
    }
}
