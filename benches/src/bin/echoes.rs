//! What a message costs that is said back, in rounds: to be counted by a profiler (`valgrind --tool=callgrind`), or timed by
//! itself.
//!
//! `echoes CONNS DEPTH BYTES ROUNDS`: in each round every connection brings so many text messages, in one read; they are
//! received, sent back and drained, as a driver does it.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use forebay_benches::{Fleet, Speech};
use forebay_core::{Cause, Event, Payload};

/// Says back what connections say.
fn tell(fleet: &mut Fleet) {
    let Fleet { hub, now, .. } = fleet;
    while let Some(event) = hub.poll_event() {
        let Event::Received(conn) = event else { continue };
        while let Some(message) = hub.receive(conn, *now) {
            let text = message.as_text().expect("it came as text");
            hub.send(conn, Payload::Text(text), *now).expect("room for a message");
        }
    }
}

/// What a driver does in a turn; how many bytes it would have written.
fn turn(fleet: &mut Fleet) -> usize {
    fleet.hub.handle_timeout(fleet.now);
    let mut bytes = 0;
    loop {
        while let Some(transmit) = fleet.hub.poll_transmit() {
            let (conn, len) = (transmit.conn(), transmit.len());
            match transmit.single() {
                Some(slice) => _ = black_box(slice),
                None => transmit.slices().for_each(|slice| _ = black_box(slice)),
            }
            bytes += len;
            fleet.hub.handle_sent(conn, len, fleet.now);
        }
        while let Some(effect) = fleet.hub.poll_effect() {
            black_box(effect);
        }
        tell(fleet);
        if fleet.hub.poll_timeout().is_none_or(|deadline| deadline.cause != Cause::Output) {
            return bytes;
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, default| arguments.get(place).map_or(default, |text| text.parse().expect("a number"));
    let (conns, depth, bytes, rounds) = (number(0, 1), number(1, 64), number(2, 16), number(3, 1_000));
    let mask = [1, 2, 3, 4];
    let mut input = vec![0x81];
    match u16::try_from(bytes).expect("at most 65,535 bytes") {
        len @ 0..126 => input.push(0x80 | u8::try_from(len).expect("below 126")),
        len => {
            input.push(0x80 | 126);
            input.extend(len.to_be_bytes());
        }
    }
    input.extend(mask);
    input.extend((0..bytes).map(|place| b'x' ^ mask[place % 4]));
    let input = input.repeat(depth);

    let mut fleet = Fleet::new(Speech::Raw, conns, 0);
    turn(&mut fleet);
    let mut best = Duration::MAX;
    for _ in 0..rounds {
        let started = Instant::now();
        for place in 0..conns {
            let conn = fleet.conns[place];
            fleet.hub.handle_bytes(conn, &input, fleet.now);
        }
        let sent = turn(&mut fleet);
        best = best.min(started.elapsed());
        assert_eq!(sent, conns * (input.len() - 4 * depth), "all comes back, without masks");
    }
    let messages = conns * depth;
    println!(
        "{conns} connections, {depth} messages of {bytes} bytes each: {:.1} ns per message (best of {rounds})",
        best.as_nanos() as f64 / messages as f64
    );
}
