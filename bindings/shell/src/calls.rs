//! What other threads want of a hub.

use std::collections::{BTreeMap, VecDeque};
use std::net::TcpStream;
use std::sync::Arc;

use forebay_core::{
    Entry, Event, Hub, Instant, LaneId, LaneOptions, Level, Message, Payload, PublishError, Published, Start, Stats,
    SubscribeError, TopicError, TopicId, TopicOptions, Totals,
};

use crate::inbox::{BATCH_BYTES_MAX, BATCH_MAX};
use crate::{AdoptError, Answer, CallError, Inbox, Snapshot, SubscriptionLink};

/// What a subscription takes from.
pub type LaneInbox = Inbox<Entry, ()>;

/// A message on its way between threads.
#[derive(Clone, Debug)]
pub struct KeptMessage {
    payload: KeptPayload,
    key: Box<str>,
    id: Box<str>,
}

#[derive(Clone, Debug)]
enum KeptPayload {
    Text(Box<str>),
    Binary(Box<[u8]>),
}

impl From<Message<'_>> for KeptMessage {
    fn from(message: Message<'_>) -> Self {
        let payload = match message.payload {
            Payload::Text(text) => KeptPayload::Text(text.into()),
            Payload::Binary(bytes) => KeptPayload::Binary(bytes.into()),
        };
        Self { payload, key: message.key.into(), id: message.id.into() }
    }
}

impl KeptMessage {
    /// The message.
    #[must_use]
    pub fn as_message(&self) -> Message<'_> {
        let payload = match &self.payload {
            KeptPayload::Text(text) => Payload::Text(text),
            KeptPayload::Binary(bytes) => Payload::Binary(bytes),
        };
        Message::new(payload).with_key(&self.key).with_id(&self.id)
    }
}

/// What a subscriber is answered.
pub type Subscribed = Result<SubscriptionLink, CallError<SubscribeError>>;

/// A publish of another thread.
#[derive(Debug)]
pub struct Publish {
    /// The topic's name.
    pub topic: Box<str>,
    /// The message.
    pub message: KeptMessage,
    /// Whether it waits where a lane is full or the topic's rate is used up, until its caller gives up.
    pub waits: bool,
    /// Where it is answered.
    pub answer: Answer<Result<Published, CallError<PublishError>>>,
}

/// A socket of another server's.
#[derive(Debug)]
pub struct Adopt {
    /// The socket.
    pub stream: TcpStream,
    /// What was read from it.
    pub leftover: Box<[u8]>,
    /// How far its opening handshake is.
    pub handover: Handover,
    /// Where it is answered.
    pub answer: Answer<Result<(), AdoptError>>,
}

/// How far an opening handshake is.
#[derive(Debug)]
pub enum Handover {
    /// The hub is to answer it.
    Request,
    /// Somebody else has answered it, with this subprotocol.
    Upgraded(Option<Box<str>>),
}

/// A wish of another thread.
#[derive(Debug)]
pub enum Command {
    /// Publish.
    Publish(Publish),
    /// Declare a topic.
    Declare(Box<str>, TopicOptions, Answer<Result<(), TopicError>>),
    /// Subscribe this process.
    Subscribe(Box<str>, LaneOptions, Start, Answer<Subscribed>),
    /// The subscription with that lane waits for entries.
    Take(LaneId),
    /// The subscription with that lane is not wanted any more.
    Unsubscribe(LaneId),
    /// Take a connection.
    Adopt(Adopt),
    /// Answer when a topic's level is nominal.
    Ready(Box<str>, Answer<()>),
    /// The hub's numbers.
    Stats(Answer<Stats>),
    /// A topic's numbers.
    TopicTotals(Box<str>, Answer<Option<Totals>>),
    /// Everything there is to see, with at most so many lanes.
    Snapshot(usize, Answer<Snapshot>),
    /// Tell the application [`Event::Woken`].
    Wake,
    /// Drain and stop.
    Shutdown,
}

/// The hub's side of a subscription. Dropped, it tells the subscription that it has ended.
#[derive(Debug)]
struct Taker {
    lane: LaneId,
    inbox: Arc<LaneInbox>,
}

impl Drop for Taker {
    fn drop(&mut self) {
        self.inbox.end(());
    }
}

/// What the commands of other threads left to be done.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    /// By the index of their lane.
    takers: Vec<Option<Taker>>,
    /// Publishes that wait for room in their topic, in order.
    waiting: BTreeMap<TopicId, VecDeque<Publish>>,
    /// When the first of these that wait for their topic's rate is tried again.
    limited: BTreeMap<TopicId, Instant>,
    /// Who waits for a topic that brakes its sources.
    braked: BTreeMap<TopicId, Vec<Answer<()>>>,
    batch: Vec<Entry>,
    /// The application is to be woken.
    pub(crate) is_woken: bool,
}

impl Calls {
    /// Follows what the hub tells.
    pub(crate) fn event(&mut self, hub: &mut Hub, event: Event, now: Instant) {
        match event {
            Event::Ready(lane) => self.serve(hub, lane, now),
            Event::LaneEnded(lane) if self.taker(lane).is_some() => self.takers[lane.index()] = None,
            Event::Drained(topic) => self.retry(hub, topic, now),
            _ => {}
        }
    }

    /// To be called before events are polled: publishes that wait for a topic which was forgotten meanwhile, when its
    /// lanes had ended, are published anew; and those whose topic's rate allows them again.
    pub(crate) fn before_events(&mut self, hub: &mut Hub, now: Instant) {
        while let Some(topic) = self.limited.iter().find(|(_, at)| **at <= now).map(|(topic, _)| *topic) {
            self.limited.remove(&topic);
            self.retry(hub, topic, now);
        }
        while let Some(gone) = self.waiting.keys().find(|topic| hub.topic_pressure(**topic).is_none()).copied() {
            for publish in self.waiting.remove(&gone).into_iter().flatten() {
                self.publish(hub, publish, now);
            }
        }
    }

    /// When [`before_events`](Self::before_events) has to be called again, at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.limited.values().copied().min()
    }

    /// Whether every subscription has taken what waited for it.
    pub(crate) fn is_drained(&self, hub: &Hub) -> bool {
        let waits = |taker: &Taker| hub.lane(taker.lane).is_some_and(|lane| lane.totals.waiting.messages > 0);
        !self.takers.iter().flatten().any(waits)
    }

    /// Answers at once, or when the topic brakes its sources no more.
    pub(crate) fn ready(&mut self, hub: &Hub, topic: &str, answer: Answer<()>) {
        match hub.find_topic(topic).filter(|topic| is_braking(hub, *topic)) {
            None => answer.give(()),
            Some(topic) => {
                let braked = self.braked.entry(topic).or_default();
                braked.retain(Answer::is_awaited); // Not of those who gave up.
                braked.push(answer);
            }
        }
    }

    /// To be called after each turn: answers those whose topic brakes no more, or was forgotten. It is looked at, because a
    /// topic that braked between two polls is told nowhere.
    pub(crate) fn release(&mut self, hub: &Hub) {
        self.braked.retain(|topic, answers| {
            let is_braking = is_braking(hub, *topic);
            if !is_braking {
                answers.drain(..).for_each(|answer| answer.give(()));
            }
            is_braking
        });
    }

    /// Publishes, or keeps the publish until there is room.
    pub(crate) fn publish(&mut self, hub: &mut Hub, publish: Publish, now: Instant) {
        let topic = match hub.find_topic(&publish.topic).map_or_else(|| hub.open_topic(&publish.topic), Ok) {
            Ok(topic) => topic,
            Err(error) => return publish.answer.give(Err(CallError::Topic(error))),
        };
        if publish.waits
            && let Some(waiting) = self.waiting.get_mut(&topic)
        {
            // It would overtake. What nobody waits for any more is not kept.
            waiting.retain(|publish| publish.answer.is_awaited());
            if !waiting.is_empty() {
                return waiting.push_back(publish);
            }
        }
        if !self.attempt(hub, topic, &publish, now) {
            self.waiting.entry(topic).or_default().push_back(publish);
        }
    }

    fn retry(&mut self, hub: &mut Hub, topic: TopicId, now: Instant) {
        let Some(mut waiting) = self.waiting.remove(&topic) else { return };
        while let Some(publish) = waiting.front() {
            if !self.attempt(hub, topic, publish, now) {
                break;
            }
            waiting.pop_front();
        }
        if !waiting.is_empty() {
            self.waiting.insert(topic, waiting);
        }
    }

    /// Publishes, unless its caller gave up; whether the matter is settled. No lock of the caller's is a system call.
    fn attempt(&mut self, hub: &mut Hub, topic: TopicId, publish: &Publish, now: Instant) -> bool {
        publish.answer.attempt(|| match hub.publish(topic, publish.message.as_message(), now) {
            Err(PublishError::Full) if publish.waits => None,
            Err(PublishError::Limited { retry_after }) if publish.waits => {
                self.limited.insert(topic, now + retry_after);
                None
            }
            result => Some(result.map_err(CallError::Refused)),
        })
    }

    /// Makes a lane, and an inbox for what is taken from it; and says in which epoch it is.
    pub(crate) fn subscribe(
        &mut self,
        hub: &mut Hub,
        topic: &str,
        (lane, from): (LaneOptions, Start),
        now: Instant,
    ) -> Result<(LaneId, u64, Arc<LaneInbox>), CallError<SubscribeError>> {
        let topic = hub.find_topic(topic).map_or_else(|| hub.open_topic(topic), Ok).map_err(CallError::Topic)?;
        let lane = hub.subscribe_local(topic, lane, from, now).map_err(CallError::Refused)?;
        let epoch = hub.topic_pressure(topic).expect("a lane's topic exists").head.epoch;
        let index = lane.index();
        if index >= self.takers.len() {
            self.takers.resize_with(index + 1, || None);
        }
        let inbox = Arc::new(LaneInbox::default());
        self.takers[index] = Some(Taker { lane, inbox: Arc::clone(&inbox) });
        Ok((lane, epoch, inbox))
    }

    /// Ends the subscription with that lane, if there is one.
    pub(crate) fn unsubscribe(&mut self, hub: &mut Hub, lane: LaneId, now: Instant) {
        if self.taker(lane).is_some() {
            self.takers[lane.index()] = None;
            hub.unsubscribe_local(lane, now);
        }
    }

    fn taker(&self, lane: LaneId) -> Option<&Taker> {
        self.takers.get(lane.index())?.as_ref().filter(|taker| taker.lane == lane)
    }

    /// Hands over a batch to a subscription that waits for one.
    pub(crate) fn serve(&mut self, hub: &mut Hub, lane: LaneId, now: Instant) {
        let mut batch = std::mem::take(&mut self.batch);
        if let Some(taker) = self.taker(lane).filter(|taker| taker.inbox.is_asked()) {
            let mut bytes = 0;
            while batch.len() < BATCH_MAX && bytes < BATCH_BYTES_MAX {
                let Some(entry) = hub.take(lane, now) else { break };
                if let Entry::Message { payload, .. } = &entry {
                    bytes += payload.bytes.len();
                }
                batch.push(entry);
            }
            taker.inbox.give(&mut batch);
        }
        self.batch = batch;
    }
}

/// Whether a topic's sources are to wait.
fn is_braking(hub: &Hub, topic: TopicId) -> bool {
    hub.topic_pressure(topic).is_some_and(|topic| topic.level > Level::Nominal)
}
