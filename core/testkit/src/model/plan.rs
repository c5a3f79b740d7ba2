//! What exists in a run, as numbers: a hub's options and what undeclared topics are made with.

use std::time::Duration;

use forebay_core::{
    AtLeastOnce, Class, CreateTopics, Delivery, Disconnect, DisconnectScope, Excess, History, LaneLimits, Options,
    Policies, Policy, Rate, TopicOptions, Watermarks,
};

macro_rules! plan {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// What a run is made of.
        #[derive(Clone, PartialEq, Eq, Debug, Default)]
        pub(crate) struct Plan { $($(#[$doc])* pub(crate) $field: u64,)* }

        impl Plan {
            /// Every number with its name.
            pub(crate) fn fields(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($field), self.$field),)*]
            }

            /// The number of that name.
            pub(crate) fn field(&mut self, name: &str) -> Option<&mut u64> {
                match name {
                    $(stringify!($field) => Some(&mut self.$field),)*
                    _ => None,
                }
            }
        }
    };
}

plan! {
    /// Hubs: 1 or 2.
    hubs,
    /// When it begins, in nanoseconds.
    start,
    /// Entropy of the hubs.
    entropy,
    /// Messages the mailbox between two hubs holds.
    mailbox_max,
    /// Whether only the application makes topics.
    closed_topics,
    connections_max,
    topics_max,
    lanes_per_session_max,
    /// What undeclared topics are made with: the numbers of the act `topic`.
    policy,
    messages_max,
    bytes_max,
    age_ms,
    topic_message_bytes_max,
    keys_max,
    keys_bytes_max,
    log_bytes_max,
    flags,
    in_flight_max,
    ack_ms,
    attempts_max,
    history_messages,
    history_bytes,
    history_age_ms,
    flush_ms,
    class,
    publish_per_second,
    publish_burst,
    publish_ids_max,
    resident_bytes_max,
    transmit_bytes_max,
    message_bytes_max,
    inbound_bytes_max,
    reply_bytes_max,
    direct_messages_max,
    direct_bytes_max,
    handshake_ms,
    message_ms,
    ping_ms,
    pong_ms,
    stall_ms,
    close_ms,
    block_ms,
    /// Where levels change, in percent, and how long they are held; 0 for the first: as it is by default.
    high_percent,
    low_percent,
    dwell_ms,
    /// Sessions; 0: as by default.
    session_ttl_ms,
    sessions_max,
    /// Rates of connections; 0: none.
    inbound_per_second,
    inbound_burst,
    inbound_bytes_per_second,
    inbound_bytes_burst,
    /// 1: what comes faster is refused.
    inbound_refuses,
    outbound_per_second,
    outbound_burst,
    reserved_percent,
    /// Whether bounds of memory may be reached.
    is_tight,
}

/// The policy with that number; 0: none.
pub(crate) fn policy_of(number: u64) -> Option<Policy> {
    let place = usize::try_from(number).ok()?.checked_sub(1)?;
    Policy::ALL.get(place % Policy::ALL.len()).copied()
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn large(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Milliseconds; 0: none.
pub(crate) fn age_of(millis: u64) -> Option<Duration> {
    (millis > 0).then(|| Duration::from_millis(millis))
}

/// Topic options from numbers, in the order of the act `topic` behind the name.
pub(crate) fn topic_options(args: &[u64]) -> TopicOptions {
    let [policy, messages, bytes, age, message_bytes, keys, keys_bytes, log_bytes] = args[..8] else {
        unreachable!("eight numbers");
    };
    let more = |place: usize| args.get(place).copied().unwrap_or(0);
    let flags = more(8);
    let policy = policy_of(policy).unwrap_or(Policy::DropOldest);
    // Bit 0: only the lane ends. Bits 1 to 5: what may not be chosen. Bit 6: the latest of each key is kept. Bit 7: what comes
    // faster than the rate is refused.
    let choices: Vec<Policy> = Policies::LOSSY.iter().filter(|policy| flags >> (1 + *policy as u64) & 1 == 0).collect();
    let scope = if flags & 1 == 1 { DisconnectScope::Topic } else { DisconnectScope::Connection };
    TopicOptions {
        policy,
        choices: Policies::of(&choices),
        lane: LaneLimits { messages_max: small(messages), bytes_max: bytes },
        age_max: age_of(age),
        message_bytes_max: small(message_bytes),
        log_bytes_max: large(log_bytes),
        keys_max: small(keys),
        keys_bytes_max: keys_bytes,
        disconnect: Disconnect { scope, ..Disconnect::default() },
        delivery: match more(9) {
            0 => Delivery::BestEffort,
            in_flight => Delivery::AtLeastOnce(AtLeastOnce {
                in_flight_max: u8::try_from(in_flight).unwrap_or(u8::MAX),
                ack_timeout: Duration::from_millis(more(10)),
                attempts_max: u16::try_from(more(11)).unwrap_or(u16::MAX),
            }),
        },
        history: (more(12) > 0).then(|| History {
            messages_max: small(more(12)),
            bytes_max: more(13),
            age_max: age_of(more(14)),
        }),
        keeps_latest: flags >> 6 & 1 == 1,
        class: [Class::Normal, Class::High, Class::Low][usize::try_from(more(16) % 3).expect("below three")],
        flush_interval: age_of(more(15)),
        publish_rate: rate_of(more(17), more(18)),
        publish_excess: if flags >> 7 & 1 == 1 { Excess::Refuse } else { Excess::Wait },
        publish_ids_max: if more(19) == 0 { 1_024 } else { small(more(19)) },
        deflate: false,
    }
}

/// A rate; 0 in a second: none.
fn rate_of(per_second: u64, burst: u64) -> Option<Rate> {
    (per_second > 0).then(|| Rate { per_second: small(per_second), burst: small(burst) })
}

impl Plan {
    /// What undeclared topics are made with.
    pub(crate) fn topic_defaults(&self) -> TopicOptions {
        topic_options(&[
            self.policy,
            self.messages_max,
            self.bytes_max,
            self.age_ms,
            self.topic_message_bytes_max,
            self.keys_max,
            self.keys_bytes_max,
            self.log_bytes_max,
            self.flags,
            self.in_flight_max,
            self.ack_ms,
            self.attempts_max,
            self.history_messages,
            self.history_bytes,
            self.history_age_ms,
            self.flush_ms,
            self.class,
            self.publish_per_second,
            self.publish_burst,
            self.publish_ids_max,
        ])
    }

    fn watermarks(&self) -> Watermarks {
        if self.high_percent == 0 {
            return Watermarks::default();
        }
        let percent = |number: u64| u8::try_from(number).unwrap_or(u8::MAX);
        Watermarks {
            high_percent: percent(self.high_percent),
            low_percent: percent(self.low_percent),
            dwell: Duration::from_millis(self.dwell_ms),
        }
    }

    /// The options of both hubs.
    pub(crate) fn options(&self) -> Options {
        let millis = Duration::from_millis;
        let plain = Options::default();
        Options {
            connections_max: small(self.connections_max),
            topics_max: small(self.topics_max),
            topic_name_bytes_max: 20,
            key_bytes_max: 20,
            lanes_per_session_max: small(self.lanes_per_session_max),
            create_topics: if self.closed_topics == 0 { CreateTopics::Clients } else { CreateTopics::Application },
            topic_defaults: self.topic_defaults(),
            resident_bytes_max: large(self.resident_bytes_max),
            transmit_bytes_max: small(self.transmit_bytes_max),
            message_bytes_max: small(self.message_bytes_max),
            inbound_bytes_max: small(self.inbound_bytes_max),
            reply_bytes_max: small(self.reply_bytes_max),
            direct_lane: LaneLimits { messages_max: small(self.direct_messages_max), bytes_max: self.direct_bytes_max },
            head_bytes_max: 2_048,
            handshake_timeout: millis(self.handshake_ms),
            message_timeout: millis(self.message_ms),
            ping_interval: millis(self.ping_ms),
            pong_timeout: millis(self.pong_ms),
            stall_timeout: millis(self.stall_ms),
            close_timeout: millis(self.close_ms),
            block_max: millis(self.block_ms),
            watermarks: self.watermarks(),
            session_ttl: age_of(self.session_ttl_ms).unwrap_or(plain.session_ttl),
            sessions_max: if self.sessions_max == 0 { plain.sessions_max } else { small(self.sessions_max) },
            principal_bytes_max: 20,
            inbound_rate: rate_of(self.inbound_per_second, self.inbound_burst),
            inbound_bytes_rate: rate_of(self.inbound_bytes_per_second, self.inbound_bytes_burst),
            inbound_excess: if self.inbound_refuses == 0 { Excess::Wait } else { Excess::Refuse },
            outbound_bytes_rate: rate_of(self.outbound_per_second, self.outbound_burst),
            reserved_percent: u8::try_from(self.reserved_percent).unwrap_or(u8::MAX),
            deflate: None,
        }
    }
}
