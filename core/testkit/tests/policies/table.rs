//! The cells: policy × what stands before × fits or full × what becomes of a Transmit; each by messages and by bytes, for
//! clients, raw connections and readers in the process.

use forebay_core::{Count, DisconnectScope, EndReason, LossReason, Policy, PublishError, Totals};

use crate::house::{Consumer, House, Kind, lost_in};

/// A lane holds three messages of ten bytes, and so do the topic's keys.
///
/// - *front*: what the messages left of `/` are when the last one is published. `waiting`: not handed out. `out`: in a
///   Transmit that is answered later, in full (`sent`) or with nothing (`back`). `partly`: five bytes of the first one
///   were sent, and the others are back.
/// - *there*: a letter is a message of that key; those behind `/` are published after the Transmit.
/// - *next*: the key of the message in question. *answer*: how many lanes it entered, or the error.
/// - *lost*: at once, and when everything was answered. *told*: to a client, in the end. A raw connection is told no gaps.
const CELLS: &str = "
policy           | front     | there   | next | answer | lost at once  | lost at last           | told
-----------------|-----------|---------|------|--------|---------------|------------------------|---------------------
drop-oldest      | waiting   | ab      | c    | 1      | -             | -                      | 1, 2, 3
drop-oldest      | waiting   | abc     | d    | 1      | oldest 1      | oldest 1               | gap 1-1 1 oldest, 2, 3, 4
drop-oldest      | waiting   | abcde   | f    | 1      | oldest 3      | oldest 3               | gap 1-3 3 oldest, 4, 5, 6
drop-oldest      | out, sent | ab/     | c    | 1      | -             | -                      | 1, 2, 3
drop-oldest      | out, back | ab/     | c    | 1      | -             | -                      | 1, 2, 3
drop-oldest      | out, sent | abc/    | d    | 1      | -             | -                      | 1, 2, 3, 4
drop-oldest      | out, back | abc/    | d    | 1      | -             | oldest 1               | gap 1-1 1 oldest, 2, 3, 4
drop-oldest      | out, sent | abc/def | g    | 1      | oldest 1      | oldest 1               | 1, 2, 3, gap 4-4 1 oldest, 5, 6, 7
drop-oldest      | out, back | abc/def | g    | 1      | oldest 1      | oldest 4               | gap 1-4 4 oldest, 5, 6, 7
drop-oldest      | partly    | ab/     | c    | 1      | -             | -                      | 1, 2, 3
drop-oldest      | partly    | abc/    | d    | 1      | -             | -                      | 1, 2, 3, 4
drop-oldest      | partly    | abc/d   | e    | 1      | oldest 1      | oldest 1               | 1, gap 2-2 1 oldest, 3, 4, 5

drop-newest      | waiting   | ab      | c    | 1      | -             | -                      | 1, 2, 3
drop-newest      | waiting   | abc     | d    | 1      | newest 1      | newest 1               | 1, 2, 3, gap 4-4 1 newest
drop-newest      | waiting   | abcde   | f    | 1      | newest 3      | newest 3               | 1, 2, 3, gap 4-6 3 newest
drop-newest      | out, sent | ab/     | c    | 1      | -             | -                      | 1, 2, 3
drop-newest      | out, back | ab/     | c    | 1      | -             | -                      | 1, 2, 3
drop-newest      | out, sent | abc/    | d    | 1      | newest 1      | newest 1               | 1, 2, 3, gap 4-4 1 newest
drop-newest      | out, back | abc/    | d    | 1      | newest 1      | newest 1               | 1, 2, 3, gap 4-4 1 newest
drop-newest      | out, sent | ab/c    | d    | 1      | newest 1      | newest 1               | 1, 2, 3, gap 4-4 1 newest
drop-newest      | out, back | ab/c    | d    | 1      | newest 1      | newest 1               | 1, 2, 3, gap 4-4 1 newest
drop-newest      | partly    | ab/     | c    | 1      | -             | -                      | 1, 2, 3
drop-newest      | partly    | abc/    | d    | 1      | newest 1      | newest 1               | 1, 2, 3, gap 4-4 1 newest

latest-per-key   | waiting   | ab      | c    | 1      | -             | -                      | 1, 2, 3
latest-per-key   | waiting   | ab      | a    | 1      | superseded 1  | superseded 1           | 2, 3
latest-per-key   | waiting   | abc     | d    | 1      | oldest 1      | oldest 1               | gap 1-1 1 oldest, 2, 3, 4
latest-per-key   | waiting   | abc     | a    | 1      | superseded 1  | superseded 1           | 2, 3, 4
latest-per-key   | waiting   | abc     | b    | 1      | superseded 1  | superseded 1           | 1, 3, 4
latest-per-key   | waiting   | abc     | c    | 1      | superseded 1  | superseded 1           | 1, 2, 4
latest-per-key   | waiting   | aaaa    | a    | 1      | superseded 4  | superseded 4           | 5
latest-per-key   | waiting   | abca    | d    | 1      | superseded 1, oldest 1 | superseded 1, oldest 1 | gap 2-2 1 oldest, 3, 4, 5
latest-per-key   | out, sent | ab/     | c    | 1      | -             | -                      | 1, 2, 3
latest-per-key   | out, back | ab/     | c    | 1      | -             | -                      | 1, 2, 3
latest-per-key   | out, sent | abc/    | d    | 1      | -             | -                      | 1, 2, 3, 4
latest-per-key   | out, back | abc/    | d    | 1      | -             | oldest 1               | gap 1-1 1 oldest, 2, 3, 4
latest-per-key   | out, sent | abc/    | a    | 1      | -             | -                      | 1, 2, 3, 4
latest-per-key   | out, back | abc/    | a    | 1      | -             | superseded 1           | 2, 3, 4
latest-per-key   | out, back | abc/    | b    | 1      | -             | superseded 1           | 1, 3, 4
latest-per-key   | out, sent | abc/abc | a    | 1      | superseded 1  | superseded 1           | 1, 2, 3, 5, 6, 7
latest-per-key   | out, back | abc/abc | a    | 1      | superseded 1  | superseded 4           | 5, 6, 7
latest-per-key   | out, back | abc/ab  | d    | 1      | -             | superseded 2, oldest 1 | gap 3-3 1 oldest, 4, 5, 6
latest-per-key   | out, sent | abc/def | g    | 1      | oldest 1      | oldest 1               | 1, 2, 3, gap 4-4 1 oldest, 5, 6, 7
latest-per-key   | out, back | abc/def | g    | 1      | oldest 1      | oldest 4               | gap 1-4 4 oldest, 5, 6, 7
latest-per-key   | partly    | abc/    | d    | 1      | -             | -                      | 1, 2, 3, 4
latest-per-key   | partly    | abc/    | a    | 1      | -             | -                      | 1, 2, 3, 4
latest-per-key   | partly    | abc/    | b    | 1      | superseded 1  | superseded 1           | 1, 3, 4
latest-per-key   | partly    | abc/d   | e    | 1      | oldest 1      | oldest 1               | 1, gap 2-2 1 oldest, 3, 4, 5

latest-only      | waiting   | ab      | c    | 1      | superseded 2  | superseded 2           | 3
latest-only      | waiting   | abc     | d    | 1      | superseded 3  | superseded 3           | 4
latest-only      | waiting   | aaa     | a    | 1      | superseded 3  | superseded 3           | 4
latest-only      | out, sent | a/      | b    | 1      | -             | -                      | 1, 2
latest-only      | out, back | a/      | b    | 1      | -             | superseded 1           | 2
latest-only      | out, sent | abc/    | d    | 1      | superseded 2  | superseded 2           | 3, 4
latest-only      | out, back | abc/    | d    | 1      | superseded 2  | superseded 3           | 4
latest-only      | out, sent | abc/def | g    | 1      | superseded 5  | superseded 5           | 3, 7
latest-only      | out, back | abc/def | g    | 1      | superseded 5  | superseded 6           | 7
latest-only      | partly    | abc/    | d    | 1      | superseded 2  | superseded 2           | 3, 4
latest-only      | partly    | abc/d   | e    | 1      | superseded 3  | superseded 3           | 3, 5

disconnect       | waiting   | ab      | c    | 1      | -             | -                      | 1, 2, 3
disconnect       | waiting   | abc     | d    | 0      | closed 3      | closed 3               | closed 1013 lane full
disconnect       | out, sent | ab/     | c    | 1      | -             | -                      | 1, 2, 3
disconnect       | out, back | ab/     | c    | 1      | -             | -                      | 1, 2, 3
disconnect       | out, sent | abc/    | d    | 0      | -             | -                      | 1, 2, 3, closed 1013 lane full
disconnect       | out, back | abc/    | d    | 0      | -             | closed 3               | closed 1013 lane full
disconnect       | out, sent | ab/c    | d    | 0      | closed 1      | closed 1               | 1, 2, closed 1013 lane full
disconnect       | out, back | ab/c    | d    | 0      | closed 1      | closed 3               | closed 1013 lane full
disconnect       | partly    | ab/     | c    | 1      | -             | -                      | 1, 2, 3
disconnect       | partly    | abc/    | d    | 0      | closed 2      | closed 2               | 1, closed 1013 lane full

disconnect topic | waiting   | ab      | c    | 1      | -             | -                      | 1, 2, 3
disconnect topic | waiting   | abc     | d    | 0      | closed 3      | closed 3               | ended overflow
disconnect topic | out, sent | abc/    | d    | 0      | -             | -                      | 1, 2, 3, ended overflow
disconnect topic | out, back | abc/    | d    | 0      | -             | closed 3               | ended overflow
disconnect topic | out, sent | ab/c    | d    | 0      | closed 1      | closed 1               | 1, 2, ended overflow
disconnect topic | out, back | ab/c    | d    | 0      | closed 1      | closed 3               | ended overflow
disconnect topic | partly    | abc/    | d    | 0      | closed 2      | closed 2               | 1, ended overflow

block            | waiting   | ab      | c    | 1      | -             | -                      | 1, 2, 3
block            | waiting   | abc     | d    | Full   | -             | -                      | 1, 2, 3
block            | out, sent | ab/     | c    | 1      | -             | -                      | 1, 2, 3
block            | out, back | ab/     | c    | 1      | -             | -                      | 1, 2, 3
block            | out, sent | abc/    | d    | Full   | -             | -                      | 1, 2, 3
block            | out, back | abc/    | d    | Full   | -             | -                      | 1, 2, 3
block            | out, sent | ab/c    | d    | Full   | -             | -                      | 1, 2, 3
block            | out, back | ab/c    | d    | Full   | -             | -                      | 1, 2, 3
block            | partly    | ab/     | c    | 1      | -             | -                      | 1, 2, 3
block            | partly    | abc/    | d    | Full   | -             | -                      | 1, 2, 3
";

#[derive(Clone, Debug)]
struct Cell {
    line: &'static str,
    policy: Policy,
    scope: DisconnectScope,
    front: &'static str,
    before: &'static str,
    after: &'static str,
    next: &'static str,
    answer: &'static str,
    at_once: &'static str,
    at_last: &'static str,
    told: Vec<String>,
}

fn cells() -> impl Iterator<Item = Cell> {
    let lines = CELLS.lines().filter(|line| !line.is_empty()).skip(2);
    lines.map(|line| {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let [policy, front, there, next, answer, at_once, at_last, told] = columns[..] else { panic!("{line}") };
        let (name, scope) = match policy.strip_suffix(" topic") {
            Some(name) => (name, DisconnectScope::Topic),
            None => (policy, DisconnectScope::Connection),
        };
        let (before, after) = there.split_once('/').unwrap_or((there, ""));
        let told = told.split(", ").map(Into::into).collect();
        let policy = Policy::from_name(name).expect(name);
        Cell { line, policy, scope, front, before, after, next, answer, at_once, at_last, told }
    })
}

impl Cell {
    fn house(&self, by_bytes: bool) -> House {
        House::new(|options| {
            options.policy = self.policy;
            options.disconnect.scope = self.scope;
            options.message_bytes_max = 30;
            if by_bytes {
                (options.lane.bytes_max, options.keys_bytes_max) = (30, 30);
                (options.lane.messages_max, options.keys_max) = (100, 100);
            } else {
                (options.lane.messages_max, options.keys_max) = (3, 3);
            }
        })
    }

    /// The terms of the queue law, if so many messages of ten bytes were published to the lane and so many sent.
    fn check_totals(&self, totals: &Totals, entered: usize, sent: usize, lost: &str) {
        let count = |messages: usize| Count::new(messages as u64, messages as u64 * 10);
        assert_eq!(lost_in(totals), lost, "{}", self.line);
        assert_eq!((totals.entered, totals.sent), (count(entered), count(sent)), "{}", self.line);
        assert!(
            LossReason::ALL.iter().map(|reason| totals.lost_by(*reason)).all(|lost| lost.bytes == lost.messages * 10)
        );
        assert_eq!(totals.conservation_error(), 0, "{}", self.line);
    }

    fn play(&self, kind: Kind, by_bytes: bool) {
        let mut house = self.house(by_bytes);
        let consumer = house.consumer(kind);
        let held = self.fill(&mut house, consumer);
        let before = self.before.len() + self.after.len();

        let published = house.put(self.next).map(|published| published.matched.to_string());
        let answer = if self.answer == "Full" { Err(PublishError::Full) } else { Ok(self.answer.to_string()) };
        assert_eq!(published, answer, "{}", self.line);
        assert_eq!(house.stage.hub.stats().refused_full, u64::from(published.is_err()), "{}", self.line);
        let entered = before + usize::from(self.answer == "1");
        self.check_totals(&house.totals(consumer.lane), entered, 0, self.at_once);
        self.check_outstanding(&house, consumer);

        if let (Some(conn), Some(bytes)) = (consumer.conn, held) {
            house.stage.answer_by(conn, &bytes, if self.front == "out, sent" { bytes.len() } else { 0 });
        }
        if let Some(conn) = consumer.conn {
            house.stage.thaw(conn);
        }
        let told = house.told(consumer);
        let sent = told.iter().filter(|told| told.parse::<u64>().is_ok()).count();
        self.check_told(&house, consumer, &told);
        self.check_totals(&house.totals(consumer.lane), entered, sent, self.at_last);
        assert_eq!(house.stage.hub.pressure().waiting, Count::default(), "{}", self.line);
    }

    /// Publishes what is there before, and gives the Transmit that is out.
    fn fill(&self, house: &mut House, consumer: Consumer) -> Option<Vec<u8>> {
        let publish = |house: &mut House, keys: &str| {
            keys.chars().for_each(|key| assert!(house.put(&key.to_string()).is_ok(), "{}", self.line));
        };
        let Some(conn) = consumer.conn.filter(|_| self.front != "waiting") else {
            if let Some(conn) = consumer.conn {
                house.stage.freeze(conn);
            }
            house.put_all(self.before);
            return None;
        };
        publish(house, self.before);
        let bytes = house.stage.hold(conn);
        if self.front == "partly" {
            house.stage.answer_by(conn, &bytes, 5);
        }
        publish(house, self.after);
        (self.front != "partly").then_some(bytes)
    }

    fn check_outstanding(&self, house: &House, consumer: Consumer) {
        let Some(pressure) = house.stage.hub.lane(consumer.lane) else { return };
        let out = match (self.front, self.policy) {
            ("waiting", _) => 0,
            ("partly", _) | (_, Policy::LatestOnly) => 1,
            _ => self.before.len() as u64,
        };
        assert_eq!(pressure.outstanding, Count::new(out, out * 10), "{}", self.line);
        let waits = pressure.totals.waiting.messages;
        assert!(waits - out <= 3 && (self.policy != Policy::LatestOnly || waits - out <= 1), "{}", self.line);
    }

    fn check_told(&self, house: &House, consumer: Consumer, told: &[String]) {
        let is_close = |told: &&String| told.starts_with("closed");
        let (ends_conn, ends) = (self.told.iter().any(|told| is_close(&told)), self.answer == "0");
        let mut expected = self.told.clone();
        if consumer.kind == Kind::Raw {
            expected.retain(|told| !told.starts_with("gap"));
        }
        if let (Kind::Local, Some(last)) = (consumer.kind, expected.last_mut().filter(|_| ends)) {
            // Of an in-process consumer ends its lane, whatever the scope.
            *last = "ended overflow".into();
        }
        assert_eq!(told, expected, "{:?}: {}", consumer.kind, self.line);
        if let Some(conn) = consumer.conn {
            let reason = (ends_conn).then_some(EndReason::Overflowed);
            assert_eq!(house.stage.ended(conn), reason, "{:?}: {}", consumer.kind, self.line);
            assert_eq!(house.stage.hub.find_lane(conn, house.topic).is_none(), ends, "{}", self.line);
        }
        assert_eq!(house.stage.hub.lane(consumer.lane).is_none(), ends, "{}", self.line);
        assert_eq!(house.stage.hub.stats().lanes_now, u32::from(!ends), "{}", self.line);
    }
}

/// Plays every cell of a policy, and says of all of them which fail.
fn play(policy: Policy) {
    let mut failed = Vec::new();
    let mut played = 0;
    for cell in cells().filter(|cell| cell.policy == policy) {
        let mut who = Vec::new();
        for by_bytes in [false, true] {
            for kind in [Kind::Client, Kind::Raw, Kind::Local] {
                if kind == Kind::Local && cell.front != "waiting" {
                    continue; // A message taken is a message sent.
                }
                played += 1;
                if std::panic::catch_unwind(|| cell.play(kind, by_bytes)).is_err() {
                    who.push(format!("{kind:?} by {}", if by_bytes { "bytes" } else { "messages" }));
                }
            }
        }
        if !who.is_empty() {
            failed.push(format!("{}\n    {}", cell.line, who.join(", ")));
        }
    }
    assert!(failed.is_empty(), "failed:\n{}", failed.join("\n"));
    assert!(played >= 40, "only {played}");
}

#[test]
fn drop_oldest() {
    play(Policy::DropOldest);
}

#[test]
fn drop_newest() {
    play(Policy::DropNewest);
}

#[test]
fn latest_per_key() {
    play(Policy::LatestPerKey);
}

#[test]
fn latest_only() {
    play(Policy::LatestOnly);
}

#[test]
fn disconnect() {
    play(Policy::Disconnect);
}

#[test]
fn block() {
    play(Policy::Block);
}
