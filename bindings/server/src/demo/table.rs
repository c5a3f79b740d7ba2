//! What is shown each second: lines for programs, or a picture for a terminal.

use std::fmt::Write as _;

use forebay_core::{LossReason, Policy};
use forebay_threads::{LanePressure, Snapshot};

use super::consumers::{Pace, State};

/// The columns of the lines for programs.
const COLUMNS: &str = "second policy consumer published_per_second entered sent waiting superseded oldest newest \
    other_lost waiting_bytes oldest_age_seconds kernel_bytes ends end_code publisher_waits";
/// In such a wide terminal there is room for everything.
const WIDE: usize = 100;

/// What there is to see of a consumer.
pub(super) struct Row {
    pub(super) policy: Policy,
    pub(super) pace: Pace,
    pub(super) state: State,
    /// `None` between two connections.
    pub(super) lane: Option<LanePressure>,
    pub(super) kernel_bytes: u32,
    /// Messages of the topic, all told and in the last second.
    pub(super) published: u64,
    pub(super) published_per_second: u64,
}

/// What there is to see at one moment.
pub(super) struct Frame<'a> {
    pub(super) second: u32,
    pub(super) rows: Vec<Row>,
    pub(super) snapshot: &'a Snapshot,
    pub(super) process_bytes: Option<u64>,
}

/// A row's numbers.
#[derive(Default)]
struct Numbers {
    entered: u64,
    sent: u64,
    waiting: u64,
    waiting_bytes: u64,
    messages_max: u64,
    age_seconds: f64,
    superseded: u64,
    oldest: u64,
    newest: u64,
    other: u64,
}

impl Row {
    fn numbers(&self) -> Numbers {
        let Some(lane) = &self.lane else { return Numbers::default() };
        let totals = &lane.totals;
        let lost = |reason| totals.lost_by(reason).messages;
        let [superseded, oldest, newest] = [LossReason::Superseded, LossReason::Oldest, LossReason::Newest].map(lost);
        Numbers {
            entered: totals.entered.messages,
            sent: totals.sent.messages,
            waiting: totals.waiting.messages,
            waiting_bytes: totals.waiting.bytes,
            messages_max: lane.messages_max.into(),
            age_seconds: lane.load.oldest_age.as_secs_f64(),
            superseded,
            oldest,
            newest,
            other: totals.lost_total().messages - superseded - oldest - newest,
        }
    }

    fn end_code(&self) -> String {
        self.state.end_code.map_or_else(|| "-".to_owned(), |code| code.to_string())
    }
}

impl Frame<'_> {
    /// Publishes that the only publisher of `block` had to wait with: what it was refused as full.
    fn publisher_waits(&self, row: &Row) -> u64 {
        if row.policy == Policy::Block { self.snapshot.stats.refused_full } else { 0 }
    }

    /// What is above the first of the lines for programs.
    pub(super) fn columns() -> String {
        format!("# {COLUMNS}")
    }

    /// One line per consumer.
    pub(super) fn lines(&self) -> Vec<String> {
        let line = |row: &Row| {
            let n = row.numbers();
            format!(
                "{:>4} {:<14} {:<6} {:>4} {:>6} {:>6} {:>4} {:>6} {:>6} {:>6} {:>4} {:>7} {:>6.2} {:>7} {:>3} {:>4} {:>4}",
                self.second,
                row.policy.name(),
                row.pace.name(),
                row.published_per_second,
                n.entered,
                n.sent,
                n.waiting,
                n.superseded,
                n.oldest,
                n.newest,
                n.other,
                n.waiting_bytes,
                n.age_seconds,
                row.kernel_bytes,
                row.state.ends,
                row.end_code(),
                self.publisher_waits(row),
            )
        };
        let mut lines: Vec<_> = self.rows.iter().map(line).collect();
        let [law, memory] = self.summary();
        lines.push(format!("# {:>2} {law}; {memory}", self.second));
        lines
    }

    /// Messages of a consumer's topic per second, from the beginning: a publisher that waits publishes in bursts.
    fn rate(&self, row: &Row) -> u64 {
        row.published / u64::from(self.second.max(1))
    }

    /// The queue law over all lanes of all time, and the memory.
    fn summary(&self) -> [String; 2] {
        let (lanes, pressure) = (&self.snapshot.stats.lanes, &self.snapshot.pressure);
        let is = if lanes.conservation_error() == 0 { "=" } else { "is not" };
        let law = format!(
            "all lanes: entered {} {is} sent {} + waiting {} + lost {}",
            lanes.entered.messages,
            lanes.sent.messages,
            lanes.waiting.messages,
            lanes.lost_total().messages,
        );
        let process = self.process_bytes.map_or_else(String::new, |bytes| format!("process {}, ", size(bytes)));
        let hub = size(pressure.resident_bytes as u64);
        let memory = format!(
            "feed {}/s; memory: {process}hub {hub}, at most {}; {} connections",
            self.rows.first().map_or(0, |row| self.rate(row)),
            size(pressure.resident_bytes_max as u64),
            self.snapshot.stats.connections
        );
        [law, memory]
    }

    /// Lines of at most `width` characters.
    pub(super) fn picture(&self, width: usize, has_colours: bool) -> Vec<String> {
        let paint = |code: &str, text: String| match has_colours && !text.is_empty() {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text,
        };
        let is_wide = width >= WIDE;
        let entered = if is_wide { "entered " } else { "" };
        let bar_width = if is_wide { (width - WIDE + 10).min(30) } else { 6 };
        let title =
            format!("{:>4} s  One feed to 18 clients under six policies. A lane is what waits for one:", self.second);
        let subtitle = "        it is bounded; what it loses is counted, and its client is told.".to_owned();
        let header = format!(
            "{:<14} {:<6} {:<bar_width$} wait bytes   age {entered} sent  lost kernel  when full",
            "policy", "reads", "lane"
        );
        let mut lines =
            vec![paint("1", cut(title, width)), paint("1", cut(subtitle, width)), paint("2", cut(header, width))];
        for row in &self.rows {
            let n = row.numbers();
            let is_first = row.pace == Pace::Fast;
            let name = cut(format!("{:<14}", if is_first { row.policy.name() } else { "" }), width);
            let pace = cut(format!(" {:<6} ", row.pace.name()), width - name.len());
            let (bar, colour) = bar(&n, bar_width);
            let entered = if is_wide { format!("{:>7} ", n.entered) } else { String::new() };
            let lost = n.superseded + n.oldest + n.newest + n.other;
            let rest = format!(
                " {:>4} {:>5} {:>4.1}s {entered}{:>5} {lost:>5} {:>5}  {}",
                n.waiting,
                size(n.waiting_bytes),
                n.age_seconds,
                n.sent,
                size(row.kernel_bytes.into()),
                self.note(row, &n)
            );
            let used = name.len() + pace.len();
            let bar = cut(bar, width.saturating_sub(used));
            let rest = cut(rest, width.saturating_sub(used + bar.chars().count()));
            lines.push(format!("{}{pace}{}{rest}", paint("1", name), paint(colour, bar)));
        }
        lines.extend(self.summary().map(|line| paint("2", cut(line, width))));
        lines
    }

    /// What the policy means, or what became of the consumer.
    fn note(&self, row: &Row, n: &Numbers) -> String {
        let mut note = match (row.pace, row.policy) {
            (Pace::Fast, Policy::DropOldest) => "the oldest go".to_owned(),
            (Pace::Fast, Policy::DropNewest) => "the newest go".to_owned(),
            (Pace::Fast, Policy::LatestPerKey) => "one per key".to_owned(),
            (Pace::Fast, Policy::LatestOnly) => "one waits".to_owned(),
            (Pace::Fast, Policy::Disconnect) => "it is ended".to_owned(),
            (Pace::Fast, Policy::Block) => {
                format!("publisher waits {}x, {}/s", self.publisher_waits(row), self.rate(row))
            }
            // See `BLOCK_WAKE_SECONDS`.
            (Pace::Frozen, Policy::Block) => "reads every 5 s".to_owned(),
            _ => String::new(),
        };
        for (count, why) in
            [(n.superseded, "superseded"), (n.oldest, "oldest"), (n.newest, "newest"), (n.other, "for other reasons")]
        {
            if count > 0 && row.pace != Pace::Fast {
                let comma = if note.is_empty() { "" } else { ", " };
                let _ = write!(note, "{comma}{why}");
            }
        }
        if row.state.ends > 0 {
            let comma = if note.is_empty() { "" } else { ", " };
            let _ = write!(note, "{comma}ended {}x ({})", row.state.ends, row.end_code());
        }
        note
    }
}

/// How full a lane is, in characters and as a colour: green, yellow from three quarters, red at the limit.
fn bar(n: &Numbers, width: usize) -> (String, &'static str) {
    let max = n.messages_max.max(1);
    let cells = (n.waiting * width as u64).div_ceil(max).min(width as u64);
    let full = usize::try_from(cells).unwrap_or(width);
    let colour = match n.waiting {
        waiting if waiting >= max => "31",
        waiting if waiting * 4 >= max * 3 => "33",
        _ => "32",
    };
    (format!("{}{}", "█".repeat(full), "░".repeat(width - full)), colour)
}

/// At most `width` characters of a text.
fn cut(text: String, width: usize) -> String {
    match text.char_indices().nth(width) {
        Some((end, _)) => text[..end].to_owned(),
        None => text,
    }
}

/// Bytes in at most five characters.
fn size(bytes: u64) -> String {
    let tenths = |unit: u64| format!("{}.{}", bytes / unit, bytes % unit * 10 / unit);
    match bytes {
        0..1_000 => format!("{bytes}B"),
        1_000..10_000 => format!("{}K", tenths(1 << 10)),
        10_000..1_000_000 => format!("{}K", bytes >> 10),
        1_000_000..10_000_000 => format!("{}M", tenths(1 << 20)),
        10_000_000..1_000_000_000 => format!("{}M", bytes >> 20),
        _ => format!("{}G", tenths(1 << 30)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_threads::{Count, Load, Totals};
    use std::time::Duration;

    fn row(policy: Policy, pace: Pace) -> Row {
        let mut totals = Totals {
            entered: Count::new(1_000, 2_000_000),
            sent: Count::new(700, 1_400_000),
            waiting: Count::new(200, 400_000),
            ..Totals::default()
        };
        totals.lost[LossReason::Oldest as usize] = Count::new(99, 199_000);
        totals.lost[LossReason::Overload as usize] = Count::new(1, 1_000);
        let lane = LanePressure {
            conn: None,
            policy,
            totals,
            outstanding: Count::default(),
            messages_max: 200,
            bytes_max: 1 << 20,
            age_max: None,
            load: Load { oldest_age: Duration::from_millis(1_240), ..Load::default() },
            acks: None,
            credit: None,
        };
        let state = State { ends: 2, end_code: Some(1013), ..State::default() };
        Row { policy, pace, state, lane: Some(lane), kernel_bytes: 98_304, published: 5, published_per_second: 142 }
    }

    fn frame(snapshot: &Snapshot) -> Frame<'_> {
        let rows = Policy::ALL.iter().flat_map(|policy| Pace::ALL.map(|pace| row(*policy, pace))).collect();
        Frame { second: 3, rows, snapshot, process_bytes: Some(12 << 20) }
    }

    #[test]
    fn lines_have_a_field_for_every_column() {
        let snapshot = Snapshot::default();
        let lines = frame(&snapshot).lines();
        let fields: Vec<_> = lines[0].split_whitespace().collect();
        let expected = "3 drop-oldest fast 142 1000 700 200 0 99 0 1 400000 1.24 98304 2 1013 0";
        assert_eq!(fields, expected.split(' ').collect::<Vec<_>>());
        assert_eq!(fields.len(), COLUMNS.split(' ').count());
        let summary = "all lanes: entered 0 = sent 0 + waiting 0 + lost 0; feed 1/s; memory: process 12M, hub 0B, at most 0B; 0 connections";
        assert_eq!(lines[18], format!("#  3 {summary}"));
        let gone = Row { lane: None, ..row(Policy::Disconnect, Pace::Slow) };
        let lines = Frame { rows: vec![gone], ..frame(&snapshot) }.lines();
        assert_eq!(lines[0].split_whitespace().count(), fields.len());
    }

    #[test]
    fn pictures_fit_their_terminal() {
        let snapshot = Snapshot::default();
        for width in [1, 10, 40, 80, 99, 100, 200] {
            let plain = frame(&snapshot).picture(width, false);
            assert_eq!(plain.len(), 23, "and the cursor: 24 rows");
            assert!(plain.iter().all(|line| line.chars().count() <= width), "{width}: {plain:#?}");
        }
        let plain = frame(&snapshot).picture(80, false);
        assert_eq!(plain[3], "drop-oldest    fast   ██████  200  390K  1.2s   700   100   96K  the oldest go, ");
        let coloured = frame(&snapshot).picture(80, true);
        assert!(coloured[3].contains("\x1b[31m██████\x1b[0m"), "{}", coloured[3]);
    }

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1_000, "0.9K"),
            (1_536, "1.5K"),
            (102_400, "100K"),
            (999_999, "976K"),
            (1_572_864, "1.5M"),
            (64 << 20, "64M"),
            (3 << 30, "3.0G"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
