//! Where lanes start, what is acknowledged, and credit.

use forebay_core::{Position, Start};

use super::{Op, Play, Side, name_of, place, same};
use crate::model::reference::{Acked, Ask, LaneKey, Verdict};
use crate::model::text;

/// The member that says where a subscription starts.
pub(super) fn from_members(from: Start) -> String {
    match from {
        Start::Snapshot => ",\"from\":\"snapshot\"".into(),
        Start::History(u32::MAX) => ",\"from\":\"start\"".into(),
        Start::History(messages) => format!(",\"from\":{{\"history\":{messages}}}"),
        Start::After(Position { epoch, seq }) => format!(",\"from\":{{\"epoch\":\"{epoch:016x}\",\"seq\":{seq}}}"),
        _ => String::new(),
    }
}

impl Side {
    /// Where a lane starts, as the numbers of an act say it: the kind, and how many.
    pub(super) fn start(&self, topic: u64, args: &[u64]) -> Start {
        let count = args[1];
        let head = self.topic_key(topic).map(|key| &self.model.topics[&key]);
        let position = head.map_or(Position { epoch: 1, seq: 0 }, |topic| Position {
            epoch: topic.epoch.unwrap_or(0),
            seq: topic.head.saturating_sub(count),
        });
        match args[0] {
            1 => Start::Snapshot,
            2 => Start::History(u32::MAX),
            3 => Start::History(u32::try_from(count).unwrap_or(u32::MAX)),
            4 => Start::After(position),
            5 => Start::After(Position { epoch: position.epoch ^ 1, ..position }),
            6 => Start::After(Position { seq: head.map_or(0, |topic| topic.head) + 1 + count, ..position }),
            _ => Start::Latest,
        }
    }

    /// The number of that one of a lane's unacknowledged messages; if there are less, one that is none of them.
    fn unacknowledged(&self, lane: Option<LaneKey>, number: u64) -> u64 {
        let known = lane.and_then(|lane| self.model.lanes[&lane].acks.as_ref());
        let sent = known.map_or(&[][..], |acks| &acks.unacknowledged);
        let place = usize::try_from(number).unwrap_or(usize::MAX);
        sent.get(place).map_or_else(
            || {
                let head = lane.map_or(0, |lane| self.model.topics[&self.model.lanes[&lane].topic].head);
                (head + 2).saturating_sub(number - sent.len() as u64)
            },
            |sent| sent.message.seq,
        )
    }

    /// An `ack` or a `credit` of a client: members, and what it asks.
    pub(super) fn delivery_request(&mut self, op: Op, args: &[u64]) -> (String, Ask) {
        let name = name_of(args[1]);
        let topic = text::quoted(name);
        if op == Op::SayCredit {
            let credit = u32::try_from(args[2]).unwrap_or(u32::MAX);
            return (
                format!("\"op\":\"credit\",\"topic\":{topic},\"credit\":{credit}"),
                Ask::Credit(name.into(), credit),
            );
        }
        let conn = self.conn_of(args[0]);
        let lane = conn.and_then(|conn| self.model.lane_on(conn, self.topic_key(args[1])));
        if args[3] == 0 {
            let seq = self.unacknowledged(lane, args[2]);
            return (
                format!("\"op\":\"ack\",\"topic\":{topic},\"seq\":{seq}"),
                Ask::Ack(name.into(), Acked::Through(seq)),
            );
        }
        let seqs: Vec<u64> = (0..args[3].min(128)).map(|more| self.unacknowledged(lane, args[2] + more)).collect();
        let listed: Vec<String> = seqs.iter().map(u64::to_string).collect();
        let members = format!("\"op\":\"ack\",\"topic\":{topic},\"seqs\":[{}]", listed.join(","));
        (members, Ask::Ack(name.into(), Acked::Each(seqs)))
    }

    /// The ack law, at every step: over all lanes, of each topic, of each lane.
    pub(super) fn compare_acks(&self) -> Verdict {
        let model = &self.model;
        let acks = model.acks();
        same("all acknowledgements", self.hub.stats().acks, acks)?;
        same("the ack law", acks.conservation_error(), 0)?;
        if acks == Default::default() {
            return Ok(());
        }
        for (key, topic) in &model.topics {
            let hub = self.hub.topic_pressure(topic.id).ok_or("a topic without numbers")?.acks;
            same("acknowledgements of a topic", hub, model.topic_acks(*key))?;
            same("the ack law of a topic", hub.conservation_error(), 0)?;
        }
        for lane in model.lanes.values() {
            let Some(hub) = lane.id.and_then(|id| self.hub.lane(id)) else { continue };
            same("acknowledgements of a lane", hub.acks, lane.acks.as_ref().map(|acks| acks.acks()))?;
            same("the ack law of a lane", hub.acks.map_or(0, |acks| acks.conservation_error()), 0)?;
        }
        Ok(())
    }
}

impl Play {
    pub(super) fn acknowledge(&mut self, side: usize, args: &[u64]) -> Verdict {
        let now = self.told_now();
        let side = &mut self.sides[side];
        let Some((conn, session)) = side.named_session(args[0]) else { return Ok(()) };
        let (key, id) = (side.topic_key(args[1]), side.topic_id(args[1]));
        let number = side.unacknowledged(side.model.lane_on(conn, key), args[2]);
        let is_single = place(args[3], 2) == 1;
        let acknowledged = if is_single {
            side.hub.acknowledge_one(session, id, number, now).map(|()| 1)
        } else {
            side.hub.acknowledge(session, id, number, now)
        };
        side.model.advance(now.as_nanos());
        let expected = side.model.acknowledge(conn, key, |seq| if is_single { seq == number } else { seq <= number });
        same("acknowledge", acknowledged, expected)?;
        side.model.end_call();
        side.compare_numbers()
    }

    pub(super) fn grant(&mut self, side: usize, args: &[u64]) -> Verdict {
        let now = self.told_now();
        let side = &mut self.sides[side];
        let Some((conn, session)) = side.named_session(args[0]) else { return Ok(()) };
        let (key, id) = (side.topic_key(args[1]), side.topic_id(args[1]));
        let credit = u32::try_from(args[2]).unwrap_or(u32::MAX);
        let is_granted = side.hub.grant(session, id, credit, now);
        side.model.advance(now.as_nanos());
        same("grant", is_granted, side.model.grant(conn, key, credit))?;
        side.model.end_call();
        side.compare_numbers()
    }
}
