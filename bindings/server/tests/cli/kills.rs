//! Subscribers and publishers that are killed with SIGKILL, and started again: what all of them printed, one behind the other,
//! is everything, and what is there twice was printed last by one that was killed.
//!
//! `FOREBAY_KILLS` says how many subscribers are killed (20 on each binding); publishers are about half as many.

use std::io::Write;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use crate::support::{Process, publish, publisher, server_on, wait_until};

/// Nothing comes again in the time of a test but after a resume.
const ORDERS: &str =
    "[[topics]]\nname = \"log\"\npolicy = \"block\"\ndelivery = \"at-least-once\"\nack_timeout = \"1h\"\n";
/// How many lines are written, and not printed: fewer than a lane holds, so that no session ends because it is full.
const AHEAD: usize = 500;

fn kills() -> u64 {
    std::env::var("FOREBAY_KILLS").map_or(20, |kills| kills.parse().expect("FOREBAY_KILLS is a number"))
}

/// A publisher, and what writes to it: `[PUBLISHER,NUMBER]` for each line that may be written.
struct Feed {
    publisher: Process,
    room: Sender<()>,
    writer: JoinHandle<()>,
}

impl Feed {
    fn start(url: &str, index: u64) -> Self {
        let mut publisher = publisher(url, &["--json"]);
        let mut input = publisher.input();
        let (room, rooms): (Sender<()>, Receiver<()>) = channel();
        let writer = std::thread::spawn(move || {
            for (number, ()) in (1..).zip(rooms) {
                if input.write_all(format!("[{index},{number}]\n").as_bytes()).is_err() {
                    return; // It was killed.
                }
            }
        });
        (0..AHEAD).for_each(|_| room.send(()).unwrap());
        Self { publisher, room, writer }
    }

    fn kill(mut self) {
        self.publisher.signal("KILL");
        self.publisher.wait();
        drop(self.room);
        self.writer.join().unwrap();
    }
}

/// What was printed, by all subscribers.
#[derive(Default)]
struct Printed {
    count: u64,
    /// Publisher and number of the newest line.
    last: [u64; 2],
}

impl Printed {
    /// Whether a line is new. If so it is the next one.
    fn line(&mut self, line: &[u8]) -> bool {
        let said: [u64; 2] = serde_json::from_slice(line).unwrap();
        if said <= self.last {
            return false;
        }
        let [publisher, number] = self.last;
        let is_next = said == [publisher, number + 1] || (said[0] > publisher && said[1] == 1);
        assert!(is_next, "{said:?} behind {:?}", self.last);
        self.last = said;
        self.count += 1;
        true
    }
}

fn everything_is_printed(binding: &str) {
    let (_server, url) = server_on(binding, &format!("kills-{binding}"), ORDERS);
    let path = format!("{}/kills-{binding}.session", env!("CARGO_TARGET_TMPDIR"));
    let _ = std::fs::remove_file(&path);
    let subscribe = || {
        let subscriber = Process::start(&["subscribe", &url, "--topic", "log", "--json", "--session", &path]);
        wait_until("it is subscribed", || std::fs::read_to_string(&path).is_ok_and(|text| text.contains("epoch")));
        subscriber
    };
    let (mut printed, mut subscriber) = (Printed::default(), subscribe());
    let (mut feed, mut feeds) = (Feed::start(&url, 1), 2);
    let (mut draw, mut twice) = (7_u64, 0);
    let mut below = move |bound: u64| {
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (draw >> 33) % bound
    };
    for _ in 0..kills() {
        let (mut left, mut again) = (1 + below(1_500), 0);
        while left > 0 {
            let line = subscriber.out.next().expect("it runs");
            if printed.line(&line) {
                left -= 1;
                let _ = feed.room.send(()); // Unless its publisher has ended.
            } else {
                again += 1;
            }
        }
        if below(2) == 0 {
            feed.kill();
            feed = Feed::start(&url, feeds);
            feeds += 1;
        }
        subscriber.signal("KILL");
        subscriber.wait();
        while let Some(line) = subscriber.out.next() {
            // The last one may be cut off.
            if line.ends_with(b"]") {
                again += u64::from(!printed.line(&line));
                let _ = feed.room.send(());
            }
        }
        twice += again;
        assert!(again <= 32, "{again} came again: more than may be unacknowledged");
        subscriber = subscribe();
    }
    feed.kill();
    publish(&url, &["--json"], b"\"end\"\n", 0);
    while let Some(line) = subscriber.out.next().filter(|line| line != b"\"end\"") {
        printed.line(&line);
    }
    // Every number was printed: none was another message.
    let head = format!("\"seq\":{}}}", printed.count + 1);
    wait_until("all is told to be done", || std::fs::read_to_string(&path).unwrap().contains(&head));
    println!("{binding}: {} messages of {} publishers; {twice} were printed twice", printed.count, feeds - 1);
}

#[test]
fn everything_is_printed_on_threads() {
    everything_is_printed("threads");
}

#[test]
fn everything_is_printed_on_smol() {
    everything_is_printed("smol");
}
