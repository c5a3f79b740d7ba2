//! Two hubs, one the server and one the client of the other, with nothing between them but copied bytes.
#![cfg(all(feature = "json", feature = "std"))]

use std::time::Duration;

use forebay_core::wire::CloseCode;
use forebay_core::{
    ClientRequest, Config, ConnId, Effect, EndReason, Entry, Event, Flow, Hub, Instant, LaneOptions, Level, Mode,
    Options, Payload, Peer, Policy, PublishError, Scope, SendError, Start, SubscribeError, TopicOptions,
};

struct Pair {
    server: Hub,
    client: Hub,
    /// The same connection on both sides.
    at_server: ConnId,
    at_client: ConnId,
    now: Instant,
    server_events: Vec<Event>,
    client_events: Vec<Event>,
    /// How many bytes one write takes.
    write_max: usize,
    server_closed: bool,
    client_closed: bool,
}

fn hub(options: Options, seed: u8) -> Hub {
    Hub::new(Config::try_from(options).unwrap(), [seed; 32], Instant::ZERO)
}

impl Pair {
    fn new(options: Options, mode: Mode) -> Self {
        let (mut server, mut client) = (hub(options, 1), hub(Options::default(), 2));
        let at_server = server.handle_accept(Peer { mode, ..Peer::default() }, Instant::ZERO).unwrap();
        let request = ClientRequest { host: "test", target: "/", protocols: &["forebay.v1"], ..Default::default() };
        let request = if mode == Mode::Raw { ClientRequest { protocols: &[], ..request } } else { request };
        let at_client = client.connect(request, Instant::ZERO).unwrap();
        let mut pair = Self {
            server,
            client,
            at_server,
            at_client,
            now: Instant::ZERO,
            server_events: Vec::new(),
            client_events: Vec::new(),
            write_max: usize::MAX,
            server_closed: false,
            client_closed: false,
        };
        pair.run();
        pair
    }

    /// Carries bytes both ways until neither hub wants anything.
    fn run(&mut self) {
        loop {
            let there = carry(&mut self.server, &mut self.client, self.at_client, self.write_max, self.now);
            let back = carry(&mut self.client, &mut self.server, self.at_server, self.write_max, self.now);
            let effects = self.effects();
            while let Some(event) = self.server.poll_event() {
                self.server_events.push(event);
            }
            while let Some(event) = self.client.poll_event() {
                self.client_events.push(event);
            }
            self.server.check_invariants();
            self.client.check_invariants();
            if !there && !back && !effects {
                return;
            }
        }
    }

    fn effects(&mut self) -> bool {
        let mut any = false;
        while let Some(effect) = self.server.poll_effect() {
            any = true;
            if let Effect::Close(_) = effect {
                self.server_closed = true;
                self.client.handle_eof(self.at_client, self.now);
            }
        }
        while let Some(effect) = self.client.poll_effect() {
            any = true;
            if let Effect::Close(_) = effect {
                self.client_closed = true;
                self.server.handle_eof(self.at_server, self.now);
            }
        }
        any
    }

    fn say(&mut self, text: &str) {
        self.client.send(self.at_client, Payload::Text(text), self.now).unwrap();
        self.run();
    }

    /// All the client has received.
    fn heard(&mut self) -> Vec<String> {
        let mut heard = Vec::new();
        while let Some(message) = self.client.receive(self.at_client, self.now) {
            heard.push(message.as_text().unwrap().to_owned());
        }
        heard
    }

    fn wait(&mut self, duration: Duration) {
        self.now = self.now + duration;
        self.server.handle_timeout(self.now);
        self.client.handle_timeout(self.now);
        self.run();
    }
}

fn carry(from: &mut Hub, to: &mut Hub, conn: ConnId, write_max: usize, now: Instant) -> bool {
    let mut carried = false;
    while let Some(transmit) = from.poll_transmit() {
        let bytes: Vec<u8> = transmit.slices().flatten().copied().collect();
        assert_eq!(bytes.len(), transmit.len());
        assert_eq!(bytes, transmit.segments().flatten().collect::<Vec<u8>>());
        assert_eq!(bytes, transmit.io_slices().iter().flat_map(|slice| slice.to_vec()).collect::<Vec<u8>>());
        let (id, written) = (transmit.conn(), bytes.len().min(write_max));
        from.handle_sent(id, written, now);
        from.handle_writable(id, now);
        to.handle_bytes(conn, &bytes[..written], now);
        carried = true;
    }
    carried
}

#[test]
fn a_hub_may_move_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<Hub>();
}

#[test]
fn a_client_subscribes_publishes_and_receives() {
    let mut pair = Pair::new(Options::default(), Mode::Dialect);
    assert_eq!(pair.client.protocol(pair.at_client), Some("forebay.v1"));
    let hello = pair.heard();
    assert!(hello.len() == 1 && hello[0].starts_with(r#"{"op":"hello","version":1,"session":""#), "{hello:?}");
    pair.say(r#"{"op":"subscribe","topic":"t","id":1}"#);
    let ok = pair.heard();
    assert!(
        ok[0].starts_with(r#"{"op":"ok","id":1,"topic":"t","epoch":""#)
            && ok[0].ends_with(r#","seq":0,"policy":"drop-oldest","delivery":"best-effort"}"#),
        "{ok:?}"
    );
    pair.say(r#"{"op":"publish","topic":"t","data": [1, "é"] ,"id":"two"}"#);
    let answers =
        [r#"{"op":"ok","id":"two","seq":1,"matched":1}"#, r#"{"op":"message","topic":"t","seq":1,"data":[1, "é"]}"#];
    assert_eq!(pair.heard(), answers);
    pair.say(r#"{"op":"publish","topic":"t","data64":"AAE="}"#);
    assert_eq!(pair.heard(), [r#"{"op":"message","topic":"t","seq":2,"data64":"AAE="}"#]);
    let topic = pair.server.find_topic("t").unwrap();
    pair.server.publish(topic, Payload::Text("true"), pair.now).unwrap();
    pair.run();
    assert_eq!(pair.heard(), [r#"{"op":"message","topic":"t","seq":3,"data":true}"#]);
    assert_eq!(pair.server.publish(topic, Payload::Text("{"), pair.now), Err(PublishError::NotJson));
    pair.say(r#"{"op":"unsubscribe","topic":"t","id":3}"#);
    pair.say(r#"{"op":"ping"}"#);
    assert_eq!(pair.heard(), [r#"{"op":"ok","id":3,"topic":"t"}"#, r#"{"op":"pong"}"#]);
    assert_eq!(pair.server.find_topic("t"), None, "an undeclared topic without lanes is forgotten");
}

#[test]
fn one_byte_writes_change_nothing() {
    let mut pair = Pair::new(Options::default(), Mode::Dialect);
    pair.heard();
    pair.write_max = 1;
    pair.say(r#"{"op":"subscribe","topic":"t","id":1}"#);
    for number in 0..5 {
        let topic = pair.server.find_topic("t").unwrap();
        pair.server.publish(topic, Payload::Text(&number.to_string()), pair.now).unwrap();
        pair.server.publish(topic, Payload::Text(&number.to_string()), pair.now).unwrap();
        pair.run();
    }
    let heard = pair.heard();
    assert_eq!(heard.len(), 11);
    assert_eq!(heard[10], r#"{"op":"message","topic":"t","seq":10,"data":4}"#);
    let stats = pair.server.stats();
    assert_eq!((stats.lanes.sent.messages, stats.lanes.waiting.messages), (10, 0));
}

#[test]
fn the_closing_handshake_goes_both_ways() {
    for by_server in [true, false] {
        let mut pair = Pair::new(Options::default(), Mode::Dialect);
        let code = CloseCode::new(4000).unwrap();
        let (hub, conn) =
            if by_server { (&mut pair.server, pair.at_server) } else { (&mut pair.client, pair.at_client) };
        hub.close(conn, code, "done", pair.now);
        pair.run();
        pair.heard();
        pair.run();
        assert!(pair.server_closed && !pair.client_closed, "the server closes the transport (RFC 6455 §7.1.1)");
        let (closed, heard) = (EndReason::Closed(code), EndReason::PeerClosed(Some(code)));
        let (server, client) = if by_server { (closed, heard) } else { (heard, closed) };
        let last = |events: &[Event]| *events.last().unwrap();
        assert_eq!(last(&pair.server_events), Event::Closed { conn: pair.at_server, reason: server });
        assert_eq!(last(&pair.client_events), Event::Closed { conn: pair.at_client, reason: client });
        assert_eq!((pair.server.connections(), pair.client.connections()), (0, 0));
        assert_eq!((pair.server.stats().resident_bytes, pair.client.stats().resident_bytes), (0, 0));
    }
}

#[test]
fn a_raw_connection_gets_and_sends_bare_messages() {
    let mut pair = Pair::new(Options::default(), Mode::Raw);
    let topic = pair.server.topic("feed", TopicOptions::default()).unwrap();
    pair.server.subscribe(pair.at_server, topic, LaneOptions::default(), Start::Latest, pair.now).unwrap();
    pair.server.publish(topic, Payload::Text("1"), pair.now).unwrap();
    pair.server.send(pair.at_server, Payload::Text("not JSON"), pair.now).unwrap();
    pair.server.publish(topic, Payload::Text("2"), pair.now).unwrap();
    pair.run();
    assert_eq!(pair.heard(), ["1", "not JSON", "2"], "in the order in which they were given");
    pair.client.send(pair.at_client, Payload::Binary(&[0, 255]), pair.now).unwrap();
    pair.run();
    assert!(pair.server_events.contains(&Event::Received(pair.at_server)));
    let message = pair.server.receive(pair.at_server, pair.now).unwrap();
    assert_eq!((message.is_text, &message.bytes[..]), (false, &[0, 255][..]));
}

#[test]
fn a_direct_lane_refuses_when_full_and_tells_of_room() {
    let mut pair = Pair::new(Options::default(), Mode::Dialect);
    let mut sent = 0;
    let error = loop {
        match pair.client.send(pair.at_client, Payload::Text(r#"{"op":"ping"}"#), pair.now) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((sent, error), (Options::default().direct_lane.messages_max, SendError::Full));
    pair.client_events.clear();
    pair.run();
    assert_eq!(pair.client_events.iter().filter(|event| **event == Event::Sendable(pair.at_client)).count(), 1);
    assert_eq!(pair.heard().len(), sent as usize + 1);
}

#[test]
fn an_idle_connection_is_pinged_and_a_silent_one_is_ended() {
    let mut pair = Pair::new(Options::default(), Mode::Dialect);
    for _ in 0..10 {
        pair.wait(Duration::from_secs(25));
    }
    assert_eq!((pair.server.connections(), pair.client.connections()), (1, 1), "pongs keep it");
    // Now the client's bytes are lost.
    for _ in 0..3 {
        pair.now = pair.now + Duration::from_secs(25);
        pair.server.handle_timeout(pair.now);
        while let Some(transmit) = pair.server.poll_transmit() {
            let (conn, len) = (transmit.conn(), transmit.len());
            pair.server.handle_sent(conn, len, pair.now);
        }
    }
    let mut ended = None;
    while let Some(event) = pair.server.poll_event() {
        ended = Some(event);
    }
    assert_eq!(ended, Some(Event::Closed { conn: pair.at_server, reason: EndReason::PongTimeout }));
}

#[test]
fn an_in_process_consumer_is_bounded_and_told_what_it_missed() {
    let mut hub = hub(Options::default(), 1);
    let topic = hub.topic("t", TopicOptions::default()).unwrap();
    let limits = LaneOptions { messages_max: Some(3), ..LaneOptions::default() };
    let lane = hub.subscribe_local(topic, limits, Start::Latest, Instant::ZERO).unwrap();
    for number in 1..=5 {
        hub.publish(topic, Payload::Text(&number.to_string()), Instant::ZERO).unwrap();
    }
    assert_eq!(hub.poll_event(), Some(Event::Ready(lane)));
    let pressure = Event::Pressure { scope: Scope::Lane(lane), level: Level::Critical };
    assert_eq!(hub.poll_event(), Some(pressure), "it lost two");
    assert_eq!(hub.poll_event(), None, "once until it is empty");
    let Some(Entry::Gap(gap)) = hub.take(lane, Instant::ZERO) else { panic!("the gap comes first") };
    assert_eq!((gap.from, gap.to, gap.missed), (1, 2, 2));
    for number in 3..=5 {
        let Some(Entry::Message { seq, payload }) = hub.take(lane, Instant::ZERO) else { panic!("a message") };
        assert_eq!((seq, payload.as_text()), (number, Some(&*number.to_string())));
    }
    assert_eq!(hub.take(lane, Instant::ZERO), None);
    hub.check_invariants();
    hub.publish(topic, Payload::Binary(&[1]), Instant::ZERO).unwrap();
    assert_eq!(hub.poll_event(), Some(Event::Ready(lane)), "and again after that");
    assert!(hub.unsubscribe_local(lane, Instant::ZERO));
    hub.check_invariants();
    assert_eq!(hub.stats().lanes.lost_total().messages, 3);
}

#[test]
fn a_full_block_topic_refuses_and_then_tells_of_room() {
    let options = TopicOptions { policy: Policy::Block, ..TopicOptions::default() };
    let mut hub = hub(Options::default(), 1);
    let topic = hub.topic("t", options).unwrap();
    let limits = LaneOptions { messages_max: Some(4), ..LaneOptions::default() };
    let lane = hub.subscribe_local(topic, limits, Start::Latest, Instant::ZERO).unwrap();
    let publish = |hub: &mut Hub| hub.publish(topic, Payload::Text("1"), Instant::ZERO);
    for _ in 0..4 {
        publish(&mut hub).unwrap();
    }
    assert_eq!(publish(&mut hub), Err(PublishError::Full));
    assert_eq!(hub.stats().published.messages, 4);
    hub.check_invariants();
    let events = |hub: &mut Hub| std::iter::from_fn(|| hub.poll_event()).collect::<Vec<_>>();
    let critical = |scope| Event::Pressure { scope, level: Level::Critical };
    let pause = Event::Upstream { topic, flow: Flow::Pause };
    let told = [Event::Ready(lane), critical(Scope::Lane(lane)), critical(Scope::Topic(topic)), pause];
    assert_eq!(events(&mut hub), told);
    hub.take(lane, Instant::ZERO).unwrap();
    assert_eq!(events(&mut hub), [], "three of four is above the low mark");
    hub.take(lane, Instant::ZERO).unwrap();
    assert_eq!(events(&mut hub), [Event::Drained(topic)]);
    publish(&mut hub).unwrap();
    hub.check_invariants();
}

#[test]
fn a_connection_in_the_client_role_has_no_lanes() {
    let mut pair = Pair::new(Options::default(), Mode::Raw);
    let topic = pair.client.topic("feed", TopicOptions::default()).unwrap();
    let lane = pair.client.subscribe(pair.at_client, topic, LaneOptions::default(), Start::Latest, pair.now);
    pair.client.publish(topic, Payload::Text("1"), pair.now).unwrap();
    pair.run();
    assert_eq!(pair.server_events.iter().filter(|event| matches!(event, Event::Closed { .. })).count(), 0);
    assert_eq!(lane, Err(SubscribeError::ClientRole), "frames of topics have no masks");
}
