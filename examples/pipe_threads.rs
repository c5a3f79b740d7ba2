//! A file, a transform and a sink that is slower than both, within one process: the file is read no faster than the slow one
//! takes, and memory stays as it is.
//!
//! `cargo run --example pipe_threads FILE [MICROSECONDS]`, where each line of FILE is a number (`seq 1000 > FILE`).
//!
//! Watch: the last line it prints says how far the reading was ahead, at most. A line that is no number ends all of it:
//! the file is not read on, and what waits is dropped.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use forebay_threads::Policy;
use forebay_threads::stream::{BoxError, ConsumerOptions, Stream, StreamOptions, pipe};

/// Numbers that wait for the slow one.
const ROOM: u32 = 16;

fn main() -> Result<(), BoxError> {
    let mut arguments = std::env::args().skip(1);
    let lines = BufReader::new(File::open(arguments.next().ok_or("which file?")?)?).lines();
    let pause = Duration::from_micros(arguments.next().map_or(Ok(1_000), |number| number.parse())?);

    let numbers = Stream::<u64>::new(StreamOptions::default(), |_| 8)?;
    let consumer = numbers.consume(ConsumerOptions::bounded(Policy::Block, ROOM))?;
    let read = AtomicU64::new(0);
    thread::scope(|scope| {
        let piping = scope.spawn(|| {
            let counted = lines.inspect(|_| {
                read.fetch_add(1, Ordering::Relaxed);
            });
            pipe(counted, |line| line.trim().parse().map(Some), numbers)
        });
        let (mut taken, mut sum, mut ahead_max) = (0, 0, 0);
        // If it ends too early, the pipe says why.
        for number in consumer.whole().map_while(Result::ok) {
            ahead_max = ahead_max.max(read.load(Ordering::Relaxed) - taken);
            taken += 1;
            sum += number;
            thread::sleep(pause);
        }
        let count = piping.join().expect("it does not panic")?;
        println!("{count} numbers, sum {sum}, at most {ahead_max} read ahead");
        Ok(())
    })
}
