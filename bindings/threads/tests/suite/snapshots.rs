//! What an operator is shown.

use std::time::Duration;

use super::common::{HANG, start};
use super::raw;
use crate::binding::{CallError, LaneOptions, Payload, Policy, PublishError, Server, ServerOptions, TopicOptions};

#[test]
fn a_snapshot_shows_who_is_behind_and_what_the_kernel_holds_for_him() {
    let mut topic = TopicOptions::default();
    topic.lane.messages_max = 100;
    let options = ServerOptions {
        topics: vec![("busy".to_owned(), topic), ("idle".to_owned(), TopicOptions { policy: Policy::Block, ..topic })],
        ..ServerOptions::default()
    };
    let server = start(options);
    let frozen = raw::subscriber(&server, "busy");
    let taker = server.handle.subscribe("undeclared", LaneOptions::default()).unwrap();
    server.handle.publish("undeclared", Payload::Text("0")).unwrap();
    let payload = format!("\"{}\"", "x".repeat(8_190));
    while server.handle.topic_totals("busy").unwrap().lost_total().messages < 100 {
        server.handle.publish("busy", Payload::Text(&payload)).unwrap();
    }

    let all = server.handle.snapshot(10).unwrap();
    let names: Vec<_> = all.topics.iter().map(|topic| (&*topic.name, topic.is_declared, topic.policy)).collect();
    assert_eq!(
        names,
        [("busy", true, Policy::DropOldest), ("idle", true, Policy::Block), ("undeclared", false, Policy::DropOldest)]
    );
    let [busy, idle, undeclared] = &all.topics[..] else { panic!("three topics") };
    assert!(busy.oldest_age.unwrap() > Duration::ZERO);
    assert_eq!((idle.oldest_age, undeclared.oldest_age), (Some(Duration::ZERO), None));
    assert_eq!(idle.pressure.totals, Default::default());

    let [lane, local] = &all.lanes[..] else { panic!("two lanes") };
    assert_eq!((&*lane.topic, lane.peer), ("busy", Some(frozen.local_addr().unwrap())));
    let connection = lane.connection.unwrap();
    assert!(lane.conn.is_some() && connection.lanes == 1);
    assert!(connection.kernel_bytes > 0, "he reads nothing");
    assert_eq!(lane.pressure.totals, busy.pressure.totals, "he is the only one");
    assert!(lane.pressure.totals.waiting.messages >= 100 && lane.pressure.totals.lost_total().messages >= 100);
    assert_eq!((lane.pressure.messages_max, lane.pressure.policy), (100, Policy::DropOldest));
    assert_eq!((&*local.topic, local.peer, local.conn, local.connection), ("undeclared", None, None, None));
    assert_eq!(local.pressure.totals.waiting.messages, 1);

    let mut sum = busy.pressure.totals;
    sum += &undeclared.pressure.totals;
    assert_eq!((all.stats.lanes, all.stats.lanes.conservation_error()), (sum, 0));
    assert_eq!((all.pressure.waiting, all.lanes_omitted), (sum.waiting, 0));
    assert_eq!((all.stats.connections, all.stats.topics, all.stats.lanes_now), (1, 3, 2));

    for (lanes_max, shown) in [(0, 0), (1, 1), (2, 2), (usize::MAX, 2)] {
        let some = server.handle.snapshot(lanes_max).unwrap();
        assert_eq!((some.lanes.len(), some.lanes_omitted, some.topics.len()), (shown, 2 - shown as u64, 3));
    }
    drop((frozen, taker));
    let handle = server.handle.clone();
    server.stop();
    assert!(handle.snapshot(1).is_none(), "it has stopped");
    assert!(handle.snapshot_timeout(1, HANG).is_none(), "it has stopped");
}

#[test]
fn who_is_not_answered_gives_up_even_if_there_is_no_room_for_the_question() {
    let server = Server::unbound(ServerOptions { mailbox_max: 1, ..ServerOptions::default() }).unwrap();
    let handle = server.handle();
    for _ in 0..2 {
        assert!(handle.snapshot_timeout(1, Duration::from_millis(1)).is_none());
    }
    let published = handle.publish_wait("t", Payload::Text("0"), Duration::from_millis(1));
    assert_eq!(published, Err(CallError::Refused(PublishError::Full)));
    let running = std::thread::spawn(move || server.run());
    let snapshot = handle.snapshot_timeout(1, Duration::MAX).unwrap();
    assert_eq!(snapshot.stats.published.messages, 0, "given up is not published");
    handle.shutdown();
    running.join().unwrap().unwrap();
}
