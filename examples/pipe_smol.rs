//! A file, a transform and a sink that is slower than both, within one task: the file is read no faster than the slow one
//! takes, and memory stays as it is.
//!
//! `cargo run --example pipe_smol FILE [MICROSECONDS]`, where each line of FILE is a number (`seq 1000 > FILE`).
//!
//! Watch: the last line it prints says how far the reading was ahead, at most. A line that is no number ends all of it:
//! the file is not read on, and what waits is dropped.

use std::cell::Cell;
use std::fs::File;
use std::time::Duration;

use forebay_smol::Policy;
use forebay_smol::stream::{BoxError, ConsumerOptions, Stream, StreamOptions, pipe};
use smol::future::zip;
use smol::io::{AsyncBufReadExt as _, BufReader};
use smol::stream::StreamExt as _;
use smol::{Timer, Unblock};

/// Numbers that wait for the slow one.
const ROOM: u32 = 16;

fn main() -> Result<(), BoxError> {
    let mut arguments = std::env::args().skip(1);
    let file = File::open(arguments.next().ok_or("which file?")?)?;
    let pause = Duration::from_micros(arguments.next().map_or(Ok(1_000), |number| number.parse())?);

    let numbers = Stream::<u64>::new(StreamOptions::default(), |_| 8)?;
    let consumer = numbers.consume(ConsumerOptions::bounded(Policy::Block, ROOM))?;
    let read = Cell::new(0);
    smol::block_on(async {
        let lines = BufReader::new(Unblock::with_capacity(64 << 10, file)).lines();
        let counted = lines.inspect(|_| read.set(read.get() + 1));
        let piping = pipe(counted, |line: String| line.trim().parse().map(Some), numbers);
        let taking = async {
            let (mut taken, mut sum, mut ahead_max) = (0, 0, 0);
            // If it ends too early, the pipe says why.
            let mut good = consumer.whole().map_while(Result::ok);
            while let Some(number) = good.next().await {
                ahead_max = ahead_max.max(read.get() - taken);
                taken += 1;
                sum += number;
                Timer::after(pause).await;
            }
            (sum, ahead_max)
        };
        let (count, (sum, ahead_max)) = zip(piping, taking).await;
        println!("{} numbers, sum {sum}, at most {ahead_max} read ahead", count?);
        Ok(())
    })
}
