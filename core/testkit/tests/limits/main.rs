//! Every limit, one row each: its default, what becomes of one more than it allows, and which number counts that. Each row is
//! played twice through the public API: as much as may be, and one more.
//!
//! The list of limits is not written here: it is what `Options`, `TopicOptions` and `LaneOptions` say of themselves, and the
//! constants of the source. What is there and has no row fails.

mod connections;
mod lanes;
mod names;
mod rates;
mod sessions;
mod times;
mod topics;
mod wire;

use std::collections::BTreeSet;

use forebay_core::{ConnId, EndReason, Stats};
use forebay_testkit::stage::{Stage, briefs};

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    /// Nothing but what was asked for.
    Taken,
    /// A Close frame with this code.
    Closed(u16),
    /// The end of the transport, without one.
    Cut,
    /// An HTTP answer.
    Status(u16),
    /// A value, to the application.
    Error(&'static str),
    /// An error of this code, to a client.
    Reply(&'static str),
    /// A message was lost for this reason.
    Lost(&'static str),
    /// It waits, unread or unsent: nothing is lost.
    Waits,
    /// Something else that the limit is there for.
    Then(&'static str),
}

use Outcome::{Closed, Cut, Error, Lost, Reply, Status, Taken, Then, Waits};

/// Which number counts what was one too many.
#[derive(Clone, Copy)]
enum Counted {
    By(fn(&Stats) -> u64),
    /// None does, because of this.
    Not(&'static str),
}

use Counted::{By, Not};

/// Nothing was refused or lost, it comes later.
const WAITS: Counted = Not("what waits is not lost, and shows in the pressure");
/// The application has its answer in hand.
const TOLD: Counted = Not("the application has the error in hand");

struct Row {
    /// Its path, as `names` finds it.
    name: &'static str,
    /// As `Debug` writes it.
    default: &'static str,
    beyond: Outcome,
    counted: Counted,
    /// As much as may be, or one more (`true`).
    play: fn(bool) -> (Outcome, Stats),
}

const fn row(
    name: &'static str,
    default: &'static str,
    beyond: Outcome,
    counted: Counted,
    play: fn(bool) -> (Outcome, Stats),
) -> Row {
    Row { name, default, beyond, counted, play }
}

/// What a connection was told by way of its end, or of an error.
fn seen(stage: &mut Stage, conn: ConnId) -> (Outcome, Stats) {
    stage.hub.check_invariants();
    let ended = stage.ended(conn);
    let refused = briefs_of_dialect(stage, conn).into_iter().find_map(|brief| {
        let code = brief.strip_prefix("error ")?;
        Some(Reply(forebay_core::ERROR_CODES.iter().find(|known| **known == code).expect("a code that is known")))
    });
    let client = stage.client(conn);
    let outcome = match (client.close, &client.phase) {
        (Some(code), _) => Closed(code.unwrap_or(1005)),
        (None, forebay_testkit::mini::Phase::Refused(status)) => Status(*status),
        _ if ended.is_some() => Cut,
        _ => refused.unwrap_or(Taken),
    };
    (outcome, *stage.hub.stats())
}

fn briefs_of_dialect(stage: &mut Stage, conn: ConnId) -> Vec<String> {
    if stage.client(conn).reader.is_some() { briefs(stage, conn) } else { Vec::new() }
}

/// How an error is called.
fn error_name<T, E: std::fmt::Debug>(result: &Result<T, E>, known: &[&'static str]) -> Outcome {
    let Err(error) = result else { return Taken };
    let text = format!("{error:?}");
    Error(known.iter().copied().find(|known| text.starts_with(known)).unwrap_or_else(|| panic!("{text}")))
}

fn ended(stats: &Stats, name: &str) -> u64 {
    stats.ended[EndReason::NAMES.iter().position(|known| *known == name).expect("a reason")]
}

fn replied(stats: &Stats, code: &str) -> u64 {
    stats.error_replies[forebay_core::ERROR_CODES.iter().position(|known| *known == code).expect("a code")]
}

fn rows() -> Vec<Row> {
    let tables = [wire::ROWS, connections::ROWS, times::ROWS, sessions::ROWS, rates::ROWS, topics::ROWS, lanes::ROWS];
    tables.into_iter().flat_map(|rows| rows.iter()).map(|row| Row { ..*row }).collect()
}

#[test]
fn every_limit_has_a_row_and_every_row_a_limit() {
    let rows = rows();
    let names: BTreeSet<&str> = rows.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), rows.len(), "a limit has one row");
    let limits = names::all();
    let others: BTreeSet<&str> = names::OTHERS.iter().map(|(name, _)| *name).collect();
    for name in limits.keys() {
        let (is_row, is_other) = (names.contains(name.as_str()), others.contains(name.as_str()));
        assert!(is_row || is_other, "{name} is a limit without a row, or is none: say why in `names::OTHERS`");
        assert!(!(is_row && is_other), "{name} is no limit, and has a row");
    }
    for name in names.iter().chain(&others) {
        assert!(limits.contains_key(*name), "{name} is not there any more");
    }
    assert!(names::OTHERS.iter().all(|(_, why)| why.len() > 10));
}

#[test]
fn defaults_are_finite_and_as_documented() {
    let limits = names::all();
    for row in rows() {
        assert_eq!(limits[row.name], row.default, "{}", row.name);
    }
}

#[test]
fn as_much_as_may_be_is_taken_and_one_more_is_not() {
    let wrong: Vec<String> = rows().into_iter().filter_map(|row| row.wrong()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

impl Row {
    /// What is not as it says, if anything.
    fn wrong(&self) -> Option<String> {
        let Row { name, beyond, counted, play, .. } = self;
        let ((first, at), (second, after)) = (play(false), play(true));
        if (first, second) != (Taken, *beyond) {
            return Some(format!("{name}: {first:?}, and with one more {second:?}"));
        }
        match counted {
            By(count) if (count(&at), count(&after)) != (0, 1) => {
                Some(format!("{name} was counted {} times, and with one more {}", count(&at), count(&after)))
            }
            Not(why) if why.len() < 10 => Some(format!("{name}: why is it not counted?")),
            _ => None,
        }
    }
}
