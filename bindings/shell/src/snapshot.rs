//! Everything a hub has to show, at one moment.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use forebay_core::{
    ConnectionPressure, Delivery, Hub, LaneId, LanePressure, Policy, Pressure, Stats, TopicId, TopicPressure,
};
use forebay_sys::Watched;

use crate::Driver;

/// Lanes whose messages' ages are looked at per snapshot: half a millisecond of the worker's.
const AGES_MAX: usize = 16_384;

/// Everything a server has to show. What it shows of one worker is of one moment: the queue law holds in it.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The numbers of all hubs.
    pub stats: Stats,
    /// The pressure of all hubs; the level is the highest of them.
    pub pressure: Pressure,
    /// All topics by name, at most `topics_max` per hub.
    pub topics: Vec<TopicSnapshot>,
    /// Lanes by the name of their topic, no more than were asked for.
    pub lanes: Vec<LaneSnapshot>,
    /// Lanes that are not listed for that reason.
    pub lanes_omitted: u64,
}

/// A topic.
#[derive(Clone, Debug)]
pub struct TopicSnapshot {
    /// Its name.
    pub name: String,
    /// The policy of lanes whose subscriber does not choose one.
    pub policy: Policy,
    /// Whether its subscribers acknowledge.
    pub delivery: Delivery,
    /// Whether it was declared. If not, it is forgotten with its last lane.
    pub is_declared: bool,
    /// Its pressure.
    pub pressure: TopicPressure,
    /// Age of the oldest message that waits in any of its lanes; zero if none does. `None` if nobody looked: the topic is
    /// not declared, or declared topics up to this one have more than 16,384 lanes.
    pub oldest_age: Option<Duration>,
}

/// A lane.
#[derive(Clone, Debug)]
pub struct LaneSnapshot {
    /// The name of its topic.
    pub topic: String,
    /// The address of its connection's peer; `None`: an in-process consumer, a detached session, or a broken connection.
    pub peer: Option<SocketAddr>,
    /// Its connection's id ([`ConnId::to_bits`](forebay_core::ConnId::to_bits)); `None`: an in-process consumer, or a
    /// detached session.
    pub conn: Option<u64>,
    /// Its pressure.
    pub pressure: LanePressure,
    /// The pressure of its connection, with what the kernel holds now.
    pub connection: Option<ConnectionPressure>,
}

impl Snapshot {
    /// Adds another worker's.
    pub fn add(&mut self, other: Self) {
        self.stats += &other.stats;
        self.pressure.waiting += other.pressure.waiting;
        self.pressure.resident_bytes += other.pressure.resident_bytes;
        self.pressure.resident_bytes_max += other.pressure.resident_bytes_max;
        self.pressure.level = self.pressure.level.max(other.pressure.level);
        self.topics.extend(other.topics);
        self.topics.sort_by(|one, other| one.name.cmp(&other.name));
        self.lanes.extend(other.lanes);
        self.lanes.sort_by(|one, other| one.topic.cmp(&other.topic));
        self.lanes_omitted += other.lanes_omitted;
    }
}

impl Driver<Watched<TcpStream>> {
    /// The hub with at most so many lanes.
    pub(crate) fn snapshot(&mut self, lanes_max: usize) -> Snapshot {
        let hub = self.hub();
        let mut snapshot = Snapshot { stats: *hub.stats(), pressure: hub.pressure(), ..Snapshot::default() };
        let mut ages_left = AGES_MAX;
        let topics: Vec<(String, TopicId)> = hub.topics().map(|(name, topic)| (name.to_owned(), topic)).collect();
        for (name, topic) in topics {
            let hub = self.hub();
            let (Some(pressure), Some(options)) = (hub.topic_pressure(topic), hub.topic_options(topic)) else {
                continue;
            };
            let (policy, delivery) = (options.policy, options.delivery);
            let oldest_age = oldest_age(hub, topic, &pressure, &mut ages_left);
            let lanes: Vec<LaneId> = hub.lanes(topic).take(lanes_max - snapshot.lanes.len()).collect();
            snapshot.lanes_omitted += u64::from(pressure.lanes).saturating_sub(lanes.len() as u64);
            snapshot.lanes.extend(lanes.into_iter().filter_map(|lane| self.lane_snapshot(&name, lane)));
            let is_declared = pressure.is_declared;
            snapshot.topics.push(TopicSnapshot { name, policy, delivery, is_declared, pressure, oldest_age });
        }
        snapshot
    }

    fn lane_snapshot(&mut self, topic: &str, lane: LaneId) -> Option<LaneSnapshot> {
        let pressure = self.hub().lane(lane)?;
        let mut shown = LaneSnapshot { topic: topic.to_owned(), peer: None, conn: None, pressure, connection: None };
        if let Some(conn) = pressure.conn {
            shown.conn = Some(conn.to_bits());
            if let Some(stream) = self.socket(conn).map(Watched::source) {
                shown.peer = stream.peer_addr().ok();
                let unsent = forebay_sys::unsent_bytes(stream);
                unsent.into_iter().for_each(|bytes| self.hub().handle_kernel(conn, bytes));
            }
            shown.connection = self.hub().connection(conn);
        }
        Some(shown)
    }
}

/// Of declared topics only: clients make the others, and could use up what may be looked at.
fn oldest_age(hub: &Hub, topic: TopicId, pressure: &TopicPressure, ages_left: &mut usize) -> Option<Duration> {
    if !pressure.is_declared {
        return None;
    }
    if pressure.totals.waiting.messages == 0 {
        return Some(Duration::ZERO);
    }
    *ages_left = ages_left.checked_sub(pressure.lanes as usize)?;
    hub.lanes(topic).filter_map(|lane| hub.lane(lane)).map(|lane| lane.load.oldest_age).max()
}

#[cfg(test)]
mod tests {
    use forebay_core::{Config, Count, Instant, LaneOptions, Level, Options, Payload, Start, TopicOptions};

    use super::*;
    use crate::{Clock, entropy};

    /// A worker with a message waiting in each of these topics.
    fn snapshot(topics: &[&str], lanes_max: usize) -> Snapshot {
        let (now, config) = (Instant::ZERO, Config::try_from(Options::default()).unwrap());
        let mut hub = Hub::new(config, entropy().unwrap(), now);
        for name in topics {
            let topic = hub.topic(name, TopicOptions::default()).unwrap();
            hub.subscribe_local(topic, LaneOptions::default(), Start::Latest, now).unwrap();
            hub.publish(topic, Payload::Text("10"), now).unwrap();
        }
        Driver::<Watched<TcpStream>>::new(hub, Clock::start(), false).snapshot(lanes_max)
    }

    #[test]
    fn workers_are_shown_as_one() {
        let mut all = snapshot(&["a", "d"], 1);
        all.pressure.level = Level::High;
        all.add(snapshot(&["c", "b"], 3));
        let names: Vec<_> = all.topics.iter().map(|topic| &*topic.name).collect();
        let lanes: Vec<_> = all.lanes.iter().map(|lane| &*lane.topic).collect();
        assert_eq!((names, lanes, all.lanes_omitted), (vec!["a", "b", "c", "d"], vec!["a", "b", "c"], 1));
        assert_eq!((all.stats.topics, all.stats.lanes_now, all.pressure.level), (4, 4, Level::High));
        assert_eq!((all.stats.lanes.waiting, all.pressure.waiting), (Count::new(4, 8), Count::new(4, 8)));
        assert_eq!(all.pressure.resident_bytes_max, 2 * Options::default().resident_bytes_max);
    }
}
