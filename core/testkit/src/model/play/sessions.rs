//! Sessions: kept, resumed, and whose they are.

use std::time::Duration;

use forebay_core::{ConnId, Position, ResumeLane, SessionId, SessionToken};

use super::{Op, PRINCIPALS, Play, Side, place, same};
use crate::model::plan::age_of;
use crate::model::reference::{Ask, Stand, Verdict};
use crate::model::text;

impl Side {
    /// The session of a seat, where the hub has said what it is called.
    pub(super) fn named_session(&self, seat: u64) -> Option<(ConnId, SessionId)> {
        let conn = self.conn_of(seat)?;
        Some((conn, self.model.sessions[&self.model.session_of(conn)?].id?))
    }

    /// A token that was told, and where a client of that session may stand, as the numbers of an act say it: which token,
    /// how far back, and credit.
    fn stands(&self, args: &[u64]) -> (Option<SessionToken>, Vec<Stand>) {
        let tokens = &self.model.tokens;
        if tokens.is_empty() {
            return (None, Vec::new());
        }
        // The newest are the first.
        let (told, session) = &tokens[tokens.len() - 1 - place(args[0], tokens.len())];
        let lanes = self.model.sessions.get(session).map_or(&[][..], |session| &session.lanes);
        let stand = |key: &_| {
            let topic = &self.model.topics[&self.model.lanes[key].topic];
            let position = args[1].checked_sub(1).map(|back| Position {
                epoch: topic.epoch.unwrap_or(0) ^ u64::from(back % 16 == 15),
                seq: (topic.head + 1).saturating_sub(back),
            });
            let credit = args[2].checked_sub(1).map(|credit| u32::try_from(credit).unwrap_or(u32::MAX));
            Stand { topic: topic.name.to_string(), position, credit }
        };
        let is_plain = args[1] == 0 && args[2] == 0;
        let stands = if is_plain { Vec::new() } else { lanes.iter().map(stand).collect() };
        (SessionToken::parse(told), stands)
    }

    /// A `keep` or a `resume` of a client: members, and what it asks.
    pub(super) fn session_request(&mut self, op: Op, args: &[u64]) -> (String, Ask) {
        if op == Op::SayKeep {
            let ttl = age_of(args[1]);
            let member = ttl.map_or(String::new(), |ttl| format!(",\"ttl_ms\":{}", ttl.as_millis()));
            return (format!("\"op\":\"keep\"{member}"), Ask::Keep(ttl));
        }
        let (token, stands) = self.stands(&args[1..]);
        let listed: Vec<String> = stands.iter().map(written).collect();
        let session = token.map_or("nobody's".into(), |token| token.to_string());
        let lanes = if listed.is_empty() { String::new() } else { format!(",\"lanes\":[{}]", listed.join(",")) };
        (format!("\"op\":\"resume\",\"session\":\"{session}\"{lanes}"), Ask::Resume(token, stands))
    }
}

/// Where a client stands, as it writes it.
fn written(stand: &Stand) -> String {
    let position = stand
        .position
        .map_or(String::new(), |position| format!(",\"epoch\":\"{:016x}\",\"seq\":{}", position.epoch, position.seq));
    let credit = stand.credit.map_or(String::new(), |credit| format!(",\"credit\":{credit}"));
    format!("{{\"topic\":{}{position}{credit}}}", text::quoted(&stand.topic))
}

impl Play {
    pub(super) fn keep(&mut self, side: usize, args: &[u64]) -> Verdict {
        let side = &mut self.sides[side];
        let Some(conn) = side.conn_of(args[0]) else { return Ok(()) };
        let ttl: Option<Duration> = age_of(args[1]);
        let kept = side.hub.keep_session(conn, ttl);
        let expected = side.model.keep(conn, ttl);
        same("keep", kept.err(), expected.err())?;
        if let (Ok(token), Some(session)) = (kept, side.model.session_of(conn)) {
            side.model.learn_token(session, &token.to_string())?;
        }
        side.compare_numbers()
    }

    pub(super) fn resume(&mut self, side: usize, args: &[u64]) -> Verdict {
        let now = self.told_now();
        let side = &mut self.sides[side];
        let Some(conn) = side.conn_of(args[0]) else { return Ok(()) };
        let (Some(token), stands) = side.stands(&args[1..]) else { return Ok(()) };
        let lane = |stand: &Stand| (stand.position, stand.credit);
        let lanes: Vec<ResumeLane<'_>> = stands
            .iter()
            .map(|stand| {
                let (position, credit) = lane(stand);
                ResumeLane { topic: &stand.topic, position, credit }
            })
            .collect();
        let resumed = side.hub.resume(conn, token, &lanes, now);
        side.model.advance(now.as_nanos());
        let expected = side.model.resume(conn, Some(token), &stands);
        same("resume", resumed.err(), expected.err())?;
        if let (Ok(id), Ok(session)) = (resumed, expected) {
            same("the session that was resumed", Some(id), side.model.sessions[&session].id)?;
        }
        side.model.end_call();
        side.compare_numbers()
    }

    pub(super) fn authenticate(&mut self, side: usize, args: &[u64]) -> Verdict {
        let side = &mut self.sides[side];
        let Some(conn) = side.conn_of(args[0]) else { return Ok(()) };
        let principal = PRINCIPALS[place(args[1], PRINCIPALS.len())];
        let said = side.hub.authenticate(conn, principal);
        same("authenticate", said, side.model.authenticate(conn, principal))?;
        side.compare_numbers()
    }
}
