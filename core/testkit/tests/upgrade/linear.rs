//! What a head costs grows as the head does, however it is cut and whatever is in it: counted in instructions, by valgrind.

use std::process::Command;

use forebay_core::Mode;

use super::house::{GOOD, House, gated, with};

const CASE: &str = "FOREBAY_LINEAR";

/// Heads of about so many bytes that would cost a careless parser more than it should.
fn heads(name: &str, bytes: usize) -> String {
    let list = |unit: &str| unit.repeat(bytes / unit.len());
    match name {
        "plain" => with(&format!("X: {}", list("x"))),
        "fields" => with(&format!(
            "{}X: {}",
            list(
                "X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n"
            ),
            "y"
        )),
        "spaces" => with(&format!("Sec-WebSocket-Protocol: b{}x", list(" "))),
        "commas" => with(&format!("Sec-WebSocket-Protocol: b{}", list(" ,"))),
        "protocols" => with(&format!("Sec-WebSocket-Protocol: b{}", list(",a"))),
        "quotes" => with(&format!("Sec-WebSocket-Extensions: a; b=\"{}", list("\\c"))),
        "extensions" => with(&format!("Sec-WebSocket-Extensions: a{}", list(",a;b"))),
        "upgrades" => with(&format!("Upgrade: a{}", list(", a"))),
        "target" => GOOD.replace("/chat", &format!("/{}", "t".repeat(bytes / 2))),
        "origin" => with(&format!("Origin: http://{}", list("a."))),
        other => panic!("no case {other}"),
    }
}

const NAMES: [&str; 10] =
    ["plain", "fields", "spaces", "commas", "protocols", "quotes", "extensions", "upgrades", "target", "origin"];

/// Brings a head of about so many bytes in such pieces, and has it looked at.
fn bring(name: &str, bytes: usize, piece: usize) {
    let head = heads(name, bytes);
    let mut house = House::new(|_| {});
    let conn = house.accept(gated(Mode::Raw));
    for piece in head.as_bytes().chunks(piece) {
        house.hub.handle_bytes(conn, piece, house.now);
    }
    let offered = house.hub.upgrade_request(conn).map(|request| request.protocols().count());
    assert!(offered.is_some() || !["plain", "fields", "target"].contains(&name), "it was looked at to its end");
}

/// What a run under valgrind does.
#[test]
fn one_case() {
    let Ok(case) = std::env::var(CASE) else { return };
    let (what, bytes) = case.split_once(' ').expect("a case");
    let bytes = bytes.parse().expect("a number");
    match what {
        "names" => NAMES.iter().for_each(|name| bring(name, bytes, usize::MAX)),
        _ => [1, 2, 35, 400].iter().for_each(|piece| bring("plain", bytes, *piece)),
    }
}

/// Instructions of a case.
fn cost(what: &str, bytes: usize) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().expect("a program"))
        .args(["--exact", "linear::one_case", "--test-threads=1"])
        .env(CASE, format!("{what} {bytes}"))
        .output()
        .expect("valgrind runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let collected = said.lines().find_map(|line| line.split_once("Collected : ")).expect("a count");
    collected.1.trim().parse().expect("a number")
}

#[test]
fn twice_the_head_costs_twice_as_much() {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("skipped: needs valgrind");
        assert!(std::env::var_os("FOREBAY_REQUIRE_ALL").is_none_or(|all| all != "1"), "valgrind is required");
        return;
    }
    // Whatever is in it; and however it is cut: a call costs what it costs, and nothing of what came before.
    for what in ["names", "pieces"] {
        let [none, half, whole] = [0, 7_000, 14_000].map(|bytes| cost(what, bytes));
        let (first, second) = (half - none, whole - half);
        // Quadratic work makes the second half cost three times the first, and one such case all of it some 10^8 more.
        assert!(second <= first + first / 4, "{what}: {first} instructions, and {second} more");
        assert!(second > 7_000, "{what}: it was done");
    }
}
