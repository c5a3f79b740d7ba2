//! What goes before all messages: answers, control frames, the opening handshake.

use super::{SessionKey, TopicKey};
use crate::mini::handshake::ResponseReader;
use crate::model::text;

/// What stands in the open part of a text.
#[derive(Clone, Debug)]
pub(crate) enum Open {
    /// Nobody cares.
    Free,
    /// The epoch of a topic.
    Epoch(TopicKey),
    /// The epoch of a topic, and a number at or above this one: which one is the hub's to know.
    EpochAndSeq(TopicKey, u64),
    /// The token of a session.
    Token(SessionKey),
    /// These objects, in any order.
    Pieces(Vec<String>),
}

/// What goes before all messages.
#[derive(Clone, Debug)]
pub(crate) enum Front {
    /// The answer to a good opening request with this key.
    Response {
        key: String,
        protocols: Vec<&'static str>,
    },
    /// An answer that refuses a request: its status.
    Refusal(u16),
    /// A text that begins so, and ends so: between them is what the specification leaves open.
    Text {
        start: String,
        end: Option<String>,
        open: Open,
    },
    Pong(Vec<u8>),
    Ping,
    /// Code and reason, where they are known.
    Close(Option<u16>, Option<String>),
}

impl Front {
    pub(crate) fn exact(text: &str) -> Self {
        Self::Text { start: text.into(), end: None, open: Open::Free }
    }

    pub(crate) fn error(code: &str, id: Option<&str>) -> Self {
        let start = format!("{{\"op\":\"error\",\"code\":\"{code}\",\"message\":\"");
        let end = format!("\"{}}}", text::id_member(id));
        Self::Text { start, end: Some(end), open: Open::Free }
    }

    /// Whether these bytes are not all of it.
    pub(super) fn is_cut(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Response { .. } | Self::Refusal(_) => !bytes.windows(4).any(|four| four == b"\r\n\r\n"),
            _ => text::first_frame(bytes).is_none(),
        }
    }

    /// How many of these bytes it is, and what the specification leaves open of it.
    pub(super) fn read(&self, bytes: &[u8]) -> Result<(usize, String), String> {
        if let Self::Response { .. } | Self::Refusal(_) = self {
            return self.read_head(bytes).map(|len| (len, String::new()));
        }
        let (opcode, payload, len) = text::first_frame(bytes).ok_or("not a whole frame")?;
        let shown = || format!("{opcode:#x} {:?}, not {self:?}", String::from_utf8_lossy(payload));
        let good = match self {
            Self::Text { start, end, open } => {
                let rest = std::str::from_utf8(payload).ok().filter(|_| opcode == 0x81);
                let rest = rest.and_then(|text| text.strip_prefix(start.as_str()));
                let Some(rest) = rest else { return Err(shown()) };
                let is_list = matches!(open, Open::Pieces(_) | Open::EpochAndSeq(..));
                match end {
                    None => rest.is_empty(),
                    Some(end) => match rest.strip_suffix(end.as_str()) {
                        Some(told) if is_list || !told.contains('"') => return Ok((len, told.into())),
                        _ => false,
                    },
                }
            }
            Self::Pong(sent) => opcode == 0x8A && payload == sent,
            Self::Ping => opcode == 0x89 && payload.len() <= 125,
            Self::Close(code, reason) => {
                let told = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                let reason = reason.as_ref().is_none_or(|reason| payload.get(2..) == Some(reason.as_bytes()));
                opcode == 0x88 && told == *code && (reason || code.is_none())
            }
            Self::Response { .. } | Self::Refusal(_) => unreachable!("read above"),
        };
        if good { Ok((len, String::new())) } else { Err(shown()) }
    }

    fn read_head(&self, bytes: &[u8]) -> Result<usize, String> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(bytes.len(), |place| place + 4);
        let response = ResponseReader::default().feed(&bytes[..end])?.ok_or("half an answer")?;
        match self {
            Self::Response { key, protocols } => {
                if response.status != 101 {
                    return Err(format!("status {}", response.status));
                }
                let chosen = response.check(key, protocols, false)?;
                let expected = protocols.contains(&"forebay.v1").then(|| "forebay.v1".to_string());
                if chosen == expected { Ok(end) } else { Err(format!("{chosen:?}, not {expected:?}")) }
            }
            Self::Refusal(status) if response.status == *status => Ok(bytes.len()),
            _ => Err(format!("status {}, not {self:?}", response.status)),
        }
    }
}
