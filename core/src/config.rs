//! Every limit: a finite default, a name, a unit. Validated once, by [`Config::try_from`].

use core::fmt;
use core::time::Duration;

use crate::compression::DeflateOptions;
use crate::delivery::{Class, Delivery, Excess, History, Rate};
use crate::output::Position;
use crate::policy::{Disconnect, Policies, Policy};

/// Who may make a topic that was not declared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum CreateTopics {
    /// Any client, by subscribing or publishing.
    Clients,
    /// Only the application.
    Application,
}

/// Where levels of pressure change (`Level`), for lanes, sessions, connections, topics and the hub alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Watermarks {
    /// `High` from here, in percent of a limit: 75. At most 100.
    pub high_percent: u8,
    /// `Nominal` again from here, in percent of a limit: 50. At least 1, less than `high_percent`. Also where
    /// `Event::Drained` and `Event::Sendable` are told.
    pub low_percent: u8,
    /// How long a level is held at least before it falls: 100 ms. At most 1 h.
    pub dwell: Duration,
}

impl Default for Watermarks {
    fn default() -> Self {
        Self { high_percent: 75, low_percent: 50, dwell: Duration::from_millis(100) }
    }
}

impl Watermarks {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let Watermarks { high_percent, low_percent, dwell } = *self;
        check(low_percent > 0, "watermarks.low_percent", "must be at least 1")?;
        check(low_percent < high_percent, "watermarks.low_percent", "must be less than watermarks.high_percent")?;
        check(high_percent <= 100, "watermarks.high_percent", "must be at most 100")?;
        check(dwell <= Duration::from_secs(3_600), "watermarks.dwell", "must be at most 1 h")
    }
}

/// The limits of a lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LaneLimits {
    /// Waiting messages, at most 2^31.
    pub messages_max: u32,
    /// Waiting payload bytes.
    pub bytes_max: u64,
}

/// What a topic is declared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TopicOptions {
    /// The policy of lanes whose subscriber does not choose one.
    pub policy: Policy,
    /// The policies a subscriber may choose, beside `policy`: [`Policies::LOSSY`]. Never `Block`: who is to be waited for
    /// is not a subscriber's choice.
    pub choices: Policies,
    /// The limits of its lanes: 16,384 messages, 1 MiB. (One 64 KiB read from a client can hold a thousand publishes, and all
    /// of a tick's input comes before its output.)
    pub lane: LaneLimits,
    /// How old a message may become while it waits: then it is lost (`age`). `None`: as old as it likes. Only with a
    /// policy that may lose single messages ([`Policy::is_lossy`]); lanes with other policies pay no heed to it.
    pub age_max: Option<Duration>,
    /// Payload bytes of one message; a larger publish is refused. At most `lane.bytes_max`. 256 KiB.
    pub message_bytes_max: u32,
    /// Resident bytes of the topic's log, by allocated capacity. 16 MiB. At least `2 * message_bytes_max + 4096`: that
    /// holds one largest message in one encoding; twice as much with a history, and twice as much more with `keeps_latest`,
    /// which are there in all encodings. Another topic read in two encodings at once (raw or in-process, and a dialect), or both
    /// from the log and by key, needs that for each, or its largest messages are refused (`Overloaded`).
    pub log_bytes_max: usize,
    /// Keys that are known for lanes with `LatestPerKey`: 1,024. Beyond it the key whose latest message is the oldest is
    /// forgotten. A lane with that policy must have room for as many messages.
    pub keys_max: u32,
    /// Payload bytes of the latest messages of all keys: 1 MiB. A lane with `LatestPerKey` must have room for as many,
    /// and they for one message of `message_bytes_max`.
    pub keys_bytes_max: u64,
    /// What `Disconnect` does: ends the connection with 1013.
    pub disconnect: Disconnect,
    /// Whether subscribers acknowledge: they do not. At least once needs a `policy` that can be
    /// ([`Policy::can_be_at_least_once`]); lanes with other policies are best-effort all the same.
    pub delivery: Delivery,
    /// What is kept for those who come later: nothing.
    pub history: Option<History>,
    /// Whether the latest message of each key is known though no lane needs it, for
    /// [`Start::Snapshot`]: it is not.
    pub keeps_latest: bool,
    /// Where its messages stand among those of a connection's other topics: `Normal`.
    pub class: Class,
    /// Messages are sent at most so often, all together: `None`, at once. At least 1 ms, at most 1 h.
    pub flush_interval: Option<Duration>,
    /// How many messages may be published: `None`, as many as are.
    pub publish_rate: Option<Rate>,
    /// What becomes of a client's publish beyond the rate: it waits, for `block_max` at most.
    pub publish_excess: Excess,
    /// Publish ids that are remembered: 1,024. At most 2^20.
    pub publish_ids_max: u32,
    /// Whether its messages are sent compressed to whom that was agreed with ([`Options::deflate`]): they are not. The length
    /// of what is compressed tells of its content: secrets and what a stranger may choose do not belong in one such topic.
    pub deflate: bool,
}

impl Default for TopicOptions {
    fn default() -> Self {
        Self {
            policy: Policy::DropOldest,
            choices: Policies::LOSSY,
            lane: LaneLimits { messages_max: 16_384, bytes_max: 1 << 20 },
            age_max: None,
            message_bytes_max: 256 << 10,
            log_bytes_max: 16 << 20,
            keys_max: 1_024,
            keys_bytes_max: 1 << 20,
            disconnect: Disconnect::default(),
            delivery: Delivery::BestEffort,
            history: None,
            keeps_latest: false,
            class: Class::Normal,
            flush_interval: None,
            publish_rate: None,
            publish_excess: Excess::Wait,
            publish_ids_max: 1_024,
            deflate: false,
        }
    }
}

/// How a session subscribes: as the topic says, or with a policy it allows and with lower limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LaneOptions {
    /// The policy; one of the topic's `choices`.
    pub policy: Option<Policy>,
    /// Waiting messages; at most the topic's.
    pub messages_max: Option<u32>,
    /// Waiting payload bytes; at most the topic's, at least the topic's `message_bytes_max`.
    pub bytes_max: Option<u64>,
    /// How old a message may become while it waits; at most the topic's, where it has one. Only with a policy that may
    /// lose single messages.
    pub age_max: Option<Duration>,
    /// `false`: best effort, whatever the topic's delivery. `true`: at least once, or not at all. `None`: as the topic
    /// delivers, if the policy can.
    pub at_least_once: Option<bool>,
    /// How many messages it may be sent before it grants more ([`Hub::grant`](crate::Hub::grant)). `None`: as many as there
    /// are.
    pub credit: Option<u32>,
}

impl LaneOptions {
    /// The topic's limits, with this policy.
    #[must_use]
    pub const fn with_policy(policy: Policy) -> Self {
        Self {
            policy: Some(policy),
            messages_max: None,
            bytes_max: None,
            age_max: None,
            at_least_once: None,
            credit: None,
        }
    }
}

/// Where a new lane starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Start {
    /// Behind the newest message: only what is published from now on.
    #[default]
    Latest,
    /// With what is current: the latest message of each key in lanes with `LatestPerKey`, the last message in others.
    Snapshot,
    /// Behind this message. One beyond the newest is an error; one of another epoch is told as a gap (`reset`).
    After(Position),
    /// With so many of the newest messages. `History(u32::MAX)`: with all there are.
    History(u32),
}

/// Every limit of a hub. Plain numbers; [`Config::try_from`] checks them together.
///
/// ```
/// use forebay_core::{Config, Options};
/// let config = Config::try_from(Options { connections_max: 100, ..Options::default() });
/// assert!(config.is_ok());
/// let error = Config::try_from(Options { connections_max: 0, ..Options::default() }).unwrap_err();
/// assert_eq!(error.field, "connections_max");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Connections at a time: 65,536. One more is refused at accept.
    pub connections_max: u32,
    /// Topics at a time, declared or not: 10,000.
    pub topics_max: u32,
    /// Bytes of a topic's name: 256.
    pub topic_name_bytes_max: u32,
    /// Bytes of a message's key: 256.
    pub key_bytes_max: u32,
    /// Topics a session may be subscribed to at a time: 256.
    pub lanes_per_session_max: u32,
    /// Who may make undeclared topics: clients.
    pub create_topics: CreateTopics,
    /// What undeclared topics are made with.
    pub topic_defaults: TopicOptions,

    /// Resident bytes of the whole hub by allocated capacity (logs, partial messages, replies, parked publishes):
    /// 256 MiB. Logs get 15/16 of it at most; a message that has no room even in that alone is refused (`Overloaded`).
    pub resident_bytes_max: usize,
    /// Bytes of one Transmit, plus the rest of the message that crosses it: 128 KiB. At most 1 GiB.
    pub transmit_bytes_max: u32,
    /// Bytes of one inbound WebSocket message: 1 MiB. A longer one closes with 1009.
    pub message_bytes_max: u32,
    /// Bytes of whole inbound messages that wait for the application or behind a parked publish, per connection: 1 MiB.
    /// At the bound the connection is not read; it is read again at half of it.
    pub inbound_bytes_max: u32,
    /// Bytes of replies that wait, per connection: 64 KiB. At the bound the connection is not read.
    pub reply_bytes_max: u32,
    /// The direct lane of a connection: 1,024 messages, 1 MiB.
    pub direct_lane: LaneLimits,
    /// Bytes of an HTTP head: 16 KiB.
    pub head_bytes_max: u32,

    /// From accept to the end of the opening handshake: 5 s, absolute.
    pub handshake_timeout: Duration,
    /// From the first byte of payload to the last of an inbound message: 30 s. (Of half a frame's head without payload the
    /// deadlines of silence hold.)
    pub message_timeout: Duration,
    /// Silence after which a ping is sent: 25 s.
    pub ping_interval: Duration,
    /// Silence after a ping until the connection is ended: 20 s. Stands still while output is blocked.
    pub pong_timeout: Duration,
    /// Blocked output, or a Transmit without an answer, without progress until the connection is ended: 30 s.
    pub stall_timeout: Duration,
    /// From the Close frame, a refusal, or the begin of a document until the connection is cut: 5 s. From a raw peer's Close, or
    /// violation, until it is answered though the application has not received everything that came before.
    pub close_timeout: Duration,
    /// How long a client's publish waits for room in the lanes of a `Block` topic: 30 s. Then it is answered `full`.
    pub block_max: Duration,
    /// Where levels of pressure change.
    pub watermarks: Watermarks,

    /// How long a resumable session lives on without a connection, at most: 60 s. At most 24 h.
    pub session_ttl: Duration,
    /// Sessions without a connection at a time: 10,000. Beyond it the one that has been for longest ends.
    pub sessions_max: u32,
    /// Bytes of a principal's name: 256. At most 1,024.
    pub principal_bytes_max: u32,
    /// Messages that come from one connection: `None`, as many as do.
    pub inbound_rate: Option<Rate>,
    /// Their bytes.
    pub inbound_bytes_rate: Option<Rate>,
    /// What becomes of what comes faster: it waits, unread.
    pub inbound_excess: Excess,
    /// Bytes that go to one connection: `None`, as many as it takes.
    pub outbound_bytes_rate: Option<Rate>,
    /// How much of `outbound_bytes_rate.burst` is kept for messages of class `High`, in percent: 10. At most 90.
    pub reserved_percent: u8,
    /// Compression of messages (RFC 7692): `None`, it is neither offered nor agreed to. Needs the feature `deflate`.
    pub deflate: Option<DeflateOptions>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections_max: 65_536,
            topics_max: 10_000,
            topic_name_bytes_max: 256,
            key_bytes_max: 256,
            lanes_per_session_max: 256,
            create_topics: CreateTopics::Clients,
            topic_defaults: TopicOptions::default(),
            resident_bytes_max: 256 << 20,
            transmit_bytes_max: 128 << 10,
            message_bytes_max: 1 << 20,
            inbound_bytes_max: 1 << 20,
            reply_bytes_max: 64 << 10,
            direct_lane: LaneLimits { messages_max: 1_024, bytes_max: 1 << 20 },
            head_bytes_max: 16 << 10,
            handshake_timeout: Duration::from_secs(5),
            message_timeout: Duration::from_secs(30),
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(20),
            stall_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(5),
            block_max: Duration::from_secs(30),
            watermarks: Watermarks::default(),
            session_ttl: Duration::from_secs(60),
            sessions_max: 10_000,
            principal_bytes_max: 256,
            inbound_rate: None,
            inbound_bytes_rate: None,
            inbound_excess: Excess::Wait,
            outbound_bytes_rate: None,
            reserved_percent: 10,
            deflate: None,
        }
    }
}

/// Options that were checked.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    options: Options,
}

/// An option that cannot be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// The option's name.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.problem)
    }
}

impl core::error::Error for ConfigError {}

/// Longest message of any kind: sizes of frames and of base64 text stay below 2^32.
const MESSAGE_BYTES_LIMIT: u32 = 1 << 30;

pub(crate) fn check(good: bool, field: &'static str, problem: &'static str) -> Result<(), ConfigError> {
    if good { Ok(()) } else { Err(ConfigError { field, problem }) }
}

impl LaneLimits {
    pub(crate) fn check(&self, messages: &'static str, bytes: &'static str) -> Result<(), ConfigError> {
        check(self.messages_max > 0, messages, "must be at least 1")?;
        check(self.messages_max <= 1 << 31, messages, "must be at most 2147483648")?;
        check(self.bytes_max > 0, bytes, "must be at least 1")?;
        check(self.bytes_max <= 1 << 40, bytes, "must be at most 1 TiB")
    }
}

impl TopicOptions {
    /// Checks the options together.
    ///
    /// # Errors
    /// The first option that cannot be had.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.lane.check("lane.messages_max", "lane.bytes_max")?;
        check(self.message_bytes_max > 0, "message_bytes_max", "must be at least 1")?;
        check(self.message_bytes_max <= MESSAGE_BYTES_LIMIT, "message_bytes_max", "must be at most 1 GiB")?;
        check(
            u64::from(self.message_bytes_max) <= self.lane.bytes_max,
            "message_bytes_max",
            "must not exceed lane.bytes_max: such a message would fit no lane",
        )?;
        check(
            // One message in the larger of the encodings (base64 in a JSON envelope), and its place in the index.
            self.log_bytes_max >= self.message_bytes_max as usize * 2 + 4_096,
            "log_bytes_max",
            "must be at least 2 * message_bytes_max + 4096: one message with its envelope",
        )?;
        let shares = 1 + usize::from(self.history.is_some()) + 2 * usize::from(self.keeps_latest);
        check(
            self.log_bytes_max >= shares * (self.message_bytes_max as usize * 2 + 4_096),
            "log_bytes_max",
            "must be at least twice 2 * message_bytes_max + 4096 with a history, and twice more with keeps_latest",
        )?;
        check(self.age_max.is_none_or(|age| age >= Duration::from_millis(1)), "age_max", "must be at least 1 ms")?;
        check(
            self.age_max.is_none() || self.policy.is_lossy(),
            "age_max",
            "needs a policy that may lose single messages: not block, not disconnect",
        )?;
        check(!self.choices.contains(Policy::Block), "choices", "must not hold block: that is the topic's to set")?;
        check(self.keys_max > 0, "keys_max", "must be at least 1")?;
        check(self.keys_max <= 1 << 20, "keys_max", "must be at most 1048576")?;
        let is_keyed = self.policy == Policy::LatestPerKey;
        check(
            !is_keyed || self.keys_bytes_max >= u64::from(self.message_bytes_max),
            "keys_bytes_max",
            "must be at least message_bytes_max: one message has to fit",
        )?;
        check(self.keys_bytes_max <= 1 << 40, "keys_bytes_max", "must be at most 1 TiB")?;
        check(
            !is_keyed || self.keys_max <= self.lane.messages_max,
            "keys_max",
            "must not exceed lane.messages_max: the latest message of every key may wait",
        )?;
        check(
            !is_keyed || self.keys_bytes_max <= self.lane.bytes_max,
            "keys_bytes_max",
            "must not exceed lane.bytes_max: the latest message of every key may wait",
        )?;
        check(self.disconnect.code.is_sendable(), "disconnect.code", "must be one that may be sent (RFC 6455 §7.4)")?;
        self.delivery.check(self.policy)?;
        self.history.map_or(Ok(()), |history| history.check())?;
        let flushes = self.flush_interval.unwrap_or(Duration::from_millis(1));
        check(flushes >= Duration::from_millis(1), "flush_interval", "must be at least 1 ms")?;
        check(flushes <= Duration::from_secs(3_600), "flush_interval", "must be at most 1 h")?;
        if let Some(rate) = self.publish_rate {
            rate.check("publish_rate.per_second", "publish_rate.burst")?;
        }
        check(self.publish_ids_max > 0, "publish_ids_max", "must be at least 1")?;
        check(self.publish_ids_max <= 1 << 20, "publish_ids_max", "must be at most 1048576")
    }
}

impl TryFrom<Options> for Config {
    type Error = ConfigError;

    fn try_from(options: Options) -> Result<Self, ConfigError> {
        let o = &options;
        for (number, field) in [
            (o.connections_max, "connections_max"),
            (o.topics_max, "topics_max"),
            (o.topic_name_bytes_max, "topic_name_bytes_max"),
            (o.key_bytes_max, "key_bytes_max"),
            (o.lanes_per_session_max, "lanes_per_session_max"),
            (o.message_bytes_max, "message_bytes_max"),
            (o.sessions_max, "sessions_max"),
            (o.principal_bytes_max, "principal_bytes_max"),
        ] {
            check(number > 0, field, "must be at least 1")?;
        }
        check(o.topic_name_bytes_max <= 512, "topic_name_bytes_max", "must be at most 512")?;
        check(o.key_bytes_max <= 512, "key_bytes_max", "must be at most 512")?;
        check(o.transmit_bytes_max >= 1_024, "transmit_bytes_max", "must be at least 1024")?;
        check(o.transmit_bytes_max <= MESSAGE_BYTES_LIMIT, "transmit_bytes_max", "must be at most 1 GiB")?;
        check(o.reply_bytes_max >= 4_096, "reply_bytes_max", "must be at least 4096")?;
        check(o.head_bytes_max >= 512, "head_bytes_max", "must be at least 512")?;
        check(o.message_bytes_max <= MESSAGE_BYTES_LIMIT, "message_bytes_max", "must be at most 1 GiB")?;
        check(
            o.inbound_bytes_max >= o.message_bytes_max,
            "inbound_bytes_max",
            "must be at least message_bytes_max: one message has to fit",
        )?;
        o.direct_lane.check("direct_lane.messages_max", "direct_lane.bytes_max")?;
        check(o.direct_lane.bytes_max <= 1 << 30, "direct_lane.bytes_max", "must be at most 1 GiB")?;
        o.topic_defaults.check()?;
        check(
            o.resident_bytes_max >= o.topic_defaults.log_bytes_max.max(o.inbound_bytes_max as usize * 2),
            "resident_bytes_max",
            "must be at least topic_defaults.log_bytes_max and 2 * inbound_bytes_max",
        )?;
        for (duration, field) in [
            (o.handshake_timeout, "handshake_timeout"),
            (o.message_timeout, "message_timeout"),
            (o.ping_interval, "ping_interval"),
            (o.pong_timeout, "pong_timeout"),
            (o.stall_timeout, "stall_timeout"),
            (o.close_timeout, "close_timeout"),
            (o.block_max, "block_max"),
            (o.session_ttl, "session_ttl"),
        ] {
            check(duration >= Duration::from_millis(1), field, "must be at least 1 ms")?;
        }
        check(o.session_ttl <= Duration::from_secs(24 * 3_600), "session_ttl", "must be at most 24 h")?;
        check(o.principal_bytes_max <= 1_024, "principal_bytes_max", "must be at most 1024")?;
        check(o.reserved_percent <= 90, "reserved_percent", "must be at most 90")?;
        for (rate, per_second, burst) in [
            (o.inbound_rate, "inbound_rate.per_second", "inbound_rate.burst"),
            (o.inbound_bytes_rate, "inbound_bytes_rate.per_second", "inbound_bytes_rate.burst"),
            (o.outbound_bytes_rate, "outbound_bytes_rate.per_second", "outbound_bytes_rate.burst"),
        ] {
            rate.map_or(Ok(()), |rate| rate.check(per_second, burst))?;
        }
        o.watermarks.check()?;
        o.deflate.map_or(Ok(()), |deflate| deflate.check(o.resident_bytes_max))?;
        Ok(Self { options })
    }
}

impl core::ops::Deref for Config {
    type Target = Options;

    fn deref(&self) -> &Options {
        &self.options
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::CloseCode;

    #[test]
    fn defaults_are_good_and_each_edge_is_named() {
        assert!(Config::try_from(Options::default()).is_ok());
        let refused = |change: fn(&mut Options)| {
            let mut options = Options::default();
            change(&mut options);
            Config::try_from(options).unwrap_err().field
        };
        assert_eq!(refused(|o| o.topics_max = 0), "topics_max");
        assert_eq!(refused(|o| o.transmit_bytes_max = 1_023), "transmit_bytes_max");
        assert_eq!(refused(|o| o.transmit_bytes_max = (1 << 30) + 1), "transmit_bytes_max");
        assert_eq!(refused(|o| o.inbound_bytes_max = o.message_bytes_max - 1), "inbound_bytes_max");
        assert_eq!(refused(|o| o.direct_lane.messages_max = 0), "direct_lane.messages_max");
        assert_eq!(refused(|o| o.direct_lane.bytes_max = (1 << 30) + 1), "direct_lane.bytes_max");
        assert_eq!(refused(|o| o.topic_defaults.lane.bytes_max = 262_143), "message_bytes_max");
        assert_eq!(refused(|o| o.topic_defaults.log_bytes_max = 528_383), "log_bytes_max");
        assert_eq!(refused(|o| o.topic_defaults.choices = Policies::of(&[Policy::Block])), "choices");
        assert_eq!(refused(|o| o.topic_defaults.keys_max = 0), "keys_max");
        assert_eq!(refused(|o| o.topic_defaults.age_max = Some(Duration::from_micros(999))), "age_max");
        let aging = TopicOptions { age_max: Some(Duration::from_millis(1)), ..TopicOptions::default() };
        assert!(aging.check().is_ok());
        assert_eq!(
            TopicOptions { policy: Policy::Block, ..aging }.check().map_err(|error| error.field),
            Err("age_max")
        );
        let keyed_bytes_max = |bytes| {
            let topic = TopicOptions { policy: Policy::LatestPerKey, keys_bytes_max: bytes, ..TopicOptions::default() };
            topic.check().map_err(|error| error.field)
        };
        assert_eq!(keyed_bytes_max(262_143), Err("keys_bytes_max"));
        assert_eq!((keyed_bytes_max(262_144), keyed_bytes_max(1 << 20)), (Ok(()), Ok(())));
        assert_eq!(keyed_bytes_max((1 << 20) + 1), Err("keys_bytes_max"));
        assert_eq!(refused(|o| o.topic_defaults.disconnect.code = CloseCode::ABNORMAL), "disconnect.code");
        let keyed = TopicOptions { policy: Policy::LatestPerKey, keys_max: 16_385, ..TopicOptions::default() };
        assert_eq!(keyed.check().map_err(|error| error.field), Err("keys_max"));
        assert!(TopicOptions { keys_max: 16_384, ..keyed }.check().is_ok());
        assert_eq!(refused(|o| o.key_bytes_max = 513), "key_bytes_max");
        assert_eq!(refused(|o| o.resident_bytes_max = 1 << 20), "resident_bytes_max");
        assert_eq!(refused(|o| o.stall_timeout = Duration::ZERO), "stall_timeout");
        assert_eq!(refused(|o| o.message_bytes_max = (1 << 30) + 1), "message_bytes_max");
        let marks = |low_percent, high_percent, dwell| {
            let watermarks = Watermarks { low_percent, high_percent, dwell };
            Config::try_from(Options { watermarks, ..Options::default() }).map(drop).map_err(|error| error.field)
        };
        let hour = Duration::from_secs(3_600);
        assert_eq!((marks(1, 2, Duration::ZERO), marks(99, 100, hour)), (Ok(()), Ok(())));
        assert_eq!(marks(0, 2, hour), Err("watermarks.low_percent"));
        assert_eq!(marks(75, 75, hour), Err("watermarks.low_percent"));
        assert_eq!(marks(75, 101, hour), Err("watermarks.high_percent"));
        assert_eq!(marks(50, 75, hour + Duration::from_nanos(1)), Err("watermarks.dwell"));
    }
}
