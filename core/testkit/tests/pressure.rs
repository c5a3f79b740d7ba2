//! Levels of connections, sessions and the hub: when they rise and fall, what is told and what is counted; volatile sends.

use std::time::Duration;

use forebay_core::{
    Cause, ConnId, Effect, Event, Hub, Level, Options, Payload, Policy, Scope, SendError, SessionId, TopicId,
    Transitions,
};
use forebay_testkit::mini::frame;
use forebay_testkit::stage::Stage;

use Level::{Critical, High, Nominal};

const DWELL: Duration = Duration::from_millis(100);
const NANO: Duration = Duration::from_nanos(1);

/// The levels of one kind that were told since events were last taken.
fn told(stage: &mut Stage, is_it: impl Fn(Scope) -> bool) -> Vec<Level> {
    let level = |event: &Event| match *event {
        Event::Pressure { scope, level } if is_it(scope) => Some(level),
        _ => None,
    };
    stage.take_events().iter().filter_map(level).collect()
}

fn entered(nominal: u64, high: u64, critical: u64) -> Transitions {
    Transitions { nominal, high, critical }
}

/// A masked frame from a client.
fn frame_of(opcode: u8, len: usize) -> Vec<u8> {
    frame::encode(true, opcode, &vec![b'x'; len], Some([1, 2, 3, 4]))
}

fn inbound(hub: &Hub, conn: ConnId) -> (u32, Level) {
    let load = hub.connection(conn).expect("there").inbound;
    (load.fill, load.level)
}

fn outbound(hub: &Hub, conn: ConnId) -> (u32, Level) {
    let load = hub.connection(conn).expect("there").outbound;
    (load.fill, load.level)
}

/// A raw connection and what an empty message that waits counts; a byte is a thousandth of the bound.
fn raw() -> (Stage, ConnId, usize) {
    let mut stage = Stage::new(|options| (options.message_bytes_max, options.inbound_bytes_max) = (1_000, 1_000));
    let conn = stage.join_raw();
    stage.hub.handle_bytes(conn, &frame_of(2, 0), stage.now);
    let entry = stage.hub.connection(conn).expect("there").inbound_bytes;
    assert_eq!(stage.hub.receive(conn, stage.now).expect("it came").bytes.len(), 0);
    stage.pump();
    stage.take_events();
    (stage, conn, entry)
}

/// A message that counts so much comes in.
fn come(stage: &mut Stage, conn: ConnId, counted: usize, entry: usize) {
    stage.hub.handle_bytes(conn, &frame_of(2, counted - entry), stage.now);
    stage.pump();
}

fn take(stage: &mut Stage, conn: ConnId) {
    assert!(stage.hub.receive(conn, stage.now).is_some());
    stage.pump();
}

fn is_inbound(scope: Scope) -> bool {
    matches!(scope, Scope::Inbound(_))
}

fn is_outbound(scope: Scope) -> bool {
    matches!(scope, Scope::Outbound(_))
}

#[test]
fn inbound_rises_at_its_marks() {
    for (counted, level) in [(749, Nominal), (750, High), (999, High), (1_000, Critical)] {
        let (mut stage, conn, entry) = raw();
        come(&mut stage, conn, counted, entry);
        assert_eq!(inbound(&stage.hub, conn), (u32::try_from(counted).expect("small"), level));
        let expected: Vec<Level> = Some(level).filter(|level| *level != Nominal).into_iter().collect();
        assert_eq!(told(&mut stage, is_inbound), expected, "{counted}");
        assert_eq!(stage.take_effects().contains(&Effect::PauseRead(conn)), level == Critical);
        let levels = stage.hub.stats().levels;
        assert_eq!(levels.inbound, entered(0, u64::from(level == High), u64::from(level == Critical)));
        assert_eq!((levels.outbound, levels.hub), (entered(0, 0, 0), entered(0, 0, 0)));
    }
}

#[test]
fn inbound_falls_at_its_marks_and_not_before_its_dwell() {
    // What is left when the first message was taken, and where the level stands after the dwell.
    for (left, level) in [(500, Nominal), (501, High), (749, High), (750, High)] {
        let (mut stage, conn, entry) = raw();
        come(&mut stage, conn, 999 - left, entry);
        come(&mut stage, conn, left, entry);
        assert_eq!((inbound(&stage.hub, conn), told(&mut stage, is_inbound)), ((999, High), vec![High]));
        take(&mut stage, conn);
        stage.advance(DWELL - NANO);
        assert_eq!(inbound(&stage.hub, conn), (u32::try_from(left).expect("small"), High), "{left}: held");
        let deadline = stage.hub.poll_timeout().expect("a deadline");
        assert_eq!((deadline.at, deadline.cause) == (stage.now + NANO, Cause::Timer), level == Nominal);
        stage.advance(NANO);
        assert_eq!(inbound(&stage.hub, conn).1, level, "{left}");
        assert_eq!(told(&mut stage, is_inbound).len(), usize::from(level == Nominal));
        assert_eq!(stage.hub.stats().levels.inbound, entered(u64::from(level == Nominal), 1, 0));
    }
}

#[test]
fn inbound_that_stopped_the_reading_stays_critical_until_it_is_read_again() {
    let (mut stage, conn, entry) = raw();
    for counted in [300, 200, 501] {
        come(&mut stage, conn, counted, entry);
    }
    assert_eq!((inbound(&stage.hub, conn), told(&mut stage, is_inbound)), ((1_001, Critical), vec![Critical]));
    stage.advance(10 * DWELL);
    take(&mut stage, conn);
    take(&mut stage, conn);
    stage.advance(10 * DWELL);
    assert_eq!((inbound(&stage.hub, conn), stage.hub.wants_read(conn)), ((501, Critical), false), "above half");
    take(&mut stage, conn);
    assert_eq!((inbound(&stage.hub, conn), stage.hub.wants_read(conn)), ((0, Nominal), true), "the dwell is long over");
    assert_eq!(told(&mut stage, is_inbound), [Nominal]);
    // Again, and read again at once: now the dwell holds.
    come(&mut stage, conn, 1_000, entry);
    take(&mut stage, conn);
    assert_eq!(inbound(&stage.hub, conn), (0, Critical));
    stage.advance(DWELL - NANO);
    assert_eq!((inbound(&stage.hub, conn), told(&mut stage, is_inbound)), ((0, Critical), vec![Critical]));
    stage.advance(NANO);
    assert_eq!((inbound(&stage.hub, conn), told(&mut stage, is_inbound)), ((0, Nominal), vec![Nominal]));
    assert_eq!(stage.hub.stats().levels.inbound, entered(2, 0, 2));
}

#[test]
fn what_rose_and_fell_between_two_polls_is_not_told_but_counted() {
    let (mut stage, conn, entry) = raw();
    stage.hub.handle_bytes(conn, &frame_of(2, 800 - entry), stage.now);
    assert_eq!(inbound(&stage.hub, conn), (800, High));
    assert!(stage.hub.receive(conn, stage.now).is_some());
    stage.now = stage.now + DWELL;
    stage.hub.handle_timeout(stage.now);
    stage.pump();
    assert_eq!((inbound(&stage.hub, conn), told(&mut stage, is_inbound)), ((0, Nominal), vec![]));
    assert_eq!(stage.hub.stats().levels.inbound, entered(1, 1, 0));
}

#[test]
fn what_waits_of_a_connection_is_told_exactly_with_the_age_of_the_oldest() {
    let (mut stage, conn, entry) = raw();
    for counted in [60, 70] {
        come(&mut stage, conn, counted, entry);
        stage.advance(Duration::from_millis(3));
    }
    let load = stage.hub.connection(conn).expect("there").inbound;
    assert_eq!((load.waiting.messages, load.waiting.bytes), (2, 130 - 2 * entry as u64));
    assert_eq!((load.largest, load.fill, load.oldest_age), (load.waiting, 130, Duration::from_millis(6)));
    take(&mut stage, conn);
    assert_eq!(stage.hub.connection(conn).expect("there").inbound.oldest_age, Duration::from_millis(3));
    // Outbound: one on its way, and two that wait.
    stage.freeze(conn);
    for text in ["\"a\"", "\"bcd\"", "\"e\""] {
        stage.hub.send(conn, Payload::Text(text), stage.now).expect("room");
        if text == "\"a\"" {
            assert!(stage.hub.poll_transmit().is_some(), "and not answered");
        }
        stage.now = stage.now + Duration::from_millis(4);
        stage.hub.handle_timeout(stage.now);
    }
    let load = stage.hub.connection(conn).expect("there").outbound;
    assert_eq!((load.waiting.messages, load.waiting.bytes, load.fill), (3, 11, 3), "3 of 1,024 messages");
    assert_eq!(load.oldest_age, Duration::from_millis(8), "of what is not on its way");
}

/// A client of the dialect with a Transmit that is not answered, so that replies gather.
fn gathering() -> (Stage, ConnId, usize) {
    let mut stage = Stage::new(|options| options.reply_bytes_max = 4_096);
    let conn = stage.join();
    stage.hub.send(conn, Payload::Text("1"), stage.now).expect("room");
    let len = stage.hub.poll_transmit().expect("the message").len();
    (stage, conn, len)
}

fn reply_bytes(stage: &Stage, conn: ConnId) -> usize {
    stage.hub.connection(conn).expect("there").reply_bytes
}

/// A request with an id so long, which the reply repeats.
fn ask(stage: &mut Stage, conn: ConnId, id_len: usize) {
    let request = format!(r#"{{"op":"ping","id":"{}"}}"#, "x".repeat(id_len));
    stage.hub.handle_bytes(conn, &frame::encode(true, 1, request.as_bytes(), Some([1, 2, 3, 4])), stage.now);
    stage.hub.check_invariants();
}

/// Replies wait that are so many bytes: answers to pings, 64 bytes each, and at last a reply, which costs so much beside
/// its id.
fn gather(stage: &mut Stage, conn: ConnId, bytes: usize, reply: usize) {
    while reply_bytes(stage, conn) + 64 + reply < bytes {
        stage.hub.handle_bytes(conn, &frame_of(9, 62), stage.now);
    }
    ask(stage, conn, bytes - reply_bytes(stage, conn) - reply);
}

#[test]
fn replies_rise_at_their_marks() {
    let (mut stage, conn, _) = gathering();
    ask(&mut stage, conn, 1);
    let reply = reply_bytes(&stage, conn) - 1;
    // 749.02 and 748.77 thousandths, rounded up; then all of it.
    for (bytes, fill, level) in
        [(3_067, 749, Nominal), (3_068, 750, High), (4_095, 1_000, High), (4_096, 1_000, Critical)]
    {
        let (mut stage, conn, len) = gathering();
        gather(&mut stage, conn, bytes, reply);
        assert_eq!(reply_bytes(&stage, conn), bytes);
        assert_eq!((outbound(&stage.hub, conn), stage.hub.wants_read(conn)), ((fill, level), level != Critical));
        assert_eq!(inbound(&stage.hub, conn), (0, Nominal), "it is not read, but not for its inbox");
        let levels = stage.hub.stats().levels;
        assert_eq!(levels.outbound, entered(0, u64::from(level >= High), u64::from(level == Critical)));
        // They leave; the level falls when it has dwelt.
        stage.hub.handle_sent(conn, len, stage.now);
        // Not to the client, which has asked for nothing.
        while let Some(len) = stage.hub.poll_transmit().map(|transmit| transmit.len()) {
            stage.hub.handle_sent(conn, len, stage.now);
        }
        stage.pump();
        assert_eq!(outbound(&stage.hub, conn), (0, level));
        assert_eq!(told(&mut stage, is_outbound), Vec::from_iter(Some(level).filter(|level| *level != Nominal)));
        stage.advance(DWELL - NANO);
        assert_eq!(outbound(&stage.hub, conn), (0, level));
        stage.advance(NANO);
        assert_eq!(outbound(&stage.hub, conn), (0, Nominal));
        assert_eq!(told(&mut stage, is_outbound).len(), usize::from(level != Nominal));
    }
}

/// A raw client that takes nothing, whose direct lane holds four messages, or a thousand bytes.
fn frozen(change: impl FnOnce(&mut Options)) -> (Stage, ConnId) {
    let mut stage = Stage::new(|options| {
        (options.direct_lane.messages_max, options.direct_lane.bytes_max) = (4, 1_000);
        change(options);
    });
    let conn = stage.join_raw();
    stage.freeze(conn);
    stage.take_events();
    (stage, conn)
}

fn send(stage: &mut Stage, conn: ConnId, len: usize) -> Result<(), SendError> {
    let text = forebay_testkit::stage::json_of_len(len);
    let sent = stage.hub.send(conn, Payload::Text(&text), stage.now);
    stage.pump();
    sent
}

#[test]
fn a_direct_lane_makes_its_connection_rise_and_fall() {
    for (lens, fill, level) in [
        (&[2, 2][..], 500, Nominal),
        (&[2, 2, 2], 750, High),
        (&[2, 2, 2, 2], 1_000, High),
        (&[400, 349], 749, Nominal),
        (&[400, 350], 750, High),
        (&[400, 600], 1_000, High),
    ] {
        let (mut stage, conn) = frozen(|_| {});
        lens.iter().for_each(|len| send(&mut stage, conn, *len).expect("room"));
        assert_eq!(outbound(&stage.hub, conn), (fill, level), "{lens:?}");
        assert_eq!(told(&mut stage, is_outbound), Vec::from_iter(Some(level).filter(|level| *level != Nominal)));
    }
    let (mut stage, conn) = frozen(|_| {});
    (0..4).for_each(|_| send(&mut stage, conn, 2).expect("room"));
    assert_eq!(send(&mut stage, conn, 2), Err(SendError::Full));
    stage.advance(DWELL / 2);
    assert_eq!(send(&mut stage, conn, 2), Err(SendError::Full), "the dwell begins anew");
    assert_eq!((outbound(&stage.hub, conn), told(&mut stage, is_outbound)), ((1_000, Critical), vec![High, Critical]));
    stage.thaw(conn);
    assert!(stage.take_events().contains(&Event::Sendable(conn)), "whatever the dwell");
    stage.advance(DWELL - NANO);
    assert_eq!(outbound(&stage.hub, conn), (0, Critical));
    stage.advance(NANO);
    assert_eq!((outbound(&stage.hub, conn), told(&mut stage, is_outbound)), ((0, Nominal), vec![Nominal]));
    assert_eq!(stage.hub.stats().levels.outbound, entered(1, 1, 1));
}

#[test]
fn critical_falls_to_high_above_the_low_mark() {
    let (mut stage, conn) = frozen(|options| options.direct_lane.messages_max = 100);
    (0..100).for_each(|_| send(&mut stage, conn, 2).expect("room"));
    assert_eq!(send(&mut stage, conn, 2), Err(SendError::Full));
    stage.let_through(conn, 4 * 26); // 74 are left
    assert_eq!(outbound(&stage.hub, conn), (740, Critical));
    stage.advance(DWELL);
    assert_eq!(outbound(&stage.hub, conn), (740, High));
    stage.let_through(conn, 4 * 23); // 51
    stage.advance(10 * DWELL);
    assert_eq!(
        (outbound(&stage.hub, conn), told(&mut stage, |scope| scope == Scope::Outbound(conn)).len()),
        ((510, High), 3)
    );
    stage.let_through(conn, 4); // 50
    assert_eq!((outbound(&stage.hub, conn), told(&mut stage, is_outbound)), ((500, Nominal), vec![Nominal]));
    assert_eq!(stage.hub.stats().levels.outbound, entered(1, 2, 1));
}

#[test]
fn sendable_is_told_at_the_low_mark() {
    for (low_percent, left) in [(50, 2), (49, 1), (25, 1), (24, 0)] {
        let (mut stage, conn) = frozen(|options| options.watermarks.low_percent = low_percent);
        (0..4).for_each(|_| send(&mut stage, conn, 2).expect("room"));
        assert_eq!(send(&mut stage, conn, 2), Err(SendError::Full));
        stage.take_events();
        for waiting in (0..4).rev() {
            stage.let_through(conn, 4);
            let is_told = stage.take_events().contains(&Event::Sendable(conn));
            assert_eq!(is_told, waiting == left, "{low_percent} %: {waiting} wait");
        }
    }
}

/// A client with a lane on each of two topics, for four messages each.
fn two_lanes(policy: Policy) -> (Stage, ConnId, SessionId, [TopicId; 2]) {
    let mut stage = Stage::new(|_| {});
    let topics = ["a", "b"].map(|name| {
        stage.topic(name, |options| {
            options.policy = policy;
            options.lane.messages_max = 4;
        })
    });
    let conn = stage.join();
    let opened = stage.take_events().into_iter().find_map(|event| match event {
        Event::Opened { session, .. } => Some(session),
        _ => None,
    });
    ["a", "b"].iter().for_each(|name| stage.subscribe(conn, name));
    stage.freeze(conn);
    stage.take_events();
    (stage, conn, opened.expect("opened"), topics)
}

fn publish(stage: &mut Stage, topic: TopicId, messages: usize) {
    for _ in 0..messages {
        stage.publish(topic, "1").expect("room");
    }
}

#[test]
fn a_session_has_the_highest_level_of_its_lanes_and_so_has_its_connection() {
    let (mut stage, conn, session, [a, b]) = two_lanes(Policy::Block);
    let level = |stage: &Stage| stage.hub.session(session).expect("there").load.level;
    let is_it = |scope: Scope| matches!(scope, Scope::Session(_) | Scope::Outbound(_));
    publish(&mut stage, a, 2);
    assert_eq!((level(&stage), told(&mut stage, is_it)), (Nominal, vec![]));
    publish(&mut stage, a, 1);
    assert_eq!((level(&stage), told(&mut stage, is_it)), (High, vec![High, High]));
    publish(&mut stage, b, 4);
    assert_eq!((level(&stage), told(&mut stage, is_it)), (High, vec![]), "as before");
    assert!(stage.publish(b, "1").is_err());
    assert_eq!((level(&stage), told(&mut stage, is_it)), (Critical, vec![Critical, Critical]));
    let load = stage.hub.session(session).expect("there").load;
    assert_eq!((load.waiting.messages, load.largest.messages, load.fill), (7, 4, 1_000));
    assert_eq!(outbound(&stage.hub, conn), (1_000, Critical));
    // A lane that ends has no level any more, whatever the dwell.
    assert!(stage.hub.unsubscribe(conn, b, stage.now));
    stage.pump();
    assert_eq!((level(&stage), told(&mut stage, is_it)), (High, vec![High, High]));
    stage.thaw(conn);
    stage.advance(DWELL);
    assert_eq!((level(&stage), told(&mut stage, is_it)), (Nominal, vec![Nominal, Nominal]));
    let levels = stage.hub.stats().levels;
    assert_eq!((levels.sessions, levels.outbound), (entered(1, 2, 1), entered(1, 2, 1)));
    // What has ended is not told any more.
    stage.freeze(conn);
    for _ in 0..4 {
        stage.hub.publish(a, Payload::Text("1"), stage.now).expect("room");
    }
    assert_eq!(level(&stage), High);
    stage.hang_up(conn);
    assert_eq!((stage.hub.session(session), told(&mut stage, is_it)), (None, vec![]));
}

#[test]
fn the_hub_follows_its_memory() {
    const MAX: usize = 4 << 20;
    let mut stage = Stage::new(|options| {
        options.resident_bytes_max = MAX;
        (options.topic_defaults.log_bytes_max, options.inbound_bytes_max) = (1 << 20, 1 << 20);
    });
    let conns: Vec<ConnId> = (0..6).map(|_| stage.join_raw()).collect();
    stage.take_events();
    let is_hub = |scope: Scope| scope == Scope::Hub;
    let mut levels = vec![Nominal];
    // Messages wait at one connection after the other, until there is no room.
    'full: for conn in &conns {
        for _ in 0..9 {
            let waiting = |hub: &Hub| hub.connection(*conn).map_or(0, |conn| conn.inbound.waiting.messages);
            let before = waiting(&stage.hub);
            stage.hub.handle_bytes(*conn, &frame_of(2, 100_000), stage.now);
            stage.hub.check_invariants();
            let pressure = stage.hub.pressure();
            assert_eq!(pressure.fill, u32::try_from((pressure.resident_bytes * 1_000).div_ceil(MAX)).expect("small"));
            let is_refused = waiting(&stage.hub) == before;
            let expected = match pressure.fill {
                _ if is_refused => Critical,
                0..750 => Nominal,
                _ => High,
            };
            assert_eq!(pressure.level, expected, "{pressure:?}");
            if levels.last() != Some(&pressure.level) {
                levels.push(pressure.level);
            }
            if is_refused {
                break 'full;
            }
        }
    }
    assert_eq!(levels, [Nominal, High, Critical]);
    stage.pump();
    assert_eq!(told(&mut stage, is_hub), [Critical], "the last of them");
    for conn in &conns {
        while stage.hub.receive(*conn, stage.now).is_some() {}
    }
    stage.pump();
    stage.advance(DWELL - NANO);
    assert_eq!((stage.hub.pressure().level, told(&mut stage, is_hub)), (Critical, vec![]));
    stage.advance(NANO);
    assert_eq!((stage.hub.pressure().level, told(&mut stage, is_hub)), (Nominal, vec![Nominal]));
    assert_eq!(stage.hub.stats().levels.hub, entered(1, 1, 1));
}

#[test]
fn a_volatile_message_is_sent_now_or_never() {
    let mut stage = Stage::new(|options| options.direct_lane.messages_max = 2);
    let conn = stage.join_raw();
    let volatile = |stage: &mut Stage, text: &str| stage.hub.send_volatile(conn, Payload::Text(text), stage.now);
    // Writable.
    assert_eq!(volatile(&mut stage, "1"), Ok(()));
    let len = stage.hub.poll_transmit().expect("a Transmit").len();
    // A Transmit is outstanding.
    assert_eq!(volatile(&mut stage, "2"), Err(SendError::NotWritable));
    // Blocked.
    stage.hub.handle_sent(conn, 0, stage.now);
    assert_eq!(volatile(&mut stage, "3"), Err(SendError::NotWritable));
    stage.hub.handle_writable(conn, stage.now);
    assert_eq!(stage.hub.poll_transmit().expect("again").len(), len);
    stage.hub.handle_sent(conn, len, stage.now);
    // The direct lane is full, of what was not polled.
    assert_eq!((volatile(&mut stage, "4"), volatile(&mut stage, "5")), (Ok(()), Ok(())));
    assert_eq!(volatile(&mut stage, "6"), Err(SendError::NotWritable));
    assert_eq!(outbound(&stage.hub, conn), (1_000, High), "nobody was kept waiting");
    let large = "x".repeat(1 + (1 << 20));
    assert_eq!(volatile(&mut stage, &large), Err(SendError::TooLarge));
    assert_eq!(stage.hub.stats().refused_volatile, 3);
    stage.pump();
    assert_eq!((stage.hub.stats().direct.sent.messages, stage.hub.stats().direct.waiting.messages), (3, 0));
    assert!(!stage.take_events().contains(&Event::Sendable(conn)), "nobody waits for room");
    stage.hang_up(conn);
    assert_eq!(volatile(&mut stage, "7"), Err(SendError::UnknownConnection));
    assert_eq!(stage.hub.stats().refused_volatile, 3);
}
