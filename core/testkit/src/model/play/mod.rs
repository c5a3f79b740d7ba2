//! One run: every act is done to a hub and to the reference, and what comes of it is compared.

mod aims;
mod application;
mod bounds;
mod client;
mod compare;
mod delivery;
mod finish;
mod outputs;
mod sessions;
mod tally;

use std::collections::{BTreeMap, VecDeque};

use forebay_core::{Config, ConnId, Hub, Instant, LaneId, Level, Scope, TopicId};

use super::act::{Act, Op};
use super::plan::Plan;
use super::reference::{Error, Reference, TopicKey, Verdict};
pub use tally::Tally;

/// Seats for clients of one hub.
pub(crate) const SEATS: usize = 6;
/// Readers in the process of one hub.
pub(crate) const LOCALS: usize = 4;
/// Names of topics: good ones, and ones that are not.
pub(crate) const NAMES: [&str; 8] = ["a", "b", "c", "d\"é\\", "e/e", "f", "", "a name of twenty-one b"];
/// Keys: none, good ones, and ones that are not.
pub(crate) const KEYS: [&str; 8] = ["", "k", "l", "m", "n\"é", "o", "a\nb", "a key of twenty-one by"];
/// Ids of publishes: none, good ones, and ones that are not.
pub(crate) const IDS: [&str; 8] = ["", "1", "2", "3", "4\"é", "five", "six", "a\nb"];
/// Who somebody is: nobody, good names, and one that is not.
pub(crate) const PRINCIPALS: [&str; 4] = ["", "p", "q", "a name of twenty-one b"];
/// No clock goes further: 300 years.
const NOW_MAX: u64 = 300 * 365 * 86_400 * 1_000_000_000;
/// A full state is compared once in so many steps.
const STEPS_PER_STATE: u64 = 64;

/// A client, and its connection.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) conn: ConnId,
    /// Written and not delivered.
    pub(crate) written: VecDeque<u8>,
    /// Where what was written may not be cut.
    whole: VecDeque<(usize, bool)>,
    /// Bytes of the Transmit that was not answered.
    pub(crate) out: Option<usize>,
    pub(crate) is_blocked: bool,
    /// Whether the embedder still has a socket.
    pub(crate) has_socket: bool,
    masks: u32,
    last_id: u64,
}

/// A hub, and what it must do.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) hub: Hub,
    pub(crate) model: Reference,
    pub(crate) seats: [Option<Seat>; SEATS],
    pub(crate) locals: [Option<LaneId>; LOCALS],
    /// Whether bounds of memory are near.
    is_tight: bool,
    /// Resident bytes of topics' logs after the last call.
    resident: BTreeMap<TopicKey, usize>,
    /// And of the hub.
    resident_in_all: usize,
    /// Levels as they were told, where only that is looked at.
    told: BTreeMap<Scope, Level>,
}

/// What waits between two hubs.
#[derive(Debug)]
struct Letter {
    is_text: bool,
    bytes: Vec<u8>,
}

/// A run.
#[derive(Debug)]
pub(crate) struct Play {
    pub(crate) plan: Plan,
    pub(crate) sides: Vec<Side>,
    now: u64,
    /// How far the clock is behind.
    back: u64,
    mailbox: VecDeque<Letter>,
    posted: u64,
    fetched: u64,
    payloads: u64,
    is_shown: bool,
    /// The hub took another order than the reference where it may: they cannot be compared any more.
    is_over: bool,
    pub(crate) steps: u64,
    pub(crate) tally: Tally,
}

impl Side {
    pub(super) fn topic_key(&self, name: u64) -> Option<TopicKey> {
        self.model.names.get(name_of(name)).copied()
    }

    /// The hub's id of the topic of that name; one that never was, where there is none.
    pub(super) fn topic_id(&self, name: u64) -> TopicId {
        self.topic_key(name).map_or(TopicId::from_bits(u64::MAX), |key| self.model.topics[&key].id)
    }

    pub(super) fn seat(&mut self, seat: u64) -> Option<&mut Seat> {
        self.seats[place(seat, SEATS)].as_mut()
    }

    pub(super) fn conn_of(&self, seat: u64) -> Option<ConnId> {
        self.seats[place(seat, SEATS)].as_ref().map(|seat| seat.conn)
    }

    fn new(plan: &Plan, number: u64, error: Error) -> Self {
        let options = plan.options();
        let config = Config::try_from(options).expect("a plan is drawn to be good");
        let mut entropy = [0; 32];
        entropy[..8].copy_from_slice(&(plan.entropy ^ number).to_le_bytes());
        let mut model = Reference::new(options, plan.start);
        model.error = error;
        model.has_no_levels = plan.is_tight > 0;
        Self {
            hub: Hub::new(config, entropy, Instant::from_nanos(plan.start)),
            model,
            seats: Default::default(),
            locals: Default::default(),
            is_tight: plan.is_tight > 0,
            resident: BTreeMap::new(),
            resident_in_all: 0,
            told: BTreeMap::new(),
        }
    }
}

pub(super) fn place(number: u64, of: usize) -> usize {
    usize::try_from(number % of as u64).expect("below a usize")
}

pub(super) fn name_of(number: u64) -> &'static str {
    NAMES[place(number, NAMES.len())]
}

/// What was to be, where it is not.
#[expect(clippy::needless_pass_by_value, reason = "what is compared is made to be compared")]
pub(super) fn same<T: PartialEq + std::fmt::Debug>(what: &str, hub: T, model: T) -> Verdict {
    if hub == model { Ok(()) } else { Err(format!("{what}: the hub says {hub:?}, the reference {model:?}")) }
}

impl Play {
    pub(crate) fn new(plan: Plan, error: Error) -> Self {
        let sides = (0..plan.hubs.clamp(1, 2)).map(|number| Side::new(&plan, number, error)).collect();
        let now = plan.start;
        Self {
            plan,
            sides,
            now,
            back: 0,
            mailbox: VecDeque::new(),
            posted: 0,
            fetched: 0,
            payloads: 0,
            is_over: false,
            is_shown: std::env::var_os("FOREBAY_TRACE").is_some(),
            steps: 0,
            tally: Tally::default(),
        }
    }

    /// The time that is told to the hubs.
    pub(super) fn told_now(&self) -> Instant {
        Instant::from_nanos(self.now.saturating_sub(self.back))
    }

    /// A payload of so many bytes that was not there before, as far as it has room for that.
    pub(super) fn payload(&mut self, len: u64, is_text: bool) -> Vec<u8> {
        self.payloads += 1;
        let len = usize::try_from(len.clamp(1, 1 << 20)).expect("small");
        if !is_text {
            return self.payloads.to_le_bytes().iter().copied().cycle().take(len).collect();
        }
        let mut number = self.payloads;
        let mut digit = |of: &[u8]| {
            let digit = of[place(number, of.len())];
            number /= of.len() as u64;
            digit
        };
        if len < 3 {
            return (0..len).map(|_| digit(b"123456789")).collect();
        }
        let letters = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let mut text = vec![b'"'];
        text.extend((2..len.min(12)).map(|_| digit(letters)));
        text.resize(len - 1, b'x');
        text.push(b'"');
        text
    }

    /// Does an act, and compares.
    pub(crate) fn act(&mut self, act: Act) -> Verdict {
        self.steps += 1;
        if self.is_over { Ok(()) } else { self.act_compared(act).or_else(|fault| self.forgive(fault)) }
    }

    /// A fault is none where the hub chose an order that nobody promises.
    pub(super) fn forgive(&mut self, fault: String) -> Verdict {
        self.is_over = self.sides.iter().any(|side| side.model.seen.open_orders > 0);
        self.tally.other_orders += u64::from(self.is_over);
        if self.is_over { Ok(()) } else { Err(fault) }
    }

    fn act_compared(&mut self, act: Act) -> Verdict {
        // No two acts happen at the same time: what is due at the same time may be done in any order.
        self.tick()?;
        let side = act.side % self.sides.len();
        self.show(|| act.to_string());
        self.perform(side, act.op, &act.args)?;
        if self.steps.is_multiple_of(STEPS_PER_STATE) {
            for side in &self.sides {
                side.compare_state()?;
            }
            self.compare_mailbox()?;
        }
        Ok(())
    }

    /// A moment passes: what was due at the same time as something else comes before or behind it.
    pub(super) fn tick(&mut self) -> Verdict {
        self.now = (self.now + 1).min(NOW_MAX);
        self.keep_soft_deadlines()
    }

    /// Tells what is done, where somebody wants to see it.
    pub(super) fn show(&self, what: impl Fn() -> String) {
        if self.is_shown {
            println!("{}: {}", self.steps, what());
        }
    }

    /// What a flush or a rate lets pass may be found by any call from then on: so the embedder is never late with these.
    fn keep_soft_deadlines(&mut self) -> Verdict {
        for side in 0..self.sides.len() {
            if self.sides[side].model.soft_deadline().is_some_and(|due| due <= self.told_now().as_nanos()) {
                self.timeout(side)?;
            }
        }
        Ok(())
    }

    fn next_deadline(&self) -> Option<u64> {
        self.sides.iter().filter_map(|side| side.model.next_deadline()).min()
    }

    /// Time passes: each deadline is kept, unless the clock jumps.
    fn advance(&mut self, nanos: u64, is_kept: bool) -> Verdict {
        self.back = 0;
        let target = self.now.saturating_add(nanos).min(NOW_MAX);
        while let Some(due) = self.next_deadline().filter(|due| is_kept && *due <= target) {
            self.now = self.now.max(due);
            for side in 0..self.sides.len() {
                self.timeout(side)?;
            }
        }
        self.now = target;
        Ok(())
    }

    fn perform(&mut self, side: usize, op: Op, args: &[u64]) -> Verdict {
        match op {
            Op::Accept => self.accept(side, args),
            Op::SaySubscribe
            | Op::SayUnsubscribe
            | Op::SayPublish
            | Op::SayPing
            | Op::SayAck
            | Op::SayCredit
            | Op::SayKeep
            | Op::SayResume
            | Op::SayNonsense
            | Op::SayMessage
            | Op::SayControl
            | Op::SayClose
            | Op::SayCrime => {
                self.say(side, op, args);
                Ok(())
            }
            Op::Deliver => self.deliver(side, args),
            Op::Poll => self.poll(side, args[0], args[1]),
            Op::Answer => self.answer(side, args),
            Op::Writable => self.writable(side, args[0]),
            Op::Eof => self.eof(side, args[0]),
            Op::Kernel => self.kernel(side, args),
            Op::Close => self.close(side, args),
            Op::Topic => self.declare(side, args),
            Op::OpenTopic => self.open_topic(side, args[0]),
            Op::RemoveTopic => self.remove_topic(side, args[0]),
            Op::Subscribe => self.subscribe(side, args),
            Op::Unsubscribe => self.unsubscribe(side, args),
            Op::Local => self.local(side, args),
            Op::Unlocal => self.unlocal(side, args[0]),
            Op::Take => self.take(side, args[0], args[1]),
            Op::Publish => self.publish(side, args),
            Op::Send => self.send(side, args),
            Op::Receive => self.receive(side, args),
            Op::Advance => self.advance(args[0], true),
            Op::Jump => self.advance(args[0], false),
            Op::Backwards => {
                self.back = args[0];
                Ok(())
            }
            Op::Timeout => self.timeout(side),
            Op::Settle => self.settle(side),
            Op::Ack => self.acknowledge(side, args),
            Op::Grant => self.grant(side, args),
            Op::Keep => self.keep(side, args),
            Op::Resume => self.resume(side, args),
            Op::Authenticate => self.authenticate(side, args),
            Op::SendVolatile => self.send_volatile(side, args),
            Op::Drain => self.drain(side, args[0]),
            Op::Stale => self.stale(side),
            Op::Post => self.post(args),
            Op::Fetch => self.fetch(args),
        }
    }
}
