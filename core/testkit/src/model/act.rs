//! What can be done to a hub, as numbers: an act says all that is needed to do it again, and does nothing where what it
//! names is not there. So any part of a transcript plays, and a transcript is text.

use std::fmt;
use std::str::FromStr;

macro_rules! ops {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What is done. The numbers behind an act's name, in order, are in its description.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub(crate) enum Op { $($(#[$doc])* $variant,)* }

        impl Op {
            pub(crate) const ALL: &[Op] = &[$(Self::$variant,)*];

            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

ops! {
    /// A connection comes: seat, 1: raw, 0: by an opening handshake or 1: upgraded, bytes of a leftover's message.
    Accept = "accept",
    /// A client writes a subscribe: seat, topic, policy (0: none), messages, bytes, age in ms (0: none), with an id,
    /// and from where, as for the act `subscribe`.
    SaySubscribe = "say-subscribe",
    /// A client writes an unsubscribe: seat, topic, with an id.
    SayUnsubscribe = "say-unsubscribe",
    /// A client writes a publish: seat, topic, key, payload bytes, 1: bytes, with an id, its message's id.
    SayPublish = "say-publish",
    /// A client writes a ping of the dialect: seat, with an id.
    SayPing = "say-ping",
    /// A client writes what is answered by an error: seat, which, with an id.
    SayNonsense = "say-nonsense",
    /// A client writes a message without meaning: seat, bytes, 1: binary, bytes of its fragments (0: one frame).
    SayMessage = "say-message",
    /// A client writes a control frame: seat, 0: ping or 1: pong, bytes.
    SayControl = "say-control",
    /// A client writes a Close frame: seat, code (0: none).
    SayClose = "say-close",
    /// A client breaks RFC 6455: seat, how.
    SayCrime = "say-crime",
    /// Bytes arrive: seat, how many of those that were written.
    Deliver = "deliver",
    /// The embedder polls: 0: transmits, 1: effects, 2: events; how often.
    Poll = "poll",
    /// A Transmit is answered: seat, bytes.
    Answer = "answer",
    /// The transport takes bytes again: seat.
    Writable = "writable",
    /// The transport ends: seat.
    Eof = "eof",
    /// The embedder tells what the kernel holds: seat, bytes.
    Kernel = "kernel",
    /// The application closes: seat, code.
    Close = "close",
    /// The application declares: topic, policy, messages, bytes, age in ms, message bytes, keys, bytes of keys, log bytes,
    /// choices and the scope of `Disconnect`, in flight (0: best effort), ms until it is sent again, attempts, messages of
    /// history (0: none), their bytes, their age in ms, ms between flushes (0: none), class, publishes in a second (0: any),
    /// at once, ids that are remembered.
    Topic = "topic",
    /// The application opens: topic.
    OpenTopic = "open-topic",
    /// The application removes: topic.
    RemoveTopic = "remove-topic",
    /// The application subscribes a connection: seat, topic, policy, messages, bytes, age in ms, nothing, from (0: latest, 1:
    /// snapshot, 2: start, 3: history, 4: behind a position, 5: one of another epoch, 6: one ahead), of how many, delivery (0:
    /// any, 1: best effort, 2: at least once), credit (0: none, else one less).
    Subscribe = "subscribe",
    /// The application unsubscribes a connection: seat, topic.
    Unsubscribe = "unsubscribe",
    /// A reader in the process: its number, topic, and the rest as for `subscribe`.
    Local = "local",
    /// It leaves: its number.
    Unlocal = "unlocal",
    /// It takes: its number, how many entries.
    Take = "take",
    /// The application publishes: topic, key, bytes, 1: binary, the message's id.
    Publish = "publish",
    /// The application sends: seat, bytes, 1: binary.
    Send = "send",
    /// The application receives: seat, how often.
    Receive = "receive",
    /// Time passes, and deadlines are kept: nanoseconds.
    Advance = "advance",
    /// The clock jumps: nanoseconds.
    Jump = "jump",
    /// The clock goes back until it next advances: nanoseconds.
    Backwards = "backwards",
    /// The embedder handles timeouts.
    Timeout = "timeout",
    /// Everything that is due and there is handled, and Transmits are answered in full.
    Settle = "settle",
    /// The hub drains: nanoseconds until it must be over.
    Drain = "drain",
    /// Something is said of a connection that never was.
    Stale = "stale",
    /// From a reader of the first hub into the mailbox: its number, how many.
    Post = "post",
    /// From the mailbox into the second hub: topic, how many.
    Fetch = "fetch",
    /// The application sends, if that can be written now: seat, bytes, 1: binary.
    SendVolatile = "send-volatile",
    /// A client acknowledges: seat, topic, which of its unacknowledged messages, 0: up to it, else how many single ones.
    SayAck = "say-ack",
    /// A client grants credit: seat, topic, messages, with an id.
    SayCredit = "say-credit",
    /// A client asks that its session be kept: seat, ms (0: as long as may be), with an id.
    SayKeep = "say-keep",
    /// A client resumes: seat, which token, 0: without positions, else how far back they are and one more, credit (0: none,
    /// else one less), with an id.
    SayResume = "say-resume",
    /// The application acknowledges for a client: seat, topic, which, 0: up to it, 1: single.
    Ack = "ack",
    /// The application grants for a client: seat, topic, messages.
    Grant = "grant",
    /// The application keeps a session: seat, ms (0: as long as may be).
    Keep = "keep",
    /// The application resumes: seat, which token, positions and credit as for `say-resume`.
    Resume = "resume",
    /// The application says who it is: seat, which name.
    Authenticate = "authenticate",
}

/// Numbers of an act.
pub(crate) const ARGS: usize = 24;

/// One act on one of the hubs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Act {
    /// Which hub.
    pub(crate) side: usize,
    /// What.
    pub(crate) op: Op,
    /// How.
    pub(crate) args: [u64; ARGS],
}

impl Act {
    pub(crate) fn new(side: usize, op: Op, given: &[u64]) -> Self {
        let mut args = [0; ARGS];
        args[..given.len()].copy_from_slice(given);
        Self { side, op, args }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.side, self.op.name())?;
        let used = self.args.iter().rposition(|arg| *arg != 0).map_or(0, |last| last + 1);
        self.args[..used].iter().try_for_each(|arg| write!(f, " {arg}"))
    }
}

impl FromStr for Act {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let side = words.next().and_then(|word| word.parse().ok()).filter(|side| *side < 2);
        let name = words.next().unwrap_or_default();
        let op = Op::ALL.iter().find(|op| op.name() == name);
        let given: Result<Vec<u64>, _> = words.map(str::parse).collect();
        match (side, op, given) {
            (Some(side), Some(op), Ok(given)) if given.len() <= ARGS => Ok(Self::new(side, *op, &given)),
            _ => Err(format!("not an act: {text}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acts_are_text() {
        for op in Op::ALL {
            let act = Act::new(1, *op, &[1, 0, u64::MAX]);
            assert_eq!(act.to_string().parse(), Ok(act));
        }
        assert_eq!(Act::new(0, Op::Timeout, &[]).to_string(), "0 timeout");
        for text in ["", "0", "0 dance", "2 timeout", "0 timeout x", "0 dance 1"] {
            assert!(text.parse::<Act>().is_err(), "{text}");
        }
        let with = |numbers| format!("0 timeout{}", " 1".repeat(numbers)).parse::<Act>();
        assert!(with(ARGS).is_ok() && with(ARGS + 1).is_err());
    }
}
