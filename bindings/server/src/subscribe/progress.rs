//! Where the command stands in each topic: what was printed, what is done with, and what the server is to be told.

use crate::requests::{self, Position};

/// A subscription.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Lane {
    pub(super) topic: String,
    /// Where the topic's numbering began; none before the first answer.
    epoch: Option<String>,
    /// The last message printed.
    printed: u64,
    /// The last one that left this process.
    flushed: u64,
    /// The last one that is done with: flushed, or, with `--ack manual`, acknowledged.
    done: u64,
    is_at_least_once: bool,
    /// A message that is done with came again: the server does not know.
    is_to_be_told: bool,
    /// Messages printed that credit was not granted for.
    ungranted: u32,
    /// The server has ended the subscription.
    pub(super) is_ended: bool,
}

/// What a message is to this command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Taken {
    /// To be printed.
    New,
    /// It was printed before.
    Again,
    /// Of a topic that nobody wants.
    Unwanted,
}

/// All subscriptions.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) lanes: Vec<Lane>,
    /// Acknowledgements come from standard input.
    is_manual: bool,
    is_credited: bool,
    /// Something of [`positions`](Self::positions) is new.
    pub(super) is_dirty: bool,
}

impl Progress {
    /// Of these topics, in this order.
    pub(super) fn new(topics: &[String], is_manual: bool, is_credited: bool) -> Self {
        let lanes = topics.iter().map(|topic| Lane { topic: topic.clone(), ..Lane::default() }).collect();
        Self { lanes, is_manual, is_credited, is_dirty: false }
    }

    /// Goes on where an earlier command was.
    pub(super) fn restore(&mut self, topic: &str, position: &Position) {
        if let Some(lane) = self.lane(topic) {
            let Position { epoch, seq } = position.clone();
            (lane.epoch, lane.printed, lane.flushed, lane.done) = (Some(epoch), seq, seq, seq);
        }
    }

    fn lane(&mut self, topic: &str) -> Option<&mut Lane> {
        self.lanes.iter_mut().find(|lane| lane.topic == topic)
    }

    /// What is done with, by topic.
    pub(super) fn positions(&self) -> impl Iterator<Item = (&str, Position)> {
        self.lanes
            .iter()
            .filter(|lane| !lane.is_ended)
            .filter_map(|lane| Some((lane.topic.as_str(), Position { epoch: lane.epoch.clone()?, seq: lane.done })))
    }

    /// The server has a lane, whose messages behind number `seq` will come.
    pub(super) fn subscribed(&mut self, topic: &str, epoch: &str, seq: u64, delivery: Option<&str>) {
        let Some(lane) = self.lane(topic) else { return };
        lane.is_at_least_once = delivery == Some("at-least-once");
        lane.ungranted = 0; // Credit was said with it.
        if lane.epoch.as_deref() != Some(epoch) {
            lane.epoch = Some(epoch.to_owned());
            (lane.printed, lane.flushed, lane.done) = (seq, seq, seq);
            self.is_dirty = true;
        }
    }

    /// A message came.
    pub(super) fn take(&mut self, topic: &str, seq: u64) -> Taken {
        let Some(lane) = self.lane(topic) else { return Taken::Unwanted };
        if seq <= lane.printed {
            // What waits for standard input's word is not acknowledged by us.
            lane.is_to_be_told |= seq <= lane.done;
            return Taken::Again;
        }
        lane.printed = seq;
        lane.ungranted += 1;
        Taken::New
    }

    /// What was printed has left this process. What the server is to be told.
    pub(super) fn flushed(&mut self) -> Vec<String> {
        let mut requests = Vec::new();
        for lane in &mut self.lanes {
            lane.flushed = lane.printed;
            if !self.is_manual && lane.done < lane.flushed {
                lane.done = lane.flushed;
                lane.is_to_be_told = true;
                self.is_dirty = true;
            }
            if std::mem::take(&mut lane.is_to_be_told) && lane.is_at_least_once {
                requests.push(requests::acknowledge(&lane.topic, lane.done));
            }
            let ungranted = std::mem::take(&mut lane.ungranted);
            if self.is_credited && ungranted > 0 && !lane.is_ended {
                requests.push(requests::grant(&lane.topic, ungranted));
            }
        }
        requests
    }

    /// A line of standard input, `TOPIC SEQ`: everything up to that number is done with. What the server is to be told.
    pub(super) fn acknowledge(&mut self, line: &str) -> Result<Option<String>, String> {
        let (topic, seq) = line.rsplit_once(' ').ok_or("must be TOPIC SEQ")?;
        let seq: u64 = seq.parse().map_err(|_| "must be TOPIC SEQ")?;
        let lane = self.lane(topic).ok_or_else(|| format!("no subscription to {topic}"))?;
        if seq > lane.flushed {
            return Err(format!("number {seq} of {topic} was not printed yet"));
        }
        if seq <= lane.done {
            return Ok(None);
        }
        lane.done = seq;
        let request = lane.is_at_least_once.then(|| requests::acknowledge(topic, seq));
        self.is_dirty = true;
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(is_manual: bool, is_credited: bool) -> Progress {
        let mut progress = Progress::new(&["a".to_owned(), "b c".to_owned()], is_manual, is_credited);
        progress.subscribed("a", "e1", 4, Some("at-least-once"));
        progress.subscribed("b c", "e2", 0, Some("best-effort"));
        progress
    }

    fn positions(progress: &Progress) -> Vec<(String, u64)> {
        progress.positions().map(|(topic, position)| (format!("{topic}@{}", position.epoch), position.seq)).collect()
    }

    #[test]
    fn what_was_flushed_is_acknowledged_and_what_comes_again_once_more() {
        let mut progress = progress(false, false);
        assert_eq!(
            (progress.take("a", 5), progress.take("a", 7), progress.take("x", 1)),
            (Taken::New, Taken::New, Taken::Unwanted)
        );
        assert_eq!(progress.take("b c", 1), Taken::New);
        // Not flushed: the server is not told.
        assert_eq!(progress.take("a", 5), Taken::Again);
        assert_eq!(positions(&progress), [("a@e1".to_owned(), 4), ("b c@e2".to_owned(), 0)]);
        assert_eq!(progress.flushed(), [r#"{"op":"ack","topic":"a","seq":7}"#]);
        assert_eq!(positions(&progress), [("a@e1".to_owned(), 7), ("b c@e2".to_owned(), 1)]);
        assert_eq!(progress.flushed(), [""; 0]);
        assert_eq!(progress.take("a", 6), Taken::Again);
        assert_eq!(progress.flushed(), [r#"{"op":"ack","topic":"a","seq":7}"#]);
        // The same numbering goes on; another starts anew.
        progress.subscribed("a", "e1", 6, Some("at-least-once"));
        assert_eq!(progress.take("a", 7), Taken::Again);
        progress.subscribed("a", "e3", 0, Some("at-least-once"));
        assert_eq!(progress.take("a", 1), Taken::New);
    }

    #[test]
    fn standard_input_acknowledges_what_was_printed() {
        let mut progress = progress(true, false);
        assert_eq!(progress.take("a", 5), Taken::New);
        assert_eq!(progress.acknowledge("a 5"), Err("number 5 of a was not printed yet".to_owned()));
        assert_eq!(progress.take("b c", 1), Taken::New);
        assert_eq!(progress.flushed(), [""; 0]);
        assert_eq!(progress.take("a", 5), Taken::Again, "and nothing is told of it");
        assert_eq!(progress.flushed(), [""; 0]);
        assert_eq!(progress.acknowledge("a 5"), Ok(Some(r#"{"op":"ack","topic":"a","seq":5}"#.to_owned())));
        assert_eq!(progress.acknowledge("a 5"), Ok(None));
        assert_eq!(progress.acknowledge("b c 1"), Ok(None), "best effort has no acknowledgements");
        assert_eq!(positions(&progress), [("a@e1".to_owned(), 5), ("b c@e2".to_owned(), 1)]);
        for bad in ["", "a", "5", "a x", "a -1", "d 1"] {
            assert!(progress.acknowledge(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn credit_follows_what_was_printed() {
        let mut progress = progress(true, true);
        for seq in 5..=7 {
            progress.take("a", seq);
        }
        assert_eq!(progress.take("a", 6), Taken::Again, "it costs nothing");
        assert_eq!(progress.flushed(), [r#"{"op":"credit","topic":"a","credit":3}"#]);
        assert_eq!(progress.flushed(), [""; 0]);
        progress.take("a", 8);
        progress.subscribed("a", "e1", 7, Some("at-least-once"));
        assert_eq!(progress.flushed(), [""; 0], "said with the subscription");
        progress.take("a", 9);
        progress.lanes[0].is_ended = true;
        assert_eq!(progress.flushed(), [""; 0], "nobody is there to take it");
    }

    #[test]
    fn a_command_goes_on_where_an_earlier_one_was() {
        let mut progress = Progress::new(&["a".to_owned()], false, false);
        assert_eq!(positions(&progress), []);
        progress.restore("a", &Position { epoch: "e1".to_owned(), seq: 9 });
        progress.restore("z", &Position { epoch: "e1".to_owned(), seq: 9 });
        assert_eq!(positions(&progress), [("a@e1".to_owned(), 9)]);
        assert_eq!((progress.take("a", 9), progress.take("a", 10)), (Taken::Again, Taken::New));
    }
}
