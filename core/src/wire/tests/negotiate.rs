//! Offers, what is answered to them, and answers to what was offered.

use super::*;
use crate::wire::deflate::WindowBits;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

fn agreed(server: (u8, bool), client: (u8, bool)) -> Agreed {
    Agreed { server: Direction::of(server.0, server.1), client: Direction::of(client.0, client.1) }
}

/// Anything.
fn most() -> Agreed {
    agreed((15, true), (15, true))
}

fn answer_of(most: Agreed, values: &[&str]) -> Option<String> {
    negotiate(values.iter().map(|value| value.as_bytes()), most).map(|answer| answer.to_string())
}

#[test]
fn each_parameter_of_an_offer_is_answered() {
    let all = |offer: &str, answer: &str, expected: Agreed| {
        let offer = String::from("permessage-deflate") + offer;
        let found = negotiate([offer.as_bytes()].into_iter(), most()).expect(&offer);
        assert_eq!(
            (found.to_string(), found.agreed),
            (String::from("permessage-deflate") + answer, expected),
            "{offer}"
        );
    };
    let (on, off) = (true, false);
    all("", "", most());
    all("; client_max_window_bits", "", most());
    all("; client_max_window_bits=15", "", most());
    all("; client_max_window_bits=9", "; client_max_window_bits=9", agreed((15, on), (9, on)));
    all("; client_max_window_bits=8", "; client_max_window_bits=8", agreed((15, on), (8, on)));
    all("; client_max_window_bits=\"1\\0\"", "; client_max_window_bits=10", agreed((15, on), (10, on)));
    all("; server_max_window_bits=15", "; server_max_window_bits=15", most());
    all("; server_max_window_bits=9", "; server_max_window_bits=9", agreed((9, on), (15, on)));
    all(";server_max_window_bits = \"12\"", "; server_max_window_bits=12", agreed((12, on), (15, on)));
    all("; server_no_context_takeover", "; server_no_context_takeover", agreed((15, off), (15, on)));
    all("; client_no_context_takeover", "; client_no_context_takeover", agreed((15, on), (15, off)));
    all(
        "; client_max_window_bits=10; client_no_context_takeover\t;server_max_window_bits=11 ; server_no_context_takeover ",
        "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=11; client_max_window_bits=10",
        agreed((11, off), (10, off)),
    );
}

#[test]
fn a_server_agrees_to_no_more_than_it_would() {
    let most = agreed((12, false), (11, false));
    let alone = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; ";
    for (offer, answer) in [
        ("", "server_max_window_bits=12"),
        ("; server_max_window_bits=15", "server_max_window_bits=12"),
        ("; server_max_window_bits=9", "server_max_window_bits=9"),
        ("; client_max_window_bits", "server_max_window_bits=12; client_max_window_bits=11"),
        ("; client_max_window_bits=15", "server_max_window_bits=12; client_max_window_bits=11"),
        ("; client_max_window_bits=10", "server_max_window_bits=12; client_max_window_bits=10"),
    ] {
        let offer = String::from("permessage-deflate") + offer;
        assert_eq!(answer_of(most, &[&offer]), Some(String::from(alone) + answer), "{offer}");
    }
    // Who does not know the parameter is not told it, and has all.
    let found = negotiate([&b"permessage-deflate"[..]].into_iter(), most).unwrap();
    assert_eq!(found.agreed.client, Direction::of(15, false));
}

#[test]
fn offers_that_cannot_be_met_are_declined() {
    for params in [
        "server_max_window_bits",
        "server_max_window_bits=",
        "server_max_window_bits=8",
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_max_window_bits=08",
        "server_max_window_bits=015",
        "server_max_window_bits=+9",
        "server_max_window_bits=9.",
        "server_max_window_bits=1000000000000000000009",
        "server_max_window_bits=\"\"",
        "server_max_window_bits=\"9",
        "server_max_window_bits=\" 9\"",
        "server_max_window_bits=\"9\"9",
        "server_max_window_bits='9'",
        "client_max_window_bits=",
        "client_max_window_bits=7",
        "client_max_window_bits=16",
        "client_max_window_bits=08",
        "client_max_window_bits=x",
        "client_max_window_bits=\"\\08\"",
        "client_no_context_takeover=1",
        "client_no_context_takeover=\"\"",
        "server_no_context_takeover=true",
        "server_no_context_takeover; server_no_context_takeover",
        "client_no_context_takeover; client_no_context_takeover",
        "client_max_window_bits; client_max_window_bits",
        "client_max_window_bits=9; client_max_window_bits=9",
        "server_max_window_bits=9; server_max_window_bits=10",
        "unknown",
        "unknown=1; client_max_window_bits",
        "CLIENT_MAX_WINDOW_BITS",
        "",
        "; client_max_window_bits",
        "client_max_window_bits;",
        "client max window bits",
        "constructor",
    ] {
        let offer = String::from("permessage-deflate; ") + params;
        assert_eq!(answer_of(most(), &[&offer]), None, "{offer}");
        // The next one may be met, unless nobody can say where it would begin.
        let values = [&*offer, "x-other, permessage-deflate; client_no_context_takeover"];
        let next = "permessage-deflate; client_no_context_takeover";
        assert_eq!(answer_of(most(), &values).as_deref(), Some(next), "{offer}");
    }
    for other in
        ["", ",", "permessage-deflat", "permessage-deflate2", "permessage-bzip2", "Permessage-Deflate", "\"x\"", "\0"]
    {
        assert_eq!(answer_of(most(), &[other]), None, "{other}");
    }
}

#[test]
fn the_first_offer_that_can_be_met_is() {
    let first = ["permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=10"];
    assert_eq!(answer_of(most(), &first).as_deref(), Some("permessage-deflate; server_max_window_bits=10"));
    let second = [
        "a; b=\"c\\,d\", permessage-deflate; unknown",
        " , ,x;y=z,,permessage-deflate; client_max_window_bits , permessage-deflate; server_no_context_takeover",
    ];
    // What is quoted must be a token: behind that nothing of the first value is read.
    assert_eq!(answer_of(most(), &second).as_deref(), Some("permessage-deflate"));
    let unterminated = ["x; y=\"z, permessage-deflate", "permessage-deflate; client_no_context_takeover"];
    let last = Some("permessage-deflate; client_no_context_takeover");
    assert_eq!(answer_of(most(), &unterminated).as_deref(), last);
}

#[test]
fn every_cut_of_an_offer_is_judged_without_harm() {
    let offer = "permessage-deflate; server_max_window_bits=\"1\\0\"; client_max_window_bits , x;y=\"\\z\"; v=w";
    for end in 0..=offer.len() {
        for start in 0..=end {
            let _ = answer_of(most(), &[&offer[start..end]]);
        }
    }
}

#[test]
fn what_a_client_offers_and_what_it_takes_for_an_answer() {
    let on = true;
    let offer = Offer(most());
    assert_eq!(offer.to_string(), "permessage-deflate; client_max_window_bits");
    let small = Offer(agreed((11, false), (10, false)));
    assert_eq!(
        small.to_string(),
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=11; \
         client_max_window_bits=10"
    );
    let take = |offer: Offer, values: &[&str]| offer.accept(values.iter().map(|value| value.as_bytes()));
    assert_eq!(take(offer, &[]), Ok(None));
    assert_eq!(take(offer, &["", " , "]), Ok(None));
    for (answer, expected) in [
        ("permessage-deflate", most()),
        ("permessage-deflate; server_max_window_bits=8", agreed((8, on), (15, on))),
        ("permessage-deflate; server_max_window_bits=15", most()),
        ("permessage-deflate; client_max_window_bits=\"8\"", agreed((15, on), (8, on))),
        ("permessage-deflate; server_no_context_takeover", agreed((15, false), (15, on))),
        ("permessage-deflate; client_no_context_takeover", agreed((15, on), (15, false))),
    ] {
        assert_eq!(take(offer, &[answer]), Ok(Some(expected)), "{answer}");
    }
    let told = "permessage-deflate; server_no_context_takeover; server_max_window_bits=11";
    assert_eq!(take(small, &[told]), Ok(Some(agreed((11, false), (10, false)))));
    for answer in [
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=08",
        "permessage-deflate; unknown",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate, permessage-deflate",
        "permessage-deflate, x",
        "x",
        "permessage-deflate;",
        "permessage-deflate x",
        "\"",
    ] {
        assert_eq!(take(offer, &[answer]), Err(Unsolicited), "{answer}");
    }
    assert_eq!(take(offer, &["permessage-deflate", "permessage-deflate"]), Err(Unsolicited));
    for answer in [
        "permessage-deflate; server_max_window_bits=11",
        "permessage-deflate; server_no_context_takeover",
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=12",
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=11; client_max_window_bits=11",
    ] {
        assert_eq!(take(small, &[answer]), Err(Unsolicited), "{answer}");
    }
}

/// Whatever two sides would agree to, the client understands the server's answer as the server does.
#[test]
fn both_sides_agree() {
    let mut directions = Vec::new();
    for bits in 9..=15 {
        directions.extend([true, false].map(|takes_over| Direction::new(WindowBits::new(bits).unwrap(), takes_over)));
    }
    for a in &directions {
        for b in &directions {
            for (theirs, ours) in [(a, b), (b, a)] {
                let offer = Offer(Agreed { server: *theirs, client: *ours });
                let most = Agreed { server: *ours, client: *theirs };
                let answer = negotiate([offer.to_string().as_bytes()].into_iter(), most).unwrap();
                let told = offer.accept([answer.to_string().as_bytes()].into_iter()).unwrap();
                assert_eq!(told, Some(answer.agreed), "{offer} {answer}");
            }
        }
    }
    assert_eq!(size_of::<Option<Agreed>>(), 2);
}
