//! Sessions, and what a client asks for by name.

use std::time::Duration;

use forebay_core::{Event, SessionEnd, Stats};
use forebay_testkit::stage::Stage;

use super::*;

pub(crate) const ROWS: &[Row] = &[
    row("Options.topics_max", "10000", Reply("topics-full"), By(|s| replied(s, "topics-full")), topics),
    row("Options.topic_name_bytes_max", "256", Reply("bad-topic"), By(|s| replied(s, "bad-topic")), topic_name),
    row("Options.key_bytes_max", "256", Reply("bad-key"), By(|s| replied(s, "bad-key")), key),
    row("Options.lanes_per_session_max", "256", Reply("lanes-full"), By(|s| replied(s, "lanes-full")), lanes),
    row("Options.session_ttl", "60s", Then("Expired"), By(|s| s.sessions_ended[SessionEnd::Expired as usize]), ttl),
    row("Options.sessions_max", "10000", Then("Evicted"), By(|s| s.sessions_ended[SessionEnd::Evicted as usize]), many),
    row("Options.principal_bytes_max", "256", Error("TooLong"), TOLD, principal),
];

fn subscribed_to(mut stage: Stage, names: &[String]) -> (Outcome, Stats) {
    let conn = stage.join();
    names.iter().for_each(|name| stage.client(conn).subscribe(name));
    stage.pump();
    seen(&mut stage, conn)
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("t{number}")).collect()
}

fn topics(more: bool) -> (Outcome, Stats) {
    subscribed_to(Stage::new(|options| options.topics_max = 3), &numbered(3 + usize::from(more)))
}

fn topic_name(more: bool) -> (Outcome, Stats) {
    let stage = Stage::new(|options| options.topic_name_bytes_max = 10);
    subscribed_to(stage, &["t".repeat(10 + usize::from(more))])
}

fn lanes(more: bool) -> (Outcome, Stats) {
    subscribed_to(Stage::new(|options| options.lanes_per_session_max = 3), &numbered(3 + usize::from(more)))
}

fn key(more: bool) -> (Outcome, Stats) {
    let mut stage = Stage::new(|options| options.key_bytes_max = 10);
    let conn = stage.join();
    stage.client(conn).publish_keyed("t", &"k".repeat(10 + usize::from(more)), "1");
    stage.pump();
    seen(&mut stage, conn)
}

/// How the first session ends of so many that are left behind, after a while.
fn left(stage: &mut Stage, count: usize, after: Duration) -> (Outcome, Stats) {
    for _ in 0..count {
        let conn = stage.join();
        stage.client(conn).keep(None);
        stage.pump();
        stage.hang_up(conn);
        stage.pump();
    }
    stage.advance(after);
    stage.hub.check_invariants();
    let end = stage.take_events().into_iter().find_map(|event| match event {
        Event::SessionEnded { reason, .. } => Some(reason),
        _ => None,
    });
    let outcome = match end {
        None => Taken,
        Some(SessionEnd::Expired) => Then("Expired"),
        Some(SessionEnd::Evicted) => Then("Evicted"),
        Some(other) => panic!("{other:?}"),
    };
    (outcome, *stage.hub.stats())
}

fn ttl(more: bool) -> (Outcome, Stats) {
    let mut stage = Stage::new(|options| options.session_ttl = Duration::from_secs(1));
    left(&mut stage, 1, Duration::from_nanos(999_999_999 + u64::from(more)))
}

fn many(more: bool) -> (Outcome, Stats) {
    left(&mut Stage::new(|options| options.sessions_max = 2), 2 + usize::from(more), Duration::ZERO)
}

fn principal(more: bool) -> (Outcome, Stats) {
    let mut stage = Stage::new(|options| options.principal_bytes_max = 10);
    let conn = stage.join();
    let result = stage.hub.authenticate(conn, &"p".repeat(10 + usize::from(more)));
    (error_name(&result, &["TooLong"]), *stage.hub.stats())
}
