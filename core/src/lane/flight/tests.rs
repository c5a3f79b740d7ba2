use super::*;
use core::time::Duration;
use std::vec::Vec;

/// One message of the model, as the rules tell of it.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Plain {
    seq: u64,
    bytes: u64,
    attempts: u16,
    sent: Option<u64>,
    is_outstanding: bool,
    is_settled: bool,
}

struct World {
    flight: Flight,
    model: Vec<Plain>,
    head: Mark,
    now: u64,
    state: u64,
    kept: Vec<u64>,
}

const TERMS: AtLeastOnce = AtLeastOnce { in_flight_max: 8, ack_timeout: Duration::from_nanos(50), attempts_max: 2 };

impl World {
    fn draw(&mut self, below: u64) -> u64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % below
    }

    fn live(&self) -> impl Iterator<Item = &Plain> {
        self.model.iter().filter(|message| !message.is_settled)
    }

    fn at(&self) -> Instant {
        Instant::from_nanos(self.now)
    }

    /// Settles in the model; what goes and what that counts.
    fn settle(&mut self, is: impl Fn(&Plain) -> bool) -> (Vec<u64>, Count) {
        let (mut gone, mut count) = (Vec::new(), Count::default());
        for message in self.model.iter_mut().filter(|message| !message.is_settled && is(message)) {
            count += Count::new(1, message.bytes);
            message.is_settled = true;
            if !message.is_outstanding {
                gone.push(message.seq);
            }
        }
        self.model.retain(|message| !message.is_settled || message.is_outstanding);
        (gone, count)
    }

    fn send(&mut self) {
        let outstanding = self.draw(2);
        let live = self.live().count() as u64;
        let room = self.flight.room(outstanding);
        assert_eq!(room, 8_u64.saturating_sub(live + outstanding));
        if room == 0 {
            return;
        }
        let before = Mark { messages: self.head.messages + self.draw(3), bytes: self.head.bytes + self.draw(30) };
        let bytes = self.draw(100);
        self.head = Mark { messages: before.messages + 1, bytes: before.bytes + bytes };
        let (seq, sent) = (self.head.messages, Some(self.now));
        self.flight.sent(Run { after: before, through: self.head }, self.at());
        self.model.push(Plain { seq, bytes, attempts: 0, sent, is_outstanding: false, is_settled: false });
        self.kept.push(seq);
    }

    fn fire(&mut self, fired: Fired) {
        let now = self.now;
        let is_over = |message: &Plain| match (fired, message.sent) {
            (_, None) => false,
            (Fired::All, Some(_)) => message.attempts == 2,
            (Fired::At(_), Some(sent)) => message.attempts == 2 && sent + 50 <= now,
        };
        let (expected, count) = self.settle(is_over);
        let mut abandoned = Vec::new();
        assert_eq!(self.flight.fire(fired, |seq| abandoned.push(seq)), count);
        assert_eq!(abandoned, expected, "given up after so many attempts");
        self.kept.retain(|seq| !abandoned.contains(seq));
        for message in self.model.iter_mut().filter(|message| message.sent.is_some() && message.attempts < 2) {
            (message.sent, message.attempts) = (None, message.attempts + 1);
        }
    }

    fn answer(&mut self, is_sent: bool) {
        let Some(place) = self.model.iter().position(|message| message.is_outstanding) else { return };
        let Plain { seq, bytes, is_settled, .. } = self.model[place];
        let is_needed = if is_sent {
            let (count, is_needed) = self.flight.sent_again(seq, self.at());
            assert_eq!(count, Count::new(1, bytes));
            is_needed
        } else {
            self.flight.returned(seq)
        };
        assert_eq!(is_needed, !is_settled);
        self.model[place].is_outstanding = false;
        self.model[place].sent = is_sent.then_some(self.now);
        self.model.retain(|message| !message.is_settled || message.is_outstanding);
        self.kept.retain(|kept| is_needed || *kept != seq);
    }

    fn step(&mut self) {
        self.now += self.draw(20);
        let mut gone = Vec::new();
        match self.draw(9) {
            0..=2 => self.send(),
            3 => {
                let through = self.draw(self.head.messages + 2);
                // Mostly what is in the window.
                let through =
                    if self.draw(3) > 0 { through.max(self.head.messages.saturating_sub(5)) } else { through };
                let (expected, count) = self.settle(|message| message.seq <= through);
                assert_eq!(self.flight.acknowledge_through(through, |seq| gone.push(seq)), count);
                assert_eq!(gone, expected);
            }
            4 => {
                let seq = self.head.messages.saturating_sub(self.draw(9));
                let (expected, count) = self.settle(|message| message.seq == seq);
                assert_eq!(self.flight.acknowledge(seq, |seq| gone.push(seq)), count);
                assert_eq!(gone, expected);
            }
            5 => {
                if self.flight.due().is_some_and(|due| due <= self.at()) {
                    self.fire(Fired::At(self.at()));
                }
            }
            6 if self.draw(6) == 0 => self.fire(Fired::All),
            6 | 7 => {
                let next = self.model.iter_mut().find(|m| m.sent.is_none() && !m.is_outstanding);
                let run = self.flight.next_again();
                assert_eq!(run.map(|run| run.first()), next.as_ref().map(|message| message.seq), "in order");
                if let (Some(run), Some(next)) = (run, next) {
                    assert_eq!(run.count(), Count::new(1, next.bytes));
                    self.flight.start_again(next.seq);
                    next.is_outstanding = true;
                }
            }
            _ => {
                let is_sent = self.draw(3) > 0;
                self.answer(is_sent);
            }
        }
        self.kept.retain(|seq| !gone.contains(seq));
    }

    fn check(&self) {
        self.flight.check();
        let mut unacknowledged = Count::default();
        self.live().for_each(|message| unacknowledged += Count::new(1, message.bytes));
        assert_eq!(self.flight.unacknowledged(), unacknowledged);
        let oldest = self.live().next();
        assert_eq!(self.flight.needed_after().map(|mark| mark.messages + 1), oldest.map(|message| message.seq));
        let due = oldest.and_then(|message| message.sent).map(|sent| Instant::from_nanos(sent + 50));
        assert_eq!(self.flight.due(), due, "a timer for the oldest, but while it is about to be sent again");
        let kept: Vec<(u64, bool)> = self.flight.kept().map(|(run, is_held)| (run.first(), is_held)).collect();
        let expected: Vec<(u64, bool)> = self.model.iter().map(|m| (m.seq, m.is_outstanding)).collect();
        assert_eq!(kept, expected);
        assert_eq!(self.kept, expected.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), "what was let go is told");
        assert_eq!(self.flight.is_outstanding(), self.model.iter().any(|message| message.is_outstanding));
    }
}

#[test]
fn it_is_a_list_of_messages_with_attempts_and_times() {
    for seed in 0..40 {
        let flight = Flight::new(TERMS);
        let mut world =
            World { flight, model: Vec::new(), head: Mark::default(), now: 0, state: seed, kept: Vec::new() };
        for _ in 0..2_000 {
            world.step();
            world.check();
        }
    }
}

#[test]
fn a_message_in_flight_is_small() {
    assert!(size_of::<Message>() <= 40, "{} bytes", size_of::<Message>());
}
