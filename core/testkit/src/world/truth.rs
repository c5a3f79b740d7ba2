//! What was really published, so that nobody can be told anything else.

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::mini::Data;

/// What is known of a payload.
#[derive(Clone, Debug, Default)]
struct Fact {
    topic: String,
    key: String,
    seq: Option<u64>,
    epoch: Option<u64>,
    epoch_text: Option<String>,
    is_refused: bool,
}

/// Everything that was published on both sides. Payloads are told apart by their digests.
#[derive(Debug, Default)]
pub(super) struct Truth {
    facts: BTreeMap<(usize, u64), Fact>,
    by_number: BTreeMap<(usize, u64, u64), u64>,
    by_text: BTreeMap<(usize, String, u64), u64>,
    epochs: BTreeMap<(usize, String), u64>,
    heads: BTreeMap<(usize, u64), u64>,
}

/// What names a payload.
pub(super) fn tag_of(is_text: bool, bytes: &[u8]) -> u64 {
    Digest::of(u8::from(is_text), bytes)
}

impl Truth {
    /// Somebody tries to publish.
    pub(super) fn tried(&mut self, side: usize, topic: &str, key: &str, data: &Data) -> u64 {
        let tag = tag_of(data.is_text(), data.bytes());
        let fact = Fact { topic: topic.into(), key: key.into(), ..Fact::default() };
        assert!(self.facts.insert((side, tag), fact).is_none(), "payloads are unique");
        tag
    }

    /// The publish was refused: nobody must ever see it.
    pub(super) fn refused(&mut self, side: usize, tag: u64) {
        let fact = self.facts.get_mut(&(side, tag)).expect("tried");
        assert!(fact.seq.is_none(), "refused, but delivered: {fact:?}");
        fact.is_refused = true;
    }

    /// The publish was taken with this number.
    pub(super) fn numbered(&mut self, side: usize, tag: u64, seq: u64, epoch: Option<u64>) {
        let fact = self.facts.get_mut(&(side, tag)).expect("tried");
        assert!(seq > 0 && seq < 1 << 53, "seq {seq}");
        assert!(!fact.is_refused, "refused and taken: {fact:?}");
        assert!(fact.seq.is_none_or(|known| known == seq), "numbered {seq}: {fact:?}");
        fact.seq = Some(seq);
        if let Some(epoch) = epoch {
            fact.epoch = Some(epoch);
            let head = self.heads.entry((side, epoch)).or_default();
            assert!(seq > *head, "{seq} after {head} of one epoch");
            *head = seq;
            let other = self.by_number.insert((side, epoch, seq), tag);
            assert!(other.is_none(), "two messages with one number");
        }
        self.link(side, tag);
    }

    /// Somebody received it.
    pub(super) fn received(&mut self, side: usize, tag: u64, seq: u64, topic: &str, epoch: Option<&str>) -> &str {
        let fact = self.facts.get_mut(&(side, tag)).expect("received what nobody has published");
        assert_eq!(fact.topic, topic, "received on another topic");
        assert!(!fact.is_refused, "refused, but received: {fact:?}");
        assert!(fact.seq.is_none_or(|known| known == seq), "received as {seq}: {fact:?}");
        fact.seq = Some(seq);
        if let Some(text) = epoch {
            assert!(fact.epoch_text.as_deref().is_none_or(|known| known == text), "epoch {text}: {fact:?}");
            fact.epoch_text = Some(text.into());
            let known = *self.by_text.entry((side, text.into(), seq)).or_insert(tag);
            assert_eq!(known, tag, "two messages with the number {seq} of one epoch");
        }
        self.link(side, tag);
        &self.facts[&(side, tag)].key
    }

    /// The keys of an epoch's messages by number, as far as they are known.
    pub(super) fn keys(&self, side: usize, epoch: &str) -> BTreeMap<u64, &str> {
        let number = self.epochs.get(&(side, epoch.to_string()));
        let facts = self.facts.iter().filter(|((of, _), _)| *of == side).map(|(_, fact)| fact);
        let of_epoch = facts.filter(|fact| {
            fact.epoch_text.as_deref() == Some(epoch) || (fact.epoch.is_some() && fact.epoch.as_ref() == number)
        });
        of_epoch.filter_map(|fact| Some((fact.seq?, fact.key.as_str()))).collect()
    }

    /// Whether somebody has published it, as far as is known. Raw clients are not told topics and numbers.
    pub(super) fn is_published(&self, side: usize, tag: u64) -> bool {
        self.facts.get(&(side, tag)).is_some_and(|fact| !fact.is_refused)
    }

    /// The two ways to write an epoch name the same thing.
    fn link(&mut self, side: usize, tag: u64) {
        let fact = &self.facts[&(side, tag)];
        if let (Some(epoch), Some(text)) = (fact.epoch, &fact.epoch_text) {
            let known = *self.epochs.entry((side, text.clone())).or_insert(epoch);
            assert_eq!(known, epoch, "the epoch {text} is two");
        }
    }
}
