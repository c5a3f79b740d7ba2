//! Levels as they are told: what is told is so, and news.

use std::collections::BTreeMap;

use forebay_core::{Event, Flow, Hub, Level, Scope, TopicId};

/// What a hub's application was told last.
#[derive(Debug, Default)]
pub(super) struct ToldLevels {
    levels: BTreeMap<Scope, Level>,
    flows: BTreeMap<TopicId, Flow>,
}

fn level_of(hub: &Hub, scope: Scope) -> Option<Level> {
    match scope {
        Scope::Lane(id) => hub.lane(id).map(|lane| lane.load.level),
        Scope::Session(id) => hub.session(id).map(|session| session.load.level),
        Scope::Inbound(id) => hub.connection(id).map(|conn| conn.inbound.level),
        Scope::Outbound(id) => hub.connection(id).map(|conn| conn.outbound.level),
        Scope::Topic(id) => hub.topic_pressure(id).map(|topic| topic.level),
        Scope::Hub => Some(hub.pressure().level),
    }
}

impl ToldLevels {
    /// Takes note of an event that was polled just now.
    pub(super) fn hear(&mut self, hub: &Hub, event: &Event) {
        match *event {
            Event::Pressure { scope, level } => {
                assert_eq!(level_of(hub, scope), Some(level), "{scope:?} is what it was told to be");
                let before = self.levels.insert(scope, level).unwrap_or_default();
                assert_ne!(before, level, "{scope:?} is told again");
            }
            Event::Upstream { topic, flow } => {
                let level = level_of(hub, Scope::Topic(topic)).expect("the topic is there");
                assert_eq!(flow == Flow::Pause, level >= Level::High, "{topic:?}, {flow:?} at {level:?}");
                let before = self.flows.insert(topic, flow).unwrap_or(Flow::Resume);
                assert_ne!(before, flow, "{topic:?} is told again");
            }
            _ => panic!("an event that is not of this version: {event:?}"),
        }
    }
}
