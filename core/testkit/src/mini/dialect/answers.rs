//! What the server says, held against the book.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::json;
use super::sessions::sub_of;
use super::{Asked, CODES, Data, OTHER_REASONS, POLICIES, Reader, Request, Sub, Told};

impl Reader {
    /// Takes a text message of the server in.
    ///
    /// # Errors
    /// What the server must not have said.
    pub fn text(&mut self, text: &str) -> Result<(), String> {
        self.said(text).map_err(|error| format!("{error}; in {text:.300}"))
    }

    /// Takes a compressed text message of the server in: it may be several messages of one topic.
    ///
    /// # Errors
    /// What the server must not have said.
    pub fn joined(&mut self, text: &str) -> Result<(), String> {
        if !text.starts_with('[') {
            return self.text(text);
        }
        let elements = json::elements(text)?;
        if elements.len() < 2 {
            return Err(format!("an array of {} messages", elements.len()));
        }
        let before = self.told.len();
        elements.into_iter().try_for_each(|element| self.text(element))?;
        let mut topics = self.told[before..].iter().map(|told| match told {
            Told::Message { topic, .. } => Some(topic),
            _ => None,
        });
        let first = topics.next().flatten();
        match first.is_some() && topics.all(|topic| topic == first) {
            true => Ok(()),
            false => Err(format!("an array of more than messages of one topic: {text:.300}")),
        }
    }

    fn said(&mut self, text: &str) -> Result<(), String> {
        let members = json::members(text)?;
        let said = Said { members: &members };
        let op = match members.first() {
            Some((name, _)) if name == "op" => said.text("op")?,
            _ => return Err("op is not the first member".into()),
        };
        if self.session.is_none() != (op == "hello") {
            return Err("hello comes first, and once".into());
        }
        if !matches!(op.as_str(), "message") && json::has_white_space(text) {
            return Err("white space".into());
        }
        let told = match op.as_str() {
            "hello" => self.hello(&said)?,
            "message" => self.message(&said)?,
            "gap" => self.gap(&said)?,
            "ok" => self.ok(&said)?,
            "error" => self.error(&said)?,
            "ended" => self.ended(&said)?,
            "pong" => {
                let id = said.find("id").map(str::to_string);
                self.answered(id.as_deref(), |asked| asked == Asked::Ping)?;
                Told::Pong { id }
            }
            other => return Err(format!("unknown op {other}")),
        };
        self.told.push(told);
        Ok(())
    }

    fn hello(&mut self, said: &Said<'_>) -> Result<Told, String> {
        let session = said.text("session")?;
        if session.len() != 48 || !session.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err("session is not 48 hexadecimal digits".into());
        }
        if said.number("version")? != 1 {
            return Err("version".into());
        }
        let mut limits = BTreeMap::new();
        for (name, value) in json::members(said.get("limits")?)? {
            limits.insert(name, value.parse().map_err(|_| "a limit that is not a number")?);
        }
        for name in [
            "message_bytes_max",
            "inbound_bytes_max",
            "topic_name_bytes_max",
            "lanes_max",
            "ping_interval_ms",
            "session_ttl_ms",
        ] {
            if !limits.contains_key(name) {
                return Err(format!("no limit {name}"));
            }
        }
        self.session = Some(session.clone());
        Ok(Told::Hello { session, limits })
    }

    fn message(&mut self, said: &Said<'_>) -> Result<Told, String> {
        let (topic, seq) = (said.text("topic")?, said.number("seq")?);
        let data = match (said.find("data"), said.find("data64")) {
            (Some(text), None) => Data::Json(text.into()),
            (None, Some(_)) => {
                let bytes = STANDARD.decode(said.text("data64")?).map_err(|error| format!("data64: {error}"))?;
                Data::Bytes(bytes)
            }
            _ => return Err("neither data nor data64, or both".into()),
        };
        if seq == 0 || seq >= 1 << 53 {
            return Err(format!("seq {seq}"));
        }
        // One without a key has no such member, rather than an empty one.
        let key = if said.find("key").is_some() { Some(said.text("key")?) } else { None };
        if key.as_ref().is_some_and(|key| key.is_empty() || key.chars().any(|c| c < ' ' || c == '\x7f')) {
            return Err("a key that cannot be".into());
        }
        let mut epoch = None;
        if let Some(sub) = self.subs.get_mut(&topic) {
            epoch = Some(sub.epoch.clone());
            if seq <= sub.last {
                // Sent again: an acknowledgement may cross it on its way.
                if sub.in_flight_max.is_none() || !sub.seen.contains(&seq) {
                    return Err(format!("{seq} after {}", sub.last));
                }
                sub.again += 1;
                let epoch = Some(sub.epoch.clone());
                return Ok(Told::Message { topic, epoch, seq, key: key.unwrap_or_default(), data });
            }
            sub.last = seq;
            sub.told = sub.told.max(seq);
            sub.received += 1;
            sub.seen.insert(seq);
            sub.bytes += data.bytes().len() as u64;
            // Every number up to here was received, told as missed, or superseded where the policy supersedes; what a gap told
            // beyond may come on top.
            let covered = sub.received + sub.missed;
            if covered < seq - sub.start && !sub.is_keyed() && !sub.is_uneven {
                return Err(format!("a hole before {seq} that no gap has told: {sub:?}"));
            }
            if sub.told == seq && covered > seq - sub.start && !sub.is_uneven {
                return Err(format!("more told as missed than there was: {sub:?}"));
            }
        } else if !self.loose.contains(&topic) {
            return Err("a message without a subscription".into());
        }
        Ok(Told::Message { topic, epoch, seq, key: key.unwrap_or_default(), data })
    }

    fn gap(&mut self, said: &Said<'_>) -> Result<Told, String> {
        let topic = said.text("topic")?;
        let (from, to, missed) = (said.number("from")?, said.number("to")?, said.number("missed")?);
        let reasons: Vec<String> =
            serde_json::from_str(said.get("reasons")?).map_err(|error| format!("reasons: {error}"))?;
        let sub = self.subs.get(&topic);
        let own = POLICIES.iter().filter(|(name, _)| sub.is_none_or(|sub| sub.policy == *name));
        let may_be_sent_again = sub.is_none_or(|sub| sub.in_flight_max.is_some());
        let others = OTHER_REASONS.iter().filter(|reason| **reason != "attempts" || may_be_sent_again);
        let known: Vec<&str> = own.flat_map(|(_, reasons)| *reasons).chain(others).copied().collect();
        let unique: BTreeSet<&String> = reasons.iter().collect();
        if reasons.is_empty() || unique.len() < reasons.len() || reasons.iter().any(|r| !known.contains(&r.as_str())) {
            return Err("reasons".into());
        }
        let is_reset = reasons.iter().any(|reason| reason == "reset");
        let is_possible = from > 0 && missed > 0 || is_reset && from == 0;
        if !is_possible || from > to || missed > to - from + 1 {
            return Err("a range that cannot be".into());
        }
        if let Some(sub) = self.subs.get_mut(&topic) {
            let has_other = reasons.iter().any(|reason| OTHER_REASONS.contains(&reason.as_str()));
            sub.gaps.push((from, to, missed));
            if has_other {
                // What was not there to begin with is in no sum, and neither is what was received, perhaps; what else was
                // lost cannot be told from it.
                sub.is_uneven |= to > sub.start;
                sub.told = sub.told.max(to);
                return Ok(Told::Gap { topic, from, to, missed, reasons });
            }
            if from <= sub.last && sub.in_flight_max.is_none() {
                return Err(format!("a gap over what was received: {sub:?}"));
            }
            if from != sub.told + 1 || missed != to - from + 1 {
                self.uneven_gaps += 1;
            }
            sub.told = sub.told.max(to);
            sub.missed += missed;
            if sub.received + sub.missed > sub.told - sub.start && !sub.is_uneven {
                return Err(format!("more missed than there was: {sub:?}"));
            }
        } else if !self.loose.contains(&topic) {
            return Err("a gap without a subscription".into());
        }
        Ok(Told::Gap { topic, from, to, missed, reasons })
    }

    fn ok(&mut self, said: &Said<'_>) -> Result<Told, String> {
        let id = said.get("id")?.to_string();
        let request = self.answered(Some(&id), |asked| !matches!(asked, Asked::Ping | Asked::Nonsense))?;
        let is_of_topic = matches!(request.asked, Asked::Subscribe | Asked::Unsubscribe | Asked::Credit);
        if is_of_topic && said.text("topic")? != request.topic {
            return Err("the topic of another request".into());
        }
        Ok(match request.asked {
            Asked::Subscribe => {
                let (topic, sub) = sub_of(said)?;
                if request.policy.as_ref().is_some_and(|asked| *asked != sub.policy) {
                    return Err(format!("not the policy that was asked for: {}", sub.policy));
                }
                let Sub { epoch, policy, start: seq, in_flight_max, .. } = sub.clone();
                if self.subs.insert(topic.clone(), sub).is_some() {
                    return Err("subscribed twice".into());
                }
                Told::Subscribed { id, topic, epoch, seq, policy, in_flight_max }
            }
            Asked::Keep => self.kept(said, id)?,
            Asked::Resume => self.resumed(said, id, &request.topic)?,
            Asked::Credit => Told::Granted { id, topic: request.topic },
            Asked::Unsubscribe => {
                let known = self.subs.remove(&request.topic).is_some();
                if !self.loose.remove(&request.topic) && !known {
                    return Err("unsubscribed from what was not subscribed".into());
                }
                Told::Unsubscribed { id, topic: request.topic }
            }
            _ => {
                let (seq, matched) = (said.number("seq")?, said.number("matched")?);
                let is_duplicate = said.find("duplicate").is_some();
                if is_duplicate && (said.get("duplicate")? != "true" || matched > 0) {
                    return Err("a duplicate that is none".into());
                }
                Told::Published { id, seq, matched, tag: request.tag, is_duplicate }
            }
        })
    }

    fn error(&mut self, said: &Said<'_>) -> Result<Told, String> {
        let code = said.text("code")?;
        if !CODES.contains(&code.as_str()) {
            return Err("an unknown code".into());
        }
        if said.text("message")?.is_empty() {
            return Err("an empty text for people".into());
        }
        if said.find("retry_after_ms").is_some() != (code == "limited") {
            return Err("retry_after_ms belongs to limited".into());
        }
        let retry_after_ms = said.find("retry_after_ms").map(|_| said.number("retry_after_ms")).transpose()?;
        let Some(id) = said.find("id").map(str::to_string) else {
            self.silent_errors =
                self.silent_errors.checked_sub(1).ok_or("an error without id, and no request it could belong to")?;
            return Ok(Told::Error { id: None, code, tag: 0, asked: None, retry_after_ms });
        };
        // What comes too fast is refused at once, whatever else waits.
        let at_once = code == "limited";
        let request = self.answered_by(Some(&id), |asked| asked != Asked::Ping, at_once)?;
        match (request.asked, code.as_str()) {
            (Asked::Subscribe, "already-subscribed") if !self.is_subscribed(&request.topic) => {
                return Err("already-subscribed, but it is not".into());
            }
            (Asked::Unsubscribe, "not-subscribed") if self.subs.contains_key(&request.topic) => {
                return Err("not-subscribed, but it is".into());
            }
            (Asked::Subscribe, "full" | "not-subscribed" | "too-large" | "bad-key" | "bad-id" | "unknown-session")
            | (
                Asked::Unsubscribe,
                "full" | "already-subscribed" | "too-large" | "overloaded" | "bad-key" | "bad-id" | "limited",
            )
            | (
                Asked::Unsubscribe | Asked::Publish,
                "policy-not-allowed" | "bad-limits" | "lanes-full" | "bad-position" | "not-at-least-once"
                | "unknown-session",
            )
            | (Asked::Publish, "already-subscribed" | "not-subscribed") => {
                return Err("a code that does not belong to the request".into());
            }
            (Asked::Keep, "draining" | "unknown-session" | "limited")
            | (Asked::Resume, "draining" | "unknown-session" | "limited" | "already-subscribed" | "bad-message")
            | (Asked::Credit, "not-subscribed" | "bad-topic") => {}
            (Asked::Keep | Asked::Resume | Asked::Credit, _) => {
                return Err("a code that does not belong to the request".into());
            }
            _ => {}
        }
        let (tag, asked) = (request.tag, Some(request.asked));
        Ok(Told::Error { id: Some(id), code, tag, asked, retry_after_ms })
    }

    fn is_subscribed(&self, topic: &str) -> bool {
        self.subs.contains_key(topic) || self.loose.contains(topic)
    }

    fn ended(&mut self, said: &Said<'_>) -> Result<Told, String> {
        let (topic, code) = (said.text("topic")?, said.text("code")?);
        let known = self.subs.remove(&topic);
        match code.as_str() {
            "removed" => {}
            "overflow" if known.as_ref().is_none_or(Sub::may_end) => {}
            "overflow" => return Err(format!("no lane that can overflow: {known:?}")),
            _ => return Err("an unknown code".into()),
        }
        if !self.loose.remove(&topic) && known.is_none() {
            return Err("the end of what was not subscribed".into());
        }
        Ok(Told::Ended { topic, code })
    }

    /// Finds the request an answer belongs to, and checks that the answer may come now.
    fn answered(&mut self, id: Option<&str>, fits: fn(Asked) -> bool) -> Result<Request, String> {
        self.answered_by(id, fits, false)
    }

    fn answered_by(&mut self, id: Option<&str>, fits: fn(Asked) -> bool, at_once: bool) -> Result<Request, String> {
        let place = self
            .pending
            .iter()
            .position(|request| request.id.as_deref() == id && (id.is_some() || fits(request.asked)))
            .ok_or("an answer nobody has asked for")?;
        let overtakes = |asked| matches!(asked, Asked::Unsubscribe | Asked::Ping | Asked::Credit);
        let request = &self.pending[place];
        if !fits(request.asked) {
            return Err(format!("the answer to something else than {request:?}"));
        }
        if at_once || overtakes(request.asked) {
            // Only what waits behind a publish may be overtaken, never another of its own kind.
            let mut behind_publish = false;
            for earlier in self.pending.range(..place) {
                behind_publish |= earlier.asked == Asked::Publish;
                if earlier.id.is_some() && (!behind_publish || overtakes(earlier.asked)) {
                    return Err(format!("out of order: {earlier:?} was asked before {request:?}"));
                }
            }
        } else {
            let earlier = self.pending.range(..place).find(|earlier| earlier.id.is_some() && !overtakes(earlier.asked));
            if let Some(earlier) = earlier {
                return Err(format!("out of order: {earlier:?} was asked before {request:?}"));
            }
            if let Some(earlier) = self.pending.range(..place).find(|earlier| earlier.id.is_some()) {
                return Err(format!("an {earlier:?} waited behind {request:?}"));
            }
        }
        let request = self.pending.remove(place).expect("found");
        if !at_once && !overtakes(request.asked) {
            // Whatever was asked before without an id is over too.
            self.pending.drain(..place);
        }
        Ok(request)
    }
}

pub(super) struct Said<'a> {
    pub(super) members: &'a [(String, &'a str)],
}

impl<'a> Said<'a> {
    pub(super) fn find(&self, name: &str) -> Option<&'a str> {
        self.members.iter().find(|(member, _)| member == name).map(|(_, value)| *value)
    }

    pub(super) fn get(&self, name: &str) -> Result<&'a str, String> {
        self.find(name).ok_or_else(|| format!("no {name}"))
    }

    pub(super) fn text(&self, name: &str) -> Result<String, String> {
        serde_json::from_str(self.get(name)?).map_err(|error| format!("{name}: {error}"))
    }

    pub(super) fn number(&self, name: &str) -> Result<u64, String> {
        serde_json::from_str(self.get(name)?).map_err(|error| format!("{name}: {error}"))
    }
}
