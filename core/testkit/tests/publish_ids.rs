//! Publishes that are repeated with the same id: taken once, answered as the first time.

use forebay_core::{
    ConnId, LaneOptions, Message, PUBLISH_ID_BYTES_MAX, Payload, Policy, PublishError, Published, Start, TopicId,
    TopicOptions,
};
use forebay_testkit::mini::{Client, Wish};
use forebay_testkit::stage::{Stage, briefs, json_of_len};

fn stage(change: impl FnOnce(&mut TopicOptions)) -> (Stage, TopicId) {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", change);
    (stage, topic)
}

fn publish_as(stage: &mut Stage, topic: TopicId, id: &str, json: &str) -> Result<Published, PublishError> {
    let published = stage.hub.publish(topic, Message::new(Payload::Text(json)).with_id(id), stage.now);
    stage.hub.check_invariants();
    published
}

fn ask(client: &mut Client, id: &str, json: &str) {
    client.publish_once("t", id, json, 0);
}

fn told(stage: &mut Stage, conn: ConnId) -> Vec<String> {
    stage.pump();
    briefs(stage, conn)
}

#[test]
fn a_publish_that_is_repeated_is_answered_as_the_first_time_and_not_published_again() {
    let (mut stage, topic) = stage(|_| {});
    let (reader, first, second) = (stage.join(), stage.join(), stage.join());
    stage.subscribe(reader, "t");
    ask(stage.client(first), "a", "1");
    assert_eq!(told(&mut stage, first), ["published 1 1"]);
    stage.hang_up(first);
    ask(stage.client(second), "b", "2");
    ask(stage.client(second), "a", "1");
    assert_eq!(told(&mut stage, second), ["published 2 1", "published 1 before"]);
    let again = publish_as(&mut stage, topic, "b", "\"whatever it says now\"").unwrap();
    let head = stage.hub.topic_pressure(topic).unwrap().head;
    assert_eq!((again.position, again.matched, again.is_duplicate), (head, 0, true));
    assert_eq!(told(&mut stage, reader), ["message t 1 1", "message t 2 2"]);
    let stats = stage.hub.stats();
    assert_eq!((stats.published.messages, stats.duplicates, stats.lanes.entered.messages), (2, 2, 2));
    // Without an id nothing is ever the same.
    for expected in 3..5 {
        assert_eq!(publish_as(&mut stage, topic, "", "1").unwrap().position.seq, expected);
    }
}

#[test]
fn the_newest_ids_are_remembered() {
    for ids_max in [1, 2, 3, 100] {
        let (mut stage, topic) = stage(|options| options.publish_ids_max = ids_max);
        let ids = u64::from(ids_max);
        let mut publish = |number: u64| publish_as(&mut stage, topic, &format!("id {number}"), "1").unwrap();
        for number in 1..=ids {
            assert!(!publish(number).is_duplicate);
        }
        assert_eq!((publish(1).is_duplicate, publish(1).position.seq), (true, 1), "the last {ids_max} are known");
        assert!(!publish(ids + 1).is_duplicate);
        assert_eq!(publish(ids + 1).position.seq, ids + 1);
        assert_eq!(publish(1).position.seq, ids + 2, "one more has pushed it out");
    }
}

#[test]
fn an_id_has_bounds() {
    let (mut stage, topic) = stage(|_| {});
    let longest = "i".repeat(PUBLISH_ID_BYTES_MAX);
    assert!(publish_as(&mut stage, topic, &longest, "1").is_ok());
    for id in [format!("{longest}i"), "a\nb".into(), "\u{7f}".into()] {
        assert_eq!(publish_as(&mut stage, topic, &id, "1"), Err(PublishError::InvalidId));
        let conn = stage.join();
        ask(stage.client(conn), &id, "1");
        assert_eq!(told(&mut stage, conn), ["error bad-id"]);
    }
    assert_eq!(stage.hub.stats().published.messages, 1);
}

#[test]
fn a_known_id_is_looked_at_before_everything_else() {
    let (mut stage, topic) = stage(|options| {
        (options.policy, options.lane.messages_max, options.message_bytes_max) = (Policy::Block, 1, 10);
    });
    stage.hub.subscribe_local(topic, LaneOptions::default(), Start::Latest, stage.now).unwrap();
    publish_as(&mut stage, topic, "a", "1").unwrap();
    // The lane is full; besides, this is too large, has a key that may not be, and is no JSON.
    let message = Message::new(Payload::Text("[1,1,1,1,1,1,1,1,1")).with_id("a").with_key("\n");
    assert!(stage.hub.publish(topic, message, stage.now).unwrap().is_duplicate);
    assert_eq!(publish_as(&mut stage, topic, "b", "2"), Err(PublishError::Full));
    // Nor does it wait behind others.
    let (parked, repeats) = (stage.join(), stage.join());
    ask(stage.client(parked), "c", "3");
    stage.pump();
    ask(stage.client(repeats), "a", "1");
    assert_eq!((told(&mut stage, parked), told(&mut stage, repeats)), (vec![], vec!["published 1 before".into()]));
}

#[test]
fn what_was_refused_is_not_remembered() {
    let (mut stage, topic) = stage(|options| options.message_bytes_max = 10);
    assert_eq!(publish_as(&mut stage, topic, "a", "[1,1,1,1,1]"), Err(PublishError::TooLarge));
    assert_eq!(publish_as(&mut stage, topic, "a", "{"), Err(PublishError::NotJson));
    assert!(!publish_as(&mut stage, topic, "a", "1").unwrap().is_duplicate);
}

#[test]
fn publishes_that_wait_are_looked_at_when_they_are_tried() {
    let (mut stage, topic) = stage(|options| (options.policy, options.lane.messages_max) = (Policy::Block, 1));
    let lane = stage.hub.subscribe_local(topic, LaneOptions::default(), Start::Latest, stage.now).unwrap();
    publish_as(&mut stage, topic, "", "0").unwrap();
    // Two clients have the same to say: the second one does so because the first one's connection seemed to be lost.
    let (first, second) = (stage.join(), stage.join());
    ask(stage.client(first), "a", "1");
    stage.pump();
    ask(stage.client(second), "a", "1");
    stage.pump();
    assert!(stage.hub.take(lane, stage.now).is_some());
    assert_eq!(
        (told(&mut stage, first), told(&mut stage, second)),
        (vec!["published 2 1".to_owned()], vec!["published 2 before".to_owned()])
    );
    assert_eq!(stage.hub.topic_pressure(topic).unwrap().head.seq, 2);
}

#[test]
fn ids_are_the_topics() {
    let mut stage = Stage::new(|_| {});
    let conn = stage.join();
    for topic in ["t", "u"] {
        stage.client(conn).subscribe_as(topic, Wish::default());
        stage.pump();
        let topic = stage.hub.find_topic(topic).unwrap();
        assert!(!publish_as(&mut stage, topic, "a", "1").unwrap().is_duplicate);
        assert!(publish_as(&mut stage, topic, "a", "1").unwrap().is_duplicate);
    }
    // They go with it.
    stage.hang_up(conn);
    assert_eq!(stage.hub.stats().topics, 0);
    assert_eq!(stage.hub.stats().resident_bytes, 0);
    let topic = stage.hub.open_topic("t").unwrap();
    assert!(!publish_as(&mut stage, topic, "a", "1").unwrap().is_duplicate);
}

#[test]
fn ids_count_for_the_budget_and_not_for_the_log() {
    let (mut stage, topic) = stage(|_| {});
    for number in 0..2_000 {
        publish_as(&mut stage, topic, &format!("a rather long id, of which little is kept: {number}"), "1").unwrap();
    }
    assert_eq!(stage.hub.topic_pressure(topic).unwrap().resident_bytes, 0);
    let resident = stage.hub.stats().resident_bytes;
    assert!((1_024 * 48..=1_024 * 80).contains(&resident), "{resident} bytes for 1024 ids");
}

fn tight_stage(resident_bytes_max: usize) -> Stage {
    Stage::new(|options| {
        options.resident_bytes_max = resident_bytes_max;
        (options.message_bytes_max, options.inbound_bytes_max) = (16 << 10, 16 << 10);
        (options.topic_defaults.message_bytes_max, options.topic_defaults.log_bytes_max) = (1_000, 8_192);
    })
}

#[test]
fn at_the_budget_the_older_half_of_a_topics_ids_is_forgotten() {
    let mut stage = tight_stage(64 << 10);
    let topic = stage.topic("t", |options| options.publish_ids_max = 1 << 20);
    let is_taken = |stage: &mut Stage, number: u64| publish_as(stage, topic, &number.to_string(), "1").map(drop);
    let before = (0..2_000).find(|number| {
        is_taken(&mut stage, *number).expect("there is always room");
        stage.hub.stats().levels.hub.critical > 0
    });
    let first = before.expect("ids fill the budget");
    assert!((400..1_500).contains(&first), "{first} ids are in 64 KiB");
    assert!(publish_as(&mut stage, topic, &first.to_string(), "1").unwrap().is_duplicate, "the newest is known");
    assert!(publish_as(&mut stage, topic, &(first / 2 + 1).to_string(), "1").unwrap().is_duplicate);
    assert!(!publish_as(&mut stage, topic, "0", "1").unwrap().is_duplicate, "the oldest was forgotten");
}

#[test]
fn ids_of_topics_that_clients_made_go_before_those_of_declared_ones_and_starve_nobody() {
    let mut stage = tight_stage(256 << 10);
    let feed = stage.topic("feed", |_| {});
    let subscriber = stage.join();
    stage.subscribe(subscriber, "feed");
    publish_as(&mut stage, feed, "of the feed", "1").unwrap();
    let greedy = stage.join();
    for topic in (0..8).map(|number| format!("made {number}")) {
        stage.subscribe(greedy, &topic);
        for number in 0..1_024 {
            let client = stage.client(greedy);
            client.publish_once(&topic, &number.to_string(), "1", 0);
            if number % 64 == 0 {
                stage.pump();
            }
        }
        stage.pump();
        stage.told(greedy);
    }
    assert!(stage.hub.stats().levels.hub.critical > 0, "the budget was reached");
    let large = json_of_len(900);
    assert!(!publish_as(&mut stage, feed, "large", &large).unwrap().is_duplicate);
    assert!(publish_as(&mut stage, feed, "of the feed", "1").unwrap().is_duplicate, "a declared topic's are known");
}
