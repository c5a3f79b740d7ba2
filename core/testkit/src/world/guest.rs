//! Peers: mini clients at the other ends of pipes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use forebay_core::ConnId;

use super::truth::tag_of;
use super::{Speaker, World};
use crate::mini::{Asked, Client, Item, Told};

/// A peer.
pub(super) struct Guest {
    pub(super) client: Client,
    pub(super) side: usize,
    pub(super) conn: ConnId,
    /// Read by the guest.
    pub(super) rx: usize,
    /// Written by the guest.
    pub(super) tx: usize,
    /// Whether it has torn the transport down.
    pub(super) has_left: bool,
    /// What a raw client has seen, by tag.
    raw_seen: BTreeSet<u64>,
    direct_seen: u64,
    /// What it knew of the subscriptions when it asked to resume, by topic; one for each time.
    pub(super) asked: VecDeque<BTreeMap<String, Stood>>,
    /// Topics it subscribed to, or was subscribed to, from a place in the past.
    pub(super) past: BTreeSet<String>,
}

/// Where a subscription of a session stood.
pub(super) struct Stood {
    pub(super) epoch: String,
    /// The last message that was received.
    pub(super) last: u64,
    /// Whether the hub was told, and tells what it does not have any more. (Of the latest messages it does not.)
    pub(super) is_exact: bool,
}

impl Guest {
    pub(super) fn new(client: Client, side: usize, conn: ConnId, rx: usize, tx: usize) -> Self {
        let (raw_seen, asked, past) = (BTreeSet::new(), VecDeque::new(), BTreeSet::new());
        Self { client, side, conn, rx, tx, has_left: false, raw_seen, direct_seen: 0, asked, past }
    }

    /// Whether it can ask for things.
    pub(super) fn is_usable(&self) -> bool {
        self.client.is_open() && !self.client.is_lawless() && !self.has_left
    }

    /// A session goes on behind what was received, or where its client said.
    fn check_resumed(&mut self, told: &[Told]) {
        for told in told {
            match told {
                Told::Error { asked: Some(Asked::Resume), .. } => drop(self.asked.pop_front()),
                Told::Resumed { lanes, .. } => {
                    let asked = self.asked.pop_front().expect("it has asked");
                    for (topic, epoch, start) in lanes {
                        let Some(known) = asked.get(topic).filter(|known| known.epoch == *epoch) else { continue };
                        let is_right = if known.is_exact { *start == known.last } else { *start >= known.last };
                        assert!(is_right, "{topic} goes on behind {start}, not {}", known.last);
                    }
                }
                _ => {}
            }
        }
    }

    /// Whether it is one that must be served faultlessly, and speaks the dialect.
    pub(super) fn keeps_book(&self) -> bool {
        self.is_usable() && self.client.reader.as_ref().is_some_and(|reader| reader.session.is_some())
    }
}

/// A direct message's text, and back.
pub(super) fn direct_text(number: u64) -> String {
    format!("direct {number}")
}

fn direct_number(item: &Item) -> Option<u64> {
    match item {
        Item::Text(text) => text.strip_prefix("direct ")?.parse().ok(),
        _ => None,
    }
}

impl World {
    /// Every guest reads, thinks and writes. Gives whether bytes moved.
    pub(super) fn guests_turn(&mut self, all: bool) -> bool {
        let mut moved = false;
        let names: Vec<usize> = self.guests.keys().copied().collect();
        for name in names {
            if all || !self.choices.one_in(4) {
                moved |= self.guest_turn(name);
            }
        }
        moved
    }

    fn guest_turn(&mut self, name: usize) -> bool {
        let guest = self.guests.get_mut(&name).expect("a guest");
        let mut moved = false;
        let rx = self.pipes.get_mut(&guest.rx).expect("a pipe");
        if !guest.has_left {
            let bytes = rx.read(8_192, self.now);
            moved |= !bytes.is_empty();
            guest.client.feed(&bytes);
            assert_eq!(guest.client.violation, None, "what {:?} of hub {} did to its peer", guest.conn, guest.side);
        }
        if rx.is_ended(self.now) && !guest.client.is_ended {
            guest.client.eof();
            assert_eq!(guest.client.violation, None, "how {:?} of hub {} ended", guest.conn, guest.side);
        }
        let ended = guest.client.is_ended;
        let tx = self.pipes.get_mut(&guest.tx).expect("a pipe");
        if !ended && !guest.has_left && !guest.client.out().is_empty() {
            let out = guest.client.out();
            let taken = tx.write(out.make_contiguous(), self.now);
            out.drain(..taken);
            moved |= taken > 0;
        }
        self.guest_listens(name);
        if ended {
            let guest = self.guests.remove(&name).expect("a guest");
            self.summary.referred += guest.client.referred();
            self.pipes.get_mut(&guest.tx).expect("a pipe").finish(self.now);
            self.note_gaps(&guest.client);
            if let Some((session, subs)) =
                guest.client.reader.as_ref().and_then(|reader| Some((reader.session.clone()?, reader.settled_subs())))
            {
                self.sides[guest.side].left.push((session, subs));
            }
            self.sides[guest.side].check_close(&guest.client);
            self.summary.documents += u64::from(self.sides[guest.side].check_document(&guest.client));
        }
        moved
    }

    pub(super) fn note_gaps(&mut self, client: &Client) {
        self.summary.uneven_gaps += client.reader.as_ref().map_or(0, |reader| reader.uneven_gaps);
    }

    fn guest_listens(&mut self, name: usize) {
        let guest = self.guests.get_mut(&name).expect("a guest");
        let side = guest.side;
        if let Some(reader) = &mut guest.client.reader {
            let told = reader.take_told();
            guest.check_resumed(&told);
            self.heard(side, &told);
            return self.guest_acknowledges(name, &told);
        }
        while let Some(item) = guest.client.items.pop_front() {
            if let Some(number) = direct_number(&item) {
                assert!(number > guest.direct_seen, "direct message {number} after {}", guest.direct_seen);
                guest.direct_seen = number;
                continue;
            }
            let tag = match &item {
                Item::Text(text) => tag_of(true, text.as_bytes()),
                Item::Binary(bytes) => tag_of(false, bytes),
                other => panic!("{other:?} is not a message"),
            };
            assert!(self.truth.is_published(side, tag), "a raw client received what nobody has published");
            // It may have lanes that are at least once, or start in the past.
            let is_first = guest.raw_seen.insert(tag);
            let may_repeat = self.sides[side].may_send_again() || !guest.past.is_empty();
            assert!(is_first || may_repeat, "a raw client received something twice");
            self.summary.delivered += 1;
        }
    }

    /// Somebody was told these things by the hub of this side.
    pub(super) fn heard(&mut self, side: usize, told: &[Told]) {
        for told in told {
            match told {
                Told::Message { topic, epoch, seq, key, data } => {
                    self.summary.delivered += 1;
                    let tag = tag_of(data.is_text(), data.bytes());
                    let known = self.truth.received(side, tag, *seq, topic, epoch.as_deref());
                    assert_eq!(key, known, "{seq} of {topic} with another key");
                }
                Told::Gap { missed, reasons, .. } => {
                    self.summary.lost += missed;
                    self.summary.gaps += 1;
                    let is_shed = reasons.iter().any(|reason| matches!(reason.as_str(), "log_bound" | "overload"));
                    self.summary.shed += if is_shed { *missed } else { 0 };
                }
                Told::Ended { code, .. } => self.summary.overflowed_lanes += u64::from(code == "overflow"),
                Told::Published { seq, tag, .. } => self.truth.numbered(side, *tag, *seq, None),
                Told::Error { tag, .. } if *tag != 0 => self.truth.refused(side, *tag),
                _ => {}
            }
        }
    }

    /// A raw guest sends a message, and the application of the hub will have to receive it.
    pub(super) fn raw_sends(&mut self, name: usize, is_text: bool, bytes: &[u8]) {
        let guest = self.guests.get_mut(&name).expect("a guest");
        let line = self.sides[guest.side].lines.get_mut(&guest.conn);
        let Some(Speaker::Raw(Some(expected))) = line.map(|line| &mut line.speaker) else { return };
        expected.push_back(tag_of(is_text, bytes));
        match std::str::from_utf8(bytes) {
            Ok(text) if is_text => guest.client.text(text),
            _ => guest.client.binary(bytes),
        }
    }
}
