//! What is compressed for one connection alone, where that takes over what was sent before (RFC 7692 §7.1.1): read by an
//! inflater of the testkit's own, which is strict.

use std::time::Duration;

use forebay_core::wire::deflate::WindowBits;
use forebay_core::{
    AtLeastOnce, Config, ConnId, DeflateOptions, Delivery, Hub, LaneLimits, LaneOptions, LossReason, Message, Mode,
    Options, Payload, Peer, Policy, Start, TopicId,
};
use forebay_testkit::mini::Item;
use forebay_testkit::stage::{Stage, json_of_len};

use crate::direct::carry;
use crate::{NOW, OFFER, heard, inflating, plain, publish, stage, ticks, topic};

/// Memory for so many connections in both directions.
fn contexts(connections: usize) -> DeflateOptions {
    let one = WindowBits::MAX.compressor_bytes(8) + WindowBits::MAX.bytes();
    DeflateOptions { direct: true, context_bytes_max: connections * one, ..DeflateOptions::default() }
}

fn house(connections: usize) -> Stage {
    stage(|options| options.deflate = Some(contexts(connections)))
}

#[test]
fn messages_refer_to_those_before_them() {
    let mut stage = house(1);
    let topic = topic(&mut stage, |_| {});
    let [own, shared, neither] = [inflating(&mut stage), inflating(&mut stage), plain(&mut stage)];
    let all = [own, shared, neither];
    assert_eq!(stage.hub.agreed(own).map(|agreed| agreed.server.takes_over()), Some(true));
    assert_eq!(stage.hub.agreed(shared).map(|agreed| agreed.server.takes_over()), Some(false), "there is no more");
    for tick in ticks(0, 200) {
        publish(&mut stage, topic, &[tick]);
    }
    let told = all.map(|conn| heard(&mut stage, conn));
    assert_eq!(told[0].len(), 200);
    assert!(told[0] == told[1] && told[1] == told[2], "the same");
    assert_eq!(all.map(|conn| stage.client(conn).referred()), [199, 0, 0]);
    let stats = stage.hub.stats().compression;
    assert_eq!(
        (stats.sent.messages, stats.compressed.messages),
        (200, 200),
        "ticks are short: alone they stay as they are"
    );
}

/// How many bytes ticks of 80 bytes cost, so many published at a time, of a thousand as they are.
fn permille(at_a_time: u64, is_own: bool) -> u64 {
    let mut stage = stage(|options| {
        let context_bytes_max = if is_own { contexts(1).context_bytes_max } else { 0 };
        options.deflate = Some(DeflateOptions { message_bytes_min: 0, context_bytes_max, ..DeflateOptions::default() });
    });
    let topic = topic(&mut stage, |_| {});
    let [compressed, plain] = [inflating(&mut stage), plain(&mut stage)];
    let before = [compressed, plain].map(|conn| stage.client(conn).received_bytes);
    for round in 0..320 / at_a_time {
        publish(&mut stage, topic, &ticks(round * at_a_time, at_a_time));
    }
    let after = [compressed, plain].map(|conn| stage.client(conn).received_bytes);
    (after[0] - before[0]) * 1_000 / (after[1] - before[1])
}

#[test]
fn what_a_context_brings() {
    let measured = [(1, false), (1, true), (4, false), (4, true), (16, false), (16, true)]
        .map(|(at_a_time, is_own)| permille(at_a_time, is_own));
    println!("{measured:?} of a thousand: 1, 4, 16 at a time, each alone and with a context");
    let [one, one_own, four, four_own, sixteen, sixteen_own] = measured;
    assert!(one > 700 && one_own < 200 && four_own * 2 < four && sixteen_own < sixteen, "{measured:?}");
}

#[test]
fn ticks_together_are_one_message_and_refer_to_earlier_ones() {
    let mut stage = house(2);
    let topic = topic(&mut stage, |_| {});
    let conn = inflating(&mut stage);
    publish(&mut stage, topic, &ticks(0, 16));
    publish(&mut stage, topic, &ticks(16, 1));
    publish(&mut stage, topic, &ticks(17, 400));
    let told = heard(&mut stage, conn);
    let expected: Vec<String> =
        ticks(0, 417).into_iter().enumerate().map(|(nth, tick)| format!("{} {tick}", nth + 1)).collect();
    assert_eq!(told, expected);
    let client = stage.client(conn);
    assert!(client.compressed > 4 && client.compressed < 8, "{}: up to 16 KiB are one", client.compressed);
    assert_eq!(client.referred(), client.compressed - 1);
}

/// A stage with a client that takes over what was sent and has two ticks to get, in one unit.
fn frozen(policy: Policy) -> (Stage, TopicId, ConnId) {
    let mut stage = house(1);
    let topic = topic(&mut stage, |options| {
        options.policy = policy;
        options.lane = LaneLimits { messages_max: 8, bytes_max: 4_096 };
        options.message_bytes_max = 1_000;
        (options.keys_max, options.keys_bytes_max) = (8, 4_096);
    });
    let conn = inflating(&mut stage);
    publish(&mut stage, topic, &ticks(0, 3));
    heard(&mut stage, conn);
    for tick in ticks(3, 2) {
        stage.hub.publish(topic, Payload::Text(&tick), stage.now).expect("taken");
    }
    (stage, topic, conn)
}

#[test]
fn at_every_byte_it_is_sent_whole_or_anew() {
    for policy in [Policy::DropOldest, Policy::DropNewest, Policy::Block, Policy::Disconnect, Policy::LatestPerKey] {
        let len = {
            let (mut stage, _, conn) = frozen(policy);
            stage.hold(conn).len()
        };
        for taken in 0..=len {
            let (mut stage, topic, conn) = frozen(policy);
            let bytes = stage.hold(conn);
            stage.freeze(conn);
            let again = stage.hub.poll_transmit().is_none();
            assert!(again && bytes.len() == len, "it does not change while it is outstanding");
            stage.answer_by(conn, &bytes, taken);
            publish(&mut stage, topic, &ticks(5, 2));
            stage.thaw(conn);
            publish(&mut stage, topic, &ticks(7, 1));
            let told = heard(&mut stage, conn);
            let expected: Vec<String> =
                ticks(3, 5).into_iter().enumerate().map(|(n, t)| format!("{} {t}", n + 4)).collect();
            match policy {
                Policy::LatestPerKey => {
                    // One key: what was begun comes, else the newest.
                    let first = if taken == 0 { 3 } else { 1 };
                    assert_eq!(told.first(), Some(&expected[first]), "{policy}: {taken} of {len}");
                    assert_eq!(told.last(), expected.last());
                }
                _ => assert_eq!(told, expected, "{policy}: {taken} of {len}"),
            }
            // Only what follows a unit of which nothing was sent refers to nothing: that was this one, or the next.
            let (referred, compressed) = (stage.client(conn).referred(), stage.client(conn).compressed);
            let anew = if taken == 0 || taken == len { 2 } else { 1 };
            assert_eq!(referred, compressed - anew, "{policy}: {taken} of {len}");
            let stats = stage.hub.stats();
            assert_eq!(stats.lanes.conservation_error(), 0);
            assert_eq!(stats.compression.sent.messages, compressed, "what was begun is sent");
        }
    }
}

#[test]
fn overflow_between_polls_loses_what_was_not_begun() {
    for taken in [0, 1] {
        let (mut stage, topic, conn) = frozen(Policy::DropOldest);
        let bytes = stage.hold(conn);
        stage.freeze(conn);
        for round in 0..10 {
            publish(&mut stage, topic, &ticks(5 + round * 5, 5));
        }
        stage.answer_by(conn, &bytes, taken);
        stage.thaw(conn);
        publish(&mut stage, topic, &ticks(55, 1));
        let told = heard(&mut stage, conn);
        let begun = usize::from(taken > 0) * 2;
        assert_eq!(told.len(), begun + 1 + 9, "{told:?}");
        let from = 4 + begun;
        assert_eq!(told[begun], format!("gap t {from}-47 {} oldest", 48 - from));
        let ticks = ticks(47, 9).into_iter().enumerate().map(|(nth, tick)| format!("{} {tick}", nth + 48));
        assert!(told[begun + 1..].iter().cloned().eq(ticks), "{told:?}");
        assert_eq!(stage.hub.stats().lanes.lost_by(LossReason::Oldest).messages, 48 - from as u64);
    }
}

#[test]
fn a_lane_that_ends_between_polls_leaves_a_stream_that_can_be_read() {
    for taken in [0, 1, 30] {
        let (mut stage, topic, conn) = frozen(Policy::DropOldest);
        let bytes = stage.hold(conn);
        stage.freeze(conn);
        stage.client(conn).unsubscribe("t");
        stage.pump();
        stage.answer_by(conn, &bytes, taken);
        stage.thaw(conn);
        let told = heard(&mut stage, conn);
        assert_eq!(
            told.iter().filter(|told| told.contains("symbol")).count(),
            if taken > 0 { 2 } else { 0 },
            "{told:?}"
        );
        stage.subscribe(conn, "t");
        publish(&mut stage, topic, &ticks(5, 3));
        assert_eq!(heard(&mut stage, conn).len(), 3);
        assert_eq!(stage.client(conn).compressed, if taken > 0 { 3 } else { 2 });
    }
}

#[test]
fn what_is_sent_otherwise_is_nothing_to_refer_to() {
    // Topics of every kind, replies, pings and what is sent again in turns; two consumers have a context, one has not.
    let mut stage = stage(|options| {
        options.deflate = Some(contexts(2));
        options.transmit_bytes_max = 2_048;
    });
    let names = ["t", "plain", "latest", "again"];
    let topics = names.map(|name| {
        stage.topic(name, |options| {
            options.deflate = name != "plain";
            options.lane = LaneLimits { messages_max: 100, bytes_max: 1 << 20 };
            (options.keys_max, options.keys_bytes_max) = (100, 1 << 20);
            options.message_bytes_max = 4_000;
            match name {
                "latest" => options.policy = Policy::LatestPerKey,
                "again" => options.delivery = Delivery::AtLeastOnce(AtLeastOnce::default()),
                _ => {}
            }
            if name == "again" {
                options.policy = Policy::DropNewest;
            }
        })
    });
    let conns: [ConnId; 3] = std::array::from_fn(|_| stage.join_offering(Mode::Dialect, OFFER));
    for conn in conns {
        names.iter().for_each(|name| stage.subscribe(conn, name));
    }
    let mut told = [const { Vec::new() }; 3];
    for round in 0..60 {
        let number = usize::try_from(round).expect("few");
        if number % 7 == 3 {
            conns.iter().for_each(|conn| stage.let_through(*conn, 100 + number * 13));
        }
        for (nth, tick) in ticks(round * 8, 8).into_iter().enumerate() {
            let message = Message::new(Payload::Text(&tick)).with_key(["a", "b", "c"][nth % 3]);
            stage.hub.publish(topics[(nth / 2 + number) % 4], message, stage.now).expect("taken");
        }
        stage.pump();
        if number % 7 == 6 {
            conns.iter().for_each(|conn| stage.thaw(*conn));
        }
        stage.advance(Duration::from_secs(1)); // Nobody acknowledges: some are sent again.
        for (conn, told) in conns.iter().zip(&mut told) {
            told.extend(heard(&mut stage, *conn));
        }
    }
    for (conn, told) in conns.iter().zip(&mut told) {
        stage.thaw(*conn);
        told.extend(heard(&mut stage, *conn));
    }
    assert!(stage.hub.stats().acks.retries.messages > 0);
    let referred = conns.map(|conn| stage.client(conn).referred());
    assert!(referred[0] > 60 && referred[1] > 60 && referred[2] == 0, "{referred:?}");
    // The topics that lose nothing are told to all, in their order.
    let text = |told: &[String], name: usize| {
        let of_topic = |round: usize, nth: usize| (nth / 2 + round) % 4 == name;
        let numbers = (0..60).flat_map(|round| (0..8).map(move |nth| (round, nth)));
        let ticks = numbers
            .filter(|(round, nth)| of_topic(*round, *nth))
            .map(|(round, nth)| ticks((round * 8 + nth) as u64, 1));
        let mut told = told.iter();
        ticks.flatten().all(|tick| told.any(|told| told.ends_with(&tick)))
    };
    for (nth, told) in told.iter().enumerate() {
        assert!(text(told, 0) && text(told, 1), "client {nth}: {told:?}");
    }
}

#[test]
fn raw_connections_get_each_message_by_itself() {
    let mut stage = house(1);
    let topics =
        [("t", true), ("plain", false)].map(|(name, deflate)| stage.topic(name, |options| options.deflate = deflate));
    let conns = [stage.join_offering(Mode::Raw, OFFER), stage.join_offering(Mode::Raw, OFFER), stage.join_raw()];
    for conn in conns {
        for topic in topics {
            stage.hub.subscribe(conn, topic, LaneOptions::default(), Start::Latest, stage.now).expect("subscribed");
        }
    }
    let mut count = 0;
    for round in 0..20 {
        for (nth, tick) in ticks(round * 9, 9).iter().enumerate() {
            if nth % 3 == 2 {
                for conn in conns {
                    stage.hub.send(conn, Payload::Text(tick), stage.now).expect("taken");
                }
            } else {
                let topic = topics[nth % 3 * usize::from(nth > 4)];
                stage.hub.publish(topic, Payload::Text(tick), stage.now).expect("taken");
            }
            count += 1;
        }
        stage.pump();
    }
    let items = conns.map(|conn| stage.client(conn).items.drain(..).collect::<Vec<Item>>());
    assert_eq!(items[0].len(), count);
    assert!(items[0] == items[1] && items[1] == items[2], "in the order in which they were published");
    let plain = 20; // One of nine is of the topic that is not compressed.
    let counts = conns.map(|conn| (stage.client(conn).compressed, stage.client(conn).referred()));
    assert_eq!(counts[0], (count as u64 - plain, count as u64 - plain - 1), "{counts:?}");
    assert_eq!((counts[1].1, counts[2]), (0, (0, 0)));
}

#[test]
fn where_there_is_no_memory_for_it_shared_forms_are_sent_and_never_mixed_up() {
    let budget = 1 << 20;
    let mut stage = stage(|options| {
        options.deflate = Some(contexts(1));
        options.resident_bytes_max = budget;
        (options.topic_defaults.message_bytes_max, options.topic_defaults.log_bytes_max) = (1_000, 8_192);
        (options.message_bytes_max, options.inbound_bytes_max) = (2_048, 4_096);
    });
    let [topic, bulk] = ["t", "bulk"].map(|name| {
        stage.topic(name, |options| {
            options.lane = LaneLimits { messages_max: 10_000, bytes_max: 1 << 20 };
            (options.message_bytes_max, options.log_bytes_max) = (1_000, budget);
            options.deflate = name == "t";
        })
    });
    let conn = inflating(&mut stage);
    let hoarder = stage.join();
    stage.subscribe(hoarder, "bulk");
    let fill = |stage: &mut Stage, up_to: usize| {
        stage.freeze(hoarder);
        while stage.hub.stats().resident_bytes < up_to {
            stage.publish(bulk, &json_of_len(1_000)).expect("taken");
        }
    };
    let logs = budget - budget / 16;
    fill(&mut stage, logs - WindowBits::MAX.compressor_bytes(8));
    let mut number = 0;
    let mut tick = |stage: &mut Stage| {
        publish(stage, topic, &ticks(number, 20));
        number += 20;
        assert_eq!(heard(stage, conn).len(), 20);
        (stage.client(conn).compressed, stage.client(conn).referred())
    };
    assert_eq!([tick(&mut stage), tick(&mut stage)], [(1, 0), (2, 0)], "no compressor, but forms");
    stage.thaw(hoarder);
    assert_eq!([tick(&mut stage), tick(&mut stage)], [(3, 0), (4, 1)], "a compressor");
    fill(&mut stage, logs);
    let (compressed, referred) = tick(&mut stage);
    assert_eq!(referred, 1, "there is no room for a unit");
    stage.thaw(hoarder);
    assert_eq!([tick(&mut stage), tick(&mut stage)], [(compressed + 1, 1), (compressed + 2, 2)], "it begins anew");
}

#[test]
fn memory_is_taken_with_the_first_message_and_given_back_at_the_end() {
    let mut stage = house(2);
    let topic = topic(&mut stage, |_| {});
    let conn = inflating(&mut stage);
    let idle = stage.hub.stats().resident_bytes;
    publish(&mut stage, topic, &ticks(0, 1));
    let with = stage.hub.stats().resident_bytes;
    let compressor = WindowBits::MAX.compressor_bytes(8);
    assert!(with >= idle + compressor, "{with} after {idle}");
    stage.hang_up(conn);
    assert!(stage.hub.stats().resident_bytes <= with - compressor);
}

#[test]
fn direct_messages_of_raw_connections_are_so_in_both_roles() {
    let hub = |seed| {
        let options = Options { deflate: Some(contexts(1)), ..Options::default() };
        Hub::new(Config::try_from(options).expect("good"), [seed; 32], NOW)
    };
    let (mut server, mut client) = (hub(1), hub(2));
    let at_server = server.handle_accept(Peer { mode: Mode::Raw, ..Peer::default() }, NOW).expect("accepted");
    let request = forebay_core::ClientRequest { host: "test", target: "/", ..Default::default() };
    let at_client = client.connect(request, NOW).expect("started");
    let run = |server: &mut Hub, client: &mut Hub| {
        while carry(client, server, at_server) | carry(server, client, at_client) {
            server.check_invariants();
            client.check_invariants();
        }
    };
    run(&mut server, &mut client);
    for round in 0..20 {
        let messages = [ticks(round, 1).remove(0), String::new(), json_of_len(40_000), ticks(round + 9, 1).remove(0)];
        for message in &messages {
            for (hub, conn) in [(&mut client, at_client), (&mut server, at_server)] {
                hub.send(conn, Payload::Text(message), NOW).expect("taken");
            }
        }
        run(&mut server, &mut client);
        for (hub, conn) in [(&mut client, at_client), (&mut server, at_server)] {
            for message in &messages {
                assert_eq!(hub.receive(conn, NOW).expect("a message").as_text(), Some(&**message));
            }
            assert!(hub.receive(conn, NOW).is_none());
        }
    }
    for hub in [&server, &client] {
        let stats = hub.stats();
        assert_eq!((stats.compression.sent.messages, stats.inflated.messages), (80, 80));
        let per_round = stats.compression.sent_bytes / 20;
        assert!(per_round < 300, "{per_round} bytes");
    }
}

#[test]
fn a_window_of_the_peers_is_that_of_its_compressor() {
    let mut stage = house(1);
    let conn = stage.join_offering(Mode::Raw, "permessage-deflate; server_max_window_bits=9");
    let text: String = ticks(0, 2).concat();
    for _ in 0..4 {
        stage.hub.send(conn, Payload::Text(&text), stage.now).expect("taken");
        stage.hub.send(conn, Payload::Text(&text), stage.now).expect("taken");
        stage.hub.send(conn, Payload::Binary(&[7; 5_000]), stage.now).expect("taken");
        stage.pump();
    }
    let client = stage.client(conn);
    assert_eq!(client.items.drain(..).filter(|item| *item == Item::Text(text.clone())).count(), 8);
    assert_eq!((client.compressed, client.referred() >= 4), (12, true));
}
