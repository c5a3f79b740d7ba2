//! Sessions that outlive their connection: who goes on, who ends, and why. (`resume.rs` has what comes of what waits.)

use std::time::Duration;

use forebay_core::wire::CloseCode;
use forebay_core::{
    AuthenticateError, ClientRequest, ConnId, EndReason, Event, Options, Policy, ResumeError, SessionEnd, SessionId,
    SessionToken,
};
use forebay_testkit::mini::{Told, handshake};
use forebay_testkit::stage::{Stage, briefs, copy, is_open};

const S: Duration = Duration::from_secs(1);
const NS: Duration = Duration::from_nanos(1);

/// Makes a client's session resumable; its text.
fn keep(stage: &mut Stage, conn: ConnId) -> String {
    stage.client(conn).keep(None);
    stage.pump();
    match &stage.told(conn)[..] {
        [Told::Kept { session, .. }] => session.clone(),
        other => panic!("{other:?}"),
    }
}

/// Another client asks for a session; what it is told.
fn resume(stage: &mut Stage, session: &str) -> (ConnId, Vec<String>) {
    let conn = stage.join();
    (conn, resume_on(stage, conn, session))
}

fn resume_on(stage: &mut Stage, conn: ConnId, session: &str) -> Vec<String> {
    stage.client(conn).resume(session, &[]);
    stage.pump();
    briefs(stage, conn)
}

fn id_of(session: &str) -> SessionId {
    SessionId::from_bits(u64::from_str_radix(&session[..16], 16).expect("hexadecimal"))
}

fn ends(stage: &mut Stage) -> Vec<(SessionId, SessionEnd)> {
    let ended = |event| match event {
        Event::SessionEnded { session, reason } => Some((session, reason)),
        _ => None,
    };
    stage.take_events().into_iter().filter_map(ended).collect()
}

/// A hub with a topic `t`, and a kept client that has subscribed to it.
fn house(change: impl FnOnce(&mut Options)) -> (Stage, ConnId, String) {
    let mut stage = Stage::new(change);
    stage.topic("t", |_| {});
    let conn = stage.join();
    stage.subscribe(conn, "t");
    let session = keep(&mut stage, conn);
    stage.take_events();
    (stage, conn, session)
}

#[test]
fn a_session_goes_on_with_another_connection() {
    let (mut stage, first, session) = house(|_| {});
    let topic = stage.hub.find_topic("t").expect("a topic");
    stage.publish(topic, "1").expect("taken");
    stage.hang_up(first);
    assert_eq!(stage.hub.stats().detached, 1);
    assert_eq!(stage.hub.session(id_of(&session)).map(|session| (session.conn, session.lanes)), Some((None, 1)));
    stage.publish(topic, "2").expect("taken");
    let (second, told) = resume(&mut stage, &session);
    assert_eq!(told, ["resumed 60000 t@1", "message t 2 2"], "what was sent does not come again");
    assert_eq!((stage.hub.stats().detached, stage.hub.stats().resumed), (0, 1));
    let resumed = Event::Resumed { conn: second, session: id_of(&session) };
    let events = stage.take_events();
    assert!(events.contains(&resumed), "{events:?}");
    assert!(!events.iter().any(|event| matches!(event, Event::SessionEnded { .. })), "{events:?}");
    let pressure = stage.hub.session(id_of(&session)).expect("it is there");
    assert_eq!(pressure.conn, Some(second));
    assert!(stage.hub.find_lane(second, topic).is_some());
    // It stays resumable, with the same text.
    stage.hang_up(second);
    stage.publish(topic, "3").expect("taken");
    let (third, told) = resume(&mut stage, &session);
    assert_eq!(told, ["resumed 60000 t@2", "message t 3 3"]);
    stage.client(third).unsubscribe("t");
    stage.client(third).close(Some(1000));
    stage.pump();
    assert_eq!(ends(&mut stage), [(id_of(&session), SessionEnd::Closed)]);
    assert!(stage.hub.session(id_of(&session)).is_none());
}

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
enum How {
    Peer(Option<u16>),
    Eof,
    Application,
    Violation,
    PongTimeout,
    Stalled,
    MessageTimeout,
    Overflowed,
}

fn end(stage: &mut Stage, conn: ConnId, how: How) {
    match how {
        How::Peer(code) => stage.client(conn).close(code),
        How::Eof => stage.hang_up(conn),
        How::Application => stage.hub.close(conn, CloseCode::NORMAL, "", stage.now),
        How::Violation => stage.client(conn).misbehave(b"\x83\x80\x00\x00\x00\x00"),
        How::PongTimeout => {
            stage.client(conn).manners.answers_pings = false;
            stage.advance(S * 46);
        }
        How::Stalled => {
            let topic = stage.hub.find_topic("t").expect("a topic");
            stage.let_through(conn, 3);
            stage.publish(topic, "1").expect("taken");
            stage.advance(S * 31);
        }
        How::MessageTimeout => {
            stage.client(conn).write(b"\x01\x85\x00\x00\x00\x00ab");
            stage.pump();
            stage.seat_of(conn).is_mute = true;
            stage.advance(S * 46);
        }
        How::Overflowed => {
            let topic = stage.topic("small", |options| {
                options.policy = Policy::Disconnect;
                options.lane.messages_max = 1;
            });
            stage.subscribe(conn, "small");
            stage.freeze(conn);
            stage.publish(topic, "1").expect("taken");
            stage.publish(topic, "2").expect("taken");
            stage.thaw(conn);
        }
    }
    stage.pump();
}

#[test]
fn it_lives_on_unless_somebody_ended_it_on_purpose() {
    for (how, lives_on) in [
        (How::Peer(Some(1000)), false),
        (How::Peer(Some(1001)), true),
        (How::Peer(Some(4_000)), true),
        (How::Peer(None), true),
        (How::Eof, true),
        (How::Application, false),
        (How::Violation, true),
        (How::PongTimeout, true),
        (How::Stalled, true),
        (How::MessageTimeout, true),
        (How::Overflowed, false),
    ] {
        let (mut stage, conn, session) = house(|_| {});
        end(&mut stage, conn, how);
        stage.advance(S * 6); // `close_timeout`
        assert!(stage.ended(conn).is_some(), "{how:?}");
        assert_eq!(stage.hub.stats().detached, u32::from(lives_on), "{how:?}");
        let ended = ends(&mut stage);
        let expected = if lives_on { vec![] } else { vec![(id_of(&session), SessionEnd::Closed)] };
        assert_eq!(ended, expected, "{how:?}");
        let told = resume(&mut stage, &session).1;
        let is_resumed = told[0].starts_with("resumed 60000 t@");
        assert_eq!(is_resumed, lives_on, "{how:?}: {told:?}");
        assert!(is_resumed || told == ["error unknown-session"], "{how:?}: {told:?}");
    }
    // One that nobody kept.
    let mut stage = Stage::new(|_| {});
    let conn = stage.join();
    let session = stage.client(conn).reader().session.clone().expect("greeted");
    stage.hang_up(conn);
    assert_eq!(resume(&mut stage, &session).1, ["error unknown-session"]);
    assert_eq!(stage.hub.stats().detached, 0);
}

#[test]
fn for_as_long_as_was_agreed() {
    for (asked, agreed) in [(None, 10_000), (Some(10_000), 10_000), (Some(10_001), 10_000), (Some(3_000), 3_000)] {
        let (mut stage, conn, session) = house(|options| options.session_ttl = S * 10);
        stage.client(conn).keep(asked);
        stage.pump();
        assert_eq!(briefs(&mut stage, conn), [format!("kept {agreed}")], "{asked:?}");
        let ttl = Duration::from_millis(agreed);
        stage.hang_up(conn);
        stage.advance(ttl - NS);
        assert_eq!(ends(&mut stage), []);
        let (second, told) = resume(&mut stage, &session);
        assert_eq!(told, [format!("resumed {agreed} t@0")]);
        // While it has a connection no time passes for it.
        stage.advance(ttl * 2);
        stage.hang_up(second);
        stage.advance(ttl - NS);
        assert_eq!((ends(&mut stage), stage.hub.stats().detached), (vec![], 1));
        stage.advance(NS);
        assert_eq!(ends(&mut stage), [(id_of(&session), SessionEnd::Expired)]);
        assert_eq!((stage.hub.stats().detached, stage.hub.stats().lanes_now), (0, 0));
        assert_eq!(resume(&mut stage, &session).1, ["error unknown-session"]);
    }
}

#[test]
fn no_more_than_so_many_are_detached() {
    let mut stage = Stage::new(|options| options.sessions_max = 3);
    let conns: Vec<ConnId> = (0..4).map(|_| stage.join()).collect();
    let sessions: Vec<String> = conns.iter().map(|conn| keep(&mut stage, *conn)).collect();
    for conn in &conns[..3] {
        stage.hang_up(*conn);
    }
    assert_eq!((stage.hub.stats().detached, ends(&mut stage)), (3, vec![]));
    // The first goes on, and is then the one that was detached last.
    let (again, _) = resume(&mut stage, &sessions[0]);
    stage.hang_up(again);
    stage.hang_up(conns[3]);
    assert_eq!(ends(&mut stage), [(id_of(&sessions[1]), SessionEnd::Evicted)], "the one that was so for longest");
    assert_eq!(stage.hub.stats().detached, 3);
    for (session, told) in
        sessions.iter().zip(["resumed 60000", "error unknown-session", "resumed 60000", "resumed 60000"])
    {
        assert_eq!(resume(&mut stage, session).1, [told]);
    }
}

#[test]
fn a_session_is_its_principals() {
    let mut stage = Stage::new(|options| options.principal_bytes_max = 5);
    let nobody = ConnId::from_bits(9);
    assert_eq!(stage.hub.authenticate(nobody, "a"), Err(AuthenticateError::UnknownConnection));
    let conn = stage.join();
    assert_eq!(stage.hub.authenticate(conn, "anna!!"), Err(AuthenticateError::TooLong), "6 bytes");
    assert_eq!(stage.hub.authenticate(conn, "anna!"), Ok(()), "5 bytes");
    let session = keep(&mut stage, conn);
    stage.hang_up(conn);
    assert_eq!(stage.hub.authenticate(conn, "anna!"), Err(AuthenticateError::UnknownConnection));
    for (principal, told) in [
        ("", "error unknown-session"),
        ("bert", "error unknown-session"),
        ("anna", "error unknown-session"),
        ("anna!", "resumed 60000"),
    ] {
        let other = stage.join();
        stage.hub.authenticate(other, principal).expect("short enough");
        assert_eq!(resume_on(&mut stage, other, &session), [told], "{principal}");
    }
    // Nobody's session is nobody's, and not everybody's.
    let conn = stage.join();
    let session = keep(&mut stage, conn);
    stage.hang_up(conn);
    let other = stage.join();
    stage.hub.authenticate(other, "bert").expect("short enough");
    assert_eq!(resume_on(&mut stage, other, &session), ["error unknown-session"]);
    stage.hub.authenticate(other, "").expect("short enough");
    assert_eq!(resume_on(&mut stage, other, &session), ["resumed 60000"]);
}

#[test]
fn a_session_is_not_guessed() {
    let (mut stage, conn, session) = house(|_| {});
    stage.hang_up(conn);
    for place in 0..48 {
        let wrong = session.chars().enumerate().map(|(at, digit)| match (at == place, digit) {
            (true, '0') => '1',
            (true, _) => '0',
            (false, digit) => digit,
        });
        assert_eq!(resume(&mut stage, &wrong.collect::<String>()).1, ["error unknown-session"], "digit {place}");
    }
    for wrong in
        [&session[1..], "", "x", &session.to_uppercase().replace(char::is_numeric, "A"), &format!("{session}0")]
    {
        assert_eq!(resume(&mut stage, wrong).1, ["error unknown-session"], "{wrong}");
    }
    assert_eq!(resume(&mut stage, &session).1, ["resumed 60000 t@0"], "nothing has changed by that");
    // What has its place now has another generation, and so another text.
    let (mut stage, conn, session) = house(|_| {});
    stage.client(conn).close(Some(1000));
    stage.pump();
    let conn = stage.join();
    let other = keep(&mut stage, conn);
    assert_eq!(id_of(&other).index(), id_of(&session).index(), "the same place");
    stage.hang_up(conn);
    assert_eq!(resume(&mut stage, &session).1, ["error unknown-session"]);
    assert_eq!(resume(&mut stage, &other).1, ["resumed 60000"]);
}

#[test]
fn who_may_resume() {
    let (mut stage, conn, session) = house(|_| {});
    stage.topic("u", |_| {});
    stage.hang_up(conn);
    let token = SessionToken::parse(&session).expect("a token");
    // Another dialect.
    let raw = stage.join_raw();
    assert_eq!(stage.hub.resume(raw, token, &[], stage.now), Err(ResumeError::UnknownSession));
    assert_eq!(stage.hub.resume(conn, token, &[], stage.now), Err(ResumeError::UnknownConnection));
    // With subscriptions of its own.
    let other = stage.join();
    stage.subscribe(other, "u");
    assert_eq!(resume_on(&mut stage, other, &session), ["error already-subscribed"]);
    // Its own.
    let own = stage.client(other).reader().session.clone().expect("greeted");
    stage.client(other).unsubscribe("u");
    stage.pump();
    stage.told(other);
    assert_eq!(keep(&mut stage, other), own);
    assert_eq!(resume_on(&mut stage, other, &own), ["error unknown-session"]);
    stage.take_events();
    assert_eq!(resume_on(&mut stage, other, &session), ["resumed 60000 t@0"]);
    assert_eq!(ends(&mut stage), [(id_of(&own), SessionEnd::Closed)], "its own is gone, and was resumable");
    assert_eq!(resume(&mut stage, &own).1, ["error unknown-session"]);
}

#[test]
fn raw_connections_go_on_too() {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |_| {});
    let first = stage.join_raw();
    let subscribe = |stage: &mut Stage, conn| {
        stage.hub.subscribe(conn, topic, Default::default(), forebay_core::Start::Latest, stage.now)
    };
    let lane = subscribe(&mut stage, first).expect("subscribed");
    let token = stage.hub.keep_session(first, Some(S)).expect("kept");
    stage.hang_up(first);
    stage.publish(topic, "1").expect("taken");
    let dialect = stage.join();
    assert_eq!(stage.hub.resume(dialect, token, &[], stage.now), Err(ResumeError::UnknownSession));
    let second = stage.join_raw();
    let session = stage.hub.resume(second, token, &[], stage.now).expect("resumed");
    stage.pump();
    assert_eq!(stage.hub.session(session).expect("it is there").conn, Some(second));
    assert_eq!(stage.hub.find_lane(second, topic), Some(lane), "the lane is the same");
    assert_eq!(stage.client(second).items.len(), 1);
    stage.hang_up(second);
    stage.advance(S - NS);
    assert_eq!(stage.hub.stats().detached, 1);
    stage.advance(NS);
    assert_eq!(stage.hub.stats().detached, 0);
}

#[test]
fn not_before_the_handshake_nor_after_the_end() {
    let mut stage = Stage::new(|_| {});
    let conn = stage.hub.handle_accept(forebay_core::Peer::default(), stage.now).expect("accepted");
    assert_eq!(stage.hub.keep_session(conn, None).err(), Some(ResumeError::UnknownConnection));
    assert_eq!(stage.hub.authenticate(conn, "a"), Err(AuthenticateError::UnknownConnection));
    // In the client role there is nothing to be resumed.
    let request = ClientRequest { host: "h", target: "/", ..ClientRequest::default() };
    let conn = stage.hub.connect(request, stage.now).expect("started");
    assert_eq!(stage.hub.keep_session(conn, None).err(), Some(ResumeError::UnknownConnection));
    let transmit = stage.hub.poll_transmit().expect("the request");
    let (text, len) = (String::from_utf8(copy(&transmit)).expect("text"), transmit.len());
    stage.hub.handle_sent(conn, len, stage.now);
    let key = text.split("Sec-WebSocket-Key: ").nth(1).expect("a key").split("\r\n").next().expect("its end");
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        handshake::accept_of(key)
    );
    stage.hub.handle_bytes(conn, answer.as_bytes(), stage.now);
    assert_eq!(stage.hub.keep_session(conn, None).err(), Some(ResumeError::ClientRole));
    let token = SessionToken::parse(&"0".repeat(48)).expect("a token");
    assert_eq!(stage.hub.resume(conn, token, &[], stage.now), Err(ResumeError::ClientRole));
}

#[test]
fn draining_ends_what_nobody_could_resume() {
    let (mut stage, detached, session) = house(|_| {});
    let conn = stage.join();
    let open = keep(&mut stage, conn);
    stage.hang_up(detached);
    let other = stage.join();
    let topic = stage.hub.find_topic("t").expect("a topic");
    // So that it stays for a while.
    stage.subscribe(conn, "t");
    stage.subscribe(other, "t");
    stage.freeze(conn);
    stage.freeze(other);
    stage.publish(topic, "1").expect("taken");
    stage.take_events();
    stage.hub.drain(stage.now + S * 10, stage.now);
    stage.pump();
    assert_eq!(ends(&mut stage), [(id_of(&session), SessionEnd::Drained)]);
    stage.client(other).keep(None);
    stage.client(other).resume(&session, &[]);
    stage.pump();
    assert_eq!(stage.hub.keep_session(other, None).err(), Some(ResumeError::Draining));
    // Its connection is lost, and nobody could come back.
    stage.hang_up(conn);
    assert_eq!(ends(&mut stage), [(id_of(&open), SessionEnd::Closed)]);
    stage.thaw(other);
    let told = briefs(&mut stage, other);
    assert_eq!(told, ["error draining", "error draining", "message t 1 1"]);
    assert_eq!((stage.hub.stats().detached, is_open(&mut stage, other)), (0, false));
}

/// In what state the older connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Idle,
    Blocked,
    HasReplies,
    Unanswered,
    InTheMiddle,
    Closing,
    Parked,
}

#[test]
fn the_newer_connection_wins() {
    for (state, has_close_frame) in [
        (State::Idle, true),
        (State::Blocked, true),
        (State::HasReplies, true),
        (State::Unanswered, false),
        (State::InTheMiddle, false),
        (State::Closing, false),
        (State::Parked, true),
    ] {
        let (mut stage, old, session) = house(|_| {});
        let topic = stage.hub.find_topic("t").expect("a topic");
        let full = stage.topic("full", |options| {
            options.policy = Policy::Block;
            options.lane.messages_max = 1;
        });
        let stuck = stage.join();
        stage.subscribe(stuck, "full");
        stage.freeze(stuck);
        stage.publish(full, "0").expect("taken");
        match state {
            State::Idle => {}
            State::Blocked => {
                stage.freeze(old);
                stage.publish(topic, "1").expect("taken");
            }
            State::HasReplies => {
                stage.seat_of(old).window = 1;
                stage.client(old).ask_ping();
            }
            State::Unanswered => {
                stage.hub.publish(topic, forebay_core::Payload::Text("1"), stage.now).expect("taken");
                assert!(stage.hub.poll_transmit().is_some());
            }
            State::InTheMiddle => {
                stage.let_through(old, 5);
                stage.publish(topic, "1").expect("taken");
            }
            State::Closing => {
                stage.freeze(old);
                stage.client(old).close(Some(1001));
            }
            State::Parked => stage.client(old).publish("full", "1", 0),
        }
        if state != State::Unanswered {
            stage.pump();
        }
        stage.take_events();
        let new = forebay_testkit::mini::Client::upgraded(99, false);
        let upgraded = forebay_core::Upgraded::default();
        let conn = stage.hub.handle_upgraded(upgraded, b"", stage.now).expect("accepted");
        stage.place(conn, new);
        let token = SessionToken::parse(&session).expect("a token");
        stage.hub.resume(conn, token, &[], stage.now).expect("resumed");
        stage.hub.check_invariants();
        assert_eq!(stage.hub.find_lane(old, topic), None, "{state:?}");
        assert!(stage.hub.find_lane(conn, topic).is_some(), "{state:?}");
        stage.seat_of(conn).client.reader().resume(&session, &[]);
        stage.seat_of(old).window = usize::MAX;
        stage.seat_of(conn).client.reader().loose.insert("t".into());
        stage.pump();
        assert_eq!(stage.ended(old), Some(EndReason::Resumed), "{state:?}");
        let close = stage.client(old).close;
        assert_eq!(close == Some(Some(4001)), has_close_frame, "{state:?}: {close:?}");
        if has_close_frame {
            assert_eq!(stage.client(old).close_reason, "session resumed elsewhere");
        }
        assert!(ends(&mut stage).is_empty(), "{state:?}");
        let told = briefs(&mut stage, conn);
        let comes = matches!(state, State::Blocked | State::Unanswered | State::InTheMiddle);
        assert_eq!(told, if comes { vec!["hello", "message t 1 1"] } else { vec!["hello"] }, "{state:?}");
        // What waited to be published of the older one ends with it.
        stage.thaw(stuck);
        assert_eq!(stage.hub.topic_pressure(full).expect("a topic").head.seq, 1, "{state:?}");
    }
}

#[test]
fn resumed_again_and_again() {
    let (mut stage, first, session) = house(|_| {});
    let topic = stage.hub.find_topic("t").expect("a topic");
    let mut old = first;
    for seq in 1..=5 {
        let (new, told) = resume(&mut stage, &session);
        assert_eq!(told, [format!("resumed 60000 t@{}", seq - 1)]);
        assert_eq!(stage.client(old).close, Some(Some(4001)));
        assert_eq!(stage.ended(old), Some(EndReason::Resumed));
        stage.publish(topic, "1").expect("taken");
        assert_eq!(briefs(&mut stage, new), [format!("message t {seq} 1")]);
        old = new;
    }
    assert_eq!((stage.hub.stats().resumed, stage.hub.stats().detached), (5, 0));
    // The older client tries to have it back.
    let (back, _) = resume(&mut stage, &session);
    assert!(is_open(&mut stage, back) && !is_open(&mut stage, old));
}

#[test]
fn a_removed_topic_and_one_that_nobody_declared() {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |_| {});
    let conn = stage.join();
    stage.subscribe(conn, "t");
    stage.subscribe(conn, "undeclared");
    let session = keep(&mut stage, conn);
    stage.hang_up(conn);
    let undeclared = stage.hub.find_topic("undeclared").expect("it has a lane");
    stage.publish(undeclared, "1").expect("taken");
    stage.hub.remove_topic(topic, stage.now);
    stage.pump();
    assert_eq!(resume(&mut stage, &session).1, ["resumed 60000 undeclared@0", "message undeclared 1 1"]);
    let other = stage.join();
    let own = keep(&mut stage, other);
    stage.subscribe(other, "gone");
    stage.hang_up(other);
    assert!(stage.hub.find_topic("gone").is_some());
    stage.advance(S * 60);
    assert!(stage.hub.find_topic("gone").is_none(), "forgotten with the last lane");
    assert_eq!(resume(&mut stage, &own).1, ["error unknown-session"]);
}
