//! What exists in a run, as numbers: a hub's options and what undeclared topics are made with.

use std::time::Duration;

use forebay_core::{
    CreateTopics, Disconnect, DisconnectScope, LaneLimits, Options, Policies, Policy, TopicOptions, Watermarks,
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
    let flags = args.get(8).copied().unwrap_or(0);
    // Bit 0: only the lane ends. Bits 1 to 5: what may not be chosen.
    let choices: Vec<Policy> = Policies::LOSSY.iter().filter(|policy| flags >> (1 + *policy as u64) & 1 == 0).collect();
    let scope = if flags & 1 == 1 { DisconnectScope::Topic } else { DisconnectScope::Connection };
    TopicOptions {
        policy: policy_of(policy).unwrap_or(Policy::DropOldest),
        choices: Policies::of(&choices),
        lane: LaneLimits { messages_max: small(messages), bytes_max: bytes },
        age_max: age_of(age),
        message_bytes_max: small(message_bytes),
        log_bytes_max: large(log_bytes),
        keys_max: small(keys),
        keys_bytes_max: keys_bytes,
        disconnect: Disconnect { scope, ..Disconnect::default() },
        ..TopicOptions::default()
    }
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
            ..Options::default()
        }
    }
}
