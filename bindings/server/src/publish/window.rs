//! What was sent and not yet answered, and what became of the rest.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Requests that wait for their answer: at most so many, and no further one while they hold so many bytes.
#[derive(Debug)]
pub(crate) struct Window {
    messages_max: usize,
    bytes_max: usize,
    state: Mutex<State>,
    /// Notified when there may be room, or no further request may be made.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    outstanding: VecDeque<Outstanding>,
    /// Their bytes.
    bytes: usize,
    /// No further request will be made.
    is_finished: bool,
    tally: Tally,
}

#[derive(Clone, Debug)]
struct Outstanding {
    id: u64,
    /// The request.
    text: Arc<str>,
}

/// What became of the lines.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    /// Taken by the server.
    pub(crate) accepted: u64,
    /// Lanes they entered, all told.
    pub(crate) matched: u64,
    /// Of the accepted, those whose answer was lost with a connection: taken once, and sent again.
    pub(crate) duplicates: u64,
    /// Refused, by code.
    pub(crate) refused: BTreeMap<String, u64>,
    /// Sent, and the connection ended without an answer.
    pub(crate) lost: u64,
}

impl Window {
    pub(crate) fn new(messages_max: usize, bytes_max: usize) -> Self {
        Self { messages_max, bytes_max, state: Mutex::default(), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing here panics with the lock held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room for one more request; `false` if none may be made any more.
    pub(crate) fn wait_for_room(&self) -> bool {
        let is_full = |state: &mut State| {
            !state.is_finished && (state.outstanding.len() >= self.messages_max || state.bytes >= self.bytes_max)
        };
        let state = self.changed.wait_while(self.lock(), is_full).unwrap_or_else(PoisonError::into_inner);
        !state.is_finished
    }

    /// A request is about to be sent; `false` if none may be made any more. Ids rise.
    pub(crate) fn sending(&self, id: u64, text: &str) -> bool {
        let mut state = self.lock();
        if state.is_finished {
            return false;
        }
        state.outstanding.push_back(Outstanding { id, text: text.into() });
        state.bytes += text.len();
        true
    }

    /// The requests that wait for their answer, in order: to be sent again.
    pub(crate) fn unanswered(&self) -> Vec<Arc<str>> {
        self.lock().outstanding.iter().map(|request| Arc::clone(&request.text)).collect()
    }

    /// How many answers came.
    pub(crate) fn answers(&self) -> u64 {
        let state = self.lock();
        state.tally.accepted + state.tally.refused_total()
    }

    /// Whether no further request will be made and none waits.
    pub(crate) fn is_over(&self) -> bool {
        self.lock().is_over()
    }

    /// A line was refused without asking the server.
    pub(crate) fn refuse(&self, code: &str) {
        self.lock().tally.refuse(code);
    }

    /// No further request will be made. Returns whether nothing is outstanding and the caller is to close.
    pub(crate) fn finish(&self) -> bool {
        let mut state = self.lock();
        let is_first = !state.is_finished;
        state.is_finished = true;
        self.changed.notify_all();
        is_first && state.outstanding.is_empty()
    }

    /// How many requests wait for their answer.
    pub(crate) fn outstanding(&self) -> usize {
        self.lock().outstanding.len()
    }

    /// A request was carried out. Returns whether it was the last and the caller is to close.
    pub(crate) fn accepted(&self, id: Option<u64>, matched: u64, is_duplicate: bool) -> bool {
        let mut state = self.lock();
        if self.take(&mut state, id).is_some() {
            state.tally.accepted += 1;
            state.tally.matched += matched;
            state.tally.duplicates += u64::from(is_duplicate);
        }
        state.is_over()
    }

    /// A request was refused. Returns its id and whether it was the last and the caller is to close.
    pub(crate) fn refused(&self, id: Option<u64>, code: &str) -> (Option<u64>, bool) {
        let mut state = self.lock();
        let id = self.take(&mut state, id);
        if id.is_some() {
            state.tally.refuse(code);
        }
        (id, state.is_over())
    }

    /// Takes an answered request out. Answers come in order, so one without id belongs to the oldest.
    fn take(&self, state: &mut State, id: Option<u64>) -> Option<u64> {
        let at = match (id, state.outstanding.front()) {
            (None, _) => 0,
            (Some(id), Some(front)) if front.id == id => 0,
            (Some(id), _) => state.outstanding.binary_search_by_key(&id, |request| request.id).ok()?,
        };
        let request = state.outstanding.remove(at)?;
        state.bytes -= request.text.len();
        self.changed.notify_all();
        Some(request.id)
    }

    /// The connection has ended: what is outstanding is lost.
    pub(crate) fn end(&self) -> Tally {
        self.finish();
        let state = self.lock();
        Tally { lost: state.outstanding.len() as u64, ..state.tally.clone() }
    }
}

impl State {
    fn is_over(&self) -> bool {
        self.is_finished && self.outstanding.is_empty()
    }
}

impl Tally {
    fn refuse(&mut self, code: &str) {
        match self.refused.get_mut(code) {
            Some(count) => *count += 1,
            None => {
                self.refused.insert(code.to_owned(), 1);
            }
        }
    }

    pub(crate) fn refused_total(&self) -> u64 {
        self.refused.values().sum()
    }

    /// The summary line.
    pub(crate) fn summary(&self, took: Duration) -> String {
        let codes: Vec<_> = self.refused.iter().map(|(code, count)| format!("{code} {count}")).collect();
        let codes = if codes.is_empty() { String::new() } else { format!(" ({})", codes.join(", ")) };
        format!("{self}{codes}, lost {}{} in {:.1} s", self.lost, self.lost_note(), took.as_secs_f64())
    }

    fn lost_note(&self) -> &'static str {
        if self.lost == 0 { "" } else { " (no answer before the connection ended)" }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (accepted, refused) = (self.accepted, self.refused_total());
        let published = accepted + refused + self.lost;
        let duplicates = match self.duplicates {
            0 => String::new(),
            duplicates => format!(", duplicates {duplicates}"),
        };
        let matched = self.matched;
        write!(
            f,
            "published {published}: accepted {accepted} (matched {matched} deliveries{duplicates}), refused {refused}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: &str = "0123456789";

    #[test]
    fn every_line_is_counted_once() {
        let window = Window::new(10, 1_000);
        for id in 1..=5 {
            assert!(window.wait_for_room() && window.sending(id, TEN));
        }
        assert!(!window.accepted(Some(1), 2, false));
        assert_eq!(window.refused(Some(3), "full"), (Some(3), false));
        assert_eq!(window.refused(None, "bad-message"), (Some(2), false));
        window.refuse("not-json");
        assert!(!window.accepted(Some(99), 7, false), "an answer to nothing changes nothing");
        assert!(!window.accepted(Some(1), 7, false), "a second answer changes nothing");
        assert!(!window.finish(), "two are outstanding");
        assert!(!window.sending(6, "1") && !window.wait_for_room());
        assert!(!window.accepted(Some(4), 2, false));
        let tally = window.end();
        assert_eq!(
            tally.summary(Duration::from_millis(3_210)),
            "published 6: accepted 2 (matched 4 deliveries), refused 3 (bad-message 1, full 1, not-json 1), \
             lost 1 (no answer before the connection ended) in 3.2 s"
        );
    }

    #[test]
    fn the_last_answer_closes_once() {
        let window = Window::new(10, 1_000);
        assert!(window.finish());
        assert!(!window.finish());
        let window = Window::new(10, 1_000);
        window.sending(1, "1");
        assert!(!window.finish());
        assert!(window.accepted(Some(1), 0, false));
        assert_eq!(
            window.end().summary(Duration::ZERO),
            "published 1: accepted 1 (matched 0 deliveries), refused 0, lost 0 in 0.0 s"
        );
    }

    #[test]
    fn a_full_window_waits_for_an_answer() {
        for (messages_max, bytes_max) in [(2, 1_000), (1_000, 20)] {
            let window = Arc::new(Window::new(messages_max, bytes_max));
            window.sending(1, TEN);
            window.sending(2, TEN);
            let waits = std::thread::spawn({
                let window = Arc::clone(&window);
                move || window.wait_for_room()
            });
            window.accepted(Some(1), 0, false);
            assert!(waits.join().unwrap());
            window.sending(3, TEN);
            let waits = std::thread::spawn({
                let window = Arc::clone(&window);
                move || window.wait_for_room()
            });
            window.finish();
            assert!(!waits.join().unwrap(), "finished while full");
        }
    }

    #[test]
    fn what_has_no_answer_is_sent_again_in_order() {
        let window = Window::new(10, 1_000);
        for (id, text) in [(1, "a"), (2, "b"), (3, "c")] {
            window.sending(id, text);
        }
        window.accepted(Some(2), 1, false);
        assert_eq!(window.unanswered().iter().map(|text| &**text).collect::<Vec<_>>(), ["a", "c"]);
        assert!(!window.accepted(Some(1), 0, true) && !window.finish() && !window.is_over());
        assert!(window.accepted(Some(3), 1, false) && window.is_over());
        let summary = window.end().summary(Duration::ZERO);
        assert_eq!(summary, "published 3: accepted 3 (matched 2 deliveries, duplicates 1), refused 0, lost 0 in 0.0 s");
    }
}
