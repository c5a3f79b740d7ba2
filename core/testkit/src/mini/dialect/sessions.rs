//! Sessions that outlive their connection, acknowledgements and credit.

use super::super::json;
use super::answers::Said;
use super::requests::quoted;
use super::{Asked, POLICIES, Reader, Sub, Told};

/// Where a client says it stands when it resumes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The last message that was dealt with: epoch and number.
    pub position: Option<(&'a str, u64)>,
    /// The credit from now on.
    pub credit: Option<u64>,
}

impl Reader {
    /// The text of a keep.
    pub fn keep(&mut self, ttl_ms: Option<u64>) -> String {
        let ttl = ttl_ms.map_or(String::new(), |ttl| format!(",\"ttl_ms\":{ttl}"));
        self.ask(Asked::Keep, true, "", 0, &format!("\"op\":\"keep\"{ttl}"))
    }

    /// The text of a resume.
    pub fn resume(&mut self, session: &str, places: &[Place<'_>]) -> String {
        let places: Vec<String> = places
            .iter()
            .map(|place| {
                let position = place.position.map(|(epoch, seq)| format!(",\"epoch\":{},\"seq\":{seq}", quoted(epoch)));
                let credit = place.credit.map(|credit| format!(",\"credit\":{credit}"));
                format!(
                    "{{\"topic\":{}{}{}}}",
                    quoted(place.topic),
                    position.unwrap_or_default(),
                    credit.unwrap_or_default()
                )
            })
            .collect();
        let members = format!("\"op\":\"resume\",\"session\":{},\"lanes\":[{}]", quoted(session), places.join(","));
        self.ask(Asked::Resume, true, session, 0, &members)
    }

    /// The text of an acknowledgement of everything up to a number. It has no answer.
    #[must_use]
    pub fn ack(topic: &str, seq: u64) -> String {
        format!("{{\"op\":\"ack\",\"topic\":{},\"seq\":{seq}}}", quoted(topic))
    }

    /// The text of an acknowledgement of some messages. It has no answer.
    #[must_use]
    pub fn ack_each(topic: &str, seqs: &[u64]) -> String {
        let seqs: Vec<String> = seqs.iter().map(u64::to_string).collect();
        format!("{{\"op\":\"ack\",\"topic\":{},\"seqs\":[{}]}}", quoted(topic), seqs.join(","))
    }

    /// The text of a grant.
    pub fn credit(&mut self, topic: &str, credit: u64) -> String {
        let members = format!("\"op\":\"credit\",\"topic\":{},\"credit\":{credit}", quoted(topic));
        self.ask(Asked::Credit, true, topic, 0, &members)
    }

    pub(super) fn kept(&mut self, said: &Said<'_>, id: String) -> Result<Told, String> {
        let (session, ttl_ms) = (said.text("session")?, said.number("ttl_ms")?);
        if self.session.as_ref() != Some(&session) {
            return Err("kept another session".into());
        }
        Ok(Told::Kept { id, session, ttl_ms })
    }

    pub(super) fn resumed(&mut self, said: &Said<'_>, id: String, asked: &str) -> Result<Told, String> {
        let (session, ttl_ms) = (said.text("session")?, said.number("ttl_ms")?);
        if session != asked {
            return Err("resumed another session".into());
        }
        if !self.subs.is_empty() {
            return Err("resumed with subscriptions of its own".into());
        }
        let texts: Vec<&serde_json::value::RawValue> =
            serde_json::from_str(said.get("lanes")?).map_err(|error| format!("lanes: {error}"))?;
        let mut lanes = Vec::new();
        for text in texts {
            let members = json::members(text.get())?;
            let (topic, mut sub) = sub_of(&Said { members: &members })?;
            // What was acknowledged or told on another connection is not known here.
            (sub.is_uneven, sub.is_resumed) = (true, true);
            lanes.push((topic.clone(), sub.epoch.clone(), sub.start));
            if self.subs.insert(topic, sub).is_some() {
                return Err("two lanes on one topic".into());
            }
        }
        self.session = Some(session.clone());
        Ok(Told::Resumed { id, session, ttl_ms, lanes })
    }
}

/// A subscription as it is told.
pub(super) fn sub_of(said: &Said<'_>) -> Result<(String, Sub), String> {
    let (topic, epoch, seq) = (said.text("topic")?, said.text("epoch")?, said.number("seq")?);
    let policy = said.text("policy")?;
    if !POLICIES.iter().any(|(name, _)| *name == policy) {
        return Err("an unknown policy".into());
    }
    if epoch.len() != 16 || !epoch.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) {
        return Err("epoch is not 16 hexadecimal digits".into());
    }
    let in_flight_max = match (said.text("delivery")?.as_str(), said.find("in_flight_max")) {
        ("best-effort", None) => None,
        ("at-least-once", Some(_)) => Some(said.number("in_flight_max")?),
        (other, _) => return Err(format!("delivery {other}")),
    };
    Ok((topic, Sub::new(epoch, policy, in_flight_max, seq)))
}
