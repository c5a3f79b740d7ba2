//! A session that is taken from its connection where the budget is used up: both connections are there for a moment.

use forebay_core::{ConnId, Event, LaneOptions, LossReason, Payload, Policy, Start};
use forebay_testkit::stage::{Stage, json_of_len};

/// A masked frame with a mask of zeros.
fn frame_of(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match u8::try_from(payload.len()) {
        Ok(len @ 0..126) => frame.push(0x80 | len),
        _ => {
            frame.push(0xFE);
            frame.extend(u16::try_from(payload.len()).expect("short").to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

fn slack(stage: &Stage) -> usize {
    let pressure = stage.hub.pressure();
    pressure.resident_bytes_max - pressure.resident_bytes
}

/// What raw connections have sent and nobody takes uses up the budget but for fewer than 16 bytes.
fn use_up(stage: &mut Stage, raw: &[ConnId]) {
    for conn in raw {
        // Room is made for twice a message.
        let len = (slack(stage) / 2).saturating_sub(200).min(60_000);
        if len > 0 {
            stage.hub.handle_bytes(*conn, &frame_of(0x82, &vec![0; len]), stage.now);
        } else if slack(stage) >= 16 {
            // The first byte of a message of several frames.
            stage.hub.handle_bytes(*conn, &frame_of(0x02, &[0]), stage.now);
        }
    }
    assert!(slack(stage) < 16, "{}", slack(stage));
}

#[test]
fn the_older_connections_close_frame_sheds_the_sessions_own_lane() {
    let mut stage = Stage::new(|options| {
        options.resident_bytes_max = 128 << 10;
        options.inbound_bytes_max = 64 << 10;
        options.message_bytes_max = 64 << 10;
        options.topic_defaults.message_bytes_max = 1_000;
        options.topic_defaults.log_bytes_max = 8 << 10;
    });
    let topic = stage.topic("t", |options| {
        options.policy = Policy::Disconnect;
        options.message_bytes_max = 1_000;
        options.log_bytes_max = 8 << 10;
    });
    let (older, newer) = (stage.join_raw(), stage.join_raw());
    let raw: Vec<ConnId> = (0..100).map(|_| stage.join_raw()).collect();
    // What waits for credit waits while nothing is on its way.
    let options = LaneOptions { credit: Some(0), ..LaneOptions::default() };
    stage.hub.subscribe(older, topic, options, Start::Latest, stage.now).expect("subscribed");
    stage.hub.publish(topic, Payload::Text(&json_of_len(1_000)), stage.now).expect("taken");
    stage.pump();
    let token = stage.hub.keep_session(older, None).expect("kept");
    use_up(&mut stage, &raw);
    assert_eq!(stage.hub.topic_pressure(topic).expect("a topic").totals.waiting.messages, 1);
    stage.hub.resume(newer, token, &[], stage.now).expect("resumed");
    stage.hub.check_invariants();
    let totals = stage.hub.topic_pressure(topic).expect("a topic").totals;
    assert_eq!(totals.lost_by(LossReason::Overload).messages, 1, "{totals:?}");
    let mut ended = Vec::new();
    while let Some(event) = stage.hub.poll_event() {
        if let Event::SessionEnded { reason, .. } = event {
            ended.push(reason);
        }
    }
    assert_eq!(ended.len(), 1, "{ended:?}");
}
