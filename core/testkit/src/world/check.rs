//! What must hold after every step.

use forebay_core::{LanePressure, Options, TopicId, Totals};

use super::Side;
use super::draw::TOPICS;

fn conserved(totals: &Totals, what: &str) {
    assert_eq!(totals.conservation_error(), 0, "the queue law of {what}: {totals:?}");
}

fn lane(pressure: &LanePressure) {
    conserved(&pressure.totals, "a lane");
    let (waiting, out) = (pressure.totals.waiting, pressure.outstanding);
    assert!(out.messages <= waiting.messages && out.bytes <= waiting.bytes, "outstanding waits: {pressure:?}");
    assert!(
        waiting.messages - out.messages <= u64::from(pressure.messages_max)
            && waiting.bytes - out.bytes <= pressure.bytes_max,
        "a lane above its bound: {pressure:?}"
    );
}

/// The largest message on the wire: base64 in an envelope with a name in which every byte is escaped.
pub(super) fn frame_bytes_max(options: &Options, message_bytes_max: u32) -> usize {
    let topic = message_bytes_max.max(options.topic_defaults.message_bytes_max) as usize * 4 / 3
        + options.topic_name_bytes_max as usize * 6
        + 128;
    let direct = usize::try_from(options.direct_lane.bytes_max).expect("small") + 14;
    topic.max(direct).max(1_024)
}

impl Side {
    /// Checks the hub against everything it promises.
    pub(super) fn check(&self) {
        self.hub.check_invariants();
        let stats = self.hub.stats();
        conserved(&stats.lanes, "the hub");
        conserved(&stats.direct, "the direct lanes");
        assert!(stats.resident_bytes <= self.options.resident_bytes_max, "above the budget: {stats:?}");
        // A connection that has ended is still there until that was polled.
        assert!(stats.connections as usize <= self.hub.connections(), "{stats:?}");
        assert!(stats.connections <= self.options.connections_max && stats.topics <= self.options.topics_max);
        let pressure = self.hub.pressure();
        assert_eq!(pressure.resident_bytes, stats.resident_bytes);
        assert_eq!(pressure.resident_bytes_max, self.options.resident_bytes_max);
        assert!(pressure.waiting.messages >= stats.lanes.waiting.messages, "{pressure:?}");
        let topics: Vec<TopicId> = TOPICS.iter().filter_map(|name| self.hub.find_topic(name)).collect();
        for topic in &topics {
            conserved(&self.hub.topic_pressure(*topic).expect("a topic that was found").totals, "a topic");
        }
        let outstanding_max = self.options.transmit_bytes_max as usize + self.frame_bytes_max;
        for (conn, line) in &self.lines {
            let Some(connection) = self.hub.connection(*conn) else { continue };
            assert!(connection.outstanding_bytes <= outstanding_max, "{connection:?}");
            assert!(connection.lanes <= self.options.lanes_per_session_max, "{connection:?}");
            // Whole messages up to the bound, the one that crosses it, and one read kept raw.
            let inbound_max = self.options.inbound_bytes_max + self.options.message_bytes_max;
            assert!(connection.inbound_bytes <= inbound_max as usize + super::carry::READ_MAX, "{connection:?}");
            // One that is given up, and was not polled since, has nothing out any more.
            if let Some(out) = line.out.as_ref().filter(|_| !connection.is_paused) {
                assert!(connection.outstanding_bytes >= out.len(), "{connection:?} with {} bytes out", out.len());
            }
            for topic in &topics {
                if let Some(id) = self.hub.find_lane(*conn, *topic) {
                    lane(&self.hub.lane(id).expect("a lane that was found"));
                }
            }
        }
        for id in self.locals.keys() {
            if let Some(pressure) = self.hub.lane(*id) {
                lane(&pressure);
            }
        }
    }
}
