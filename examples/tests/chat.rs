//! The chats: clients hear each other, and the bot answers.

use std::io::{Read as _, Write as _};

use forebay_examples::{Server, ask, read, say};

#[test]
fn chat_threads() {
    a_chat_with_the_bot("chat_threads");
}

#[test]
fn chat_smol() {
    a_chat_with_the_bot("chat_smol");
}

fn a_chat_with_the_bot(example: &str) {
    let server = Server::start(example, &[]);
    let mut browser = server.tcp();
    browser.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut answer = String::new();
    browser.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(include_str!("../chat.html")), "{answer}");

    let (mut ann, mut bob, mut eve) = (server.connect(), server.connect(), server.connect());
    for (client, room) in [(&mut ann, "lobby"), (&mut bob, "lobby"), (&mut eve, "garden")] {
        let answer = ask(client, &format!(r#"{{"op":"subscribe","topic":"{room}","id":1}}"#));
        assert!(answer.starts_with(r#"{"op":"ok""#), "{answer}");
    }
    say(&mut ann, r#"{"op":"publish","topic":"lobby","data64":"AAE="}"#);
    for client in [&mut ann, &mut bob] {
        assert_eq!(read(client), r#"{"op":"message","topic":"lobby","seq":1,"data64":"AAE="}"#);
    }
    let mut seq = 1;
    let mut heard = |data: &str| {
        seq += 1;
        format!(r#"{{"op":"message","topic":"lobby","seq":{seq},"data":{data}}}"#)
    };
    // What is said, and what the bot says to it.
    for (said, answered) in [
        (r#"{"from":"bob","text":"hello"}"#, None),
        ("[]", None), // Not of the application's making; the bot has to bear it.
        (r#"{"from":"ann","text":"/who"}"#, Some("ann, bob spoke, 2 listen")),
        (r#"{"from":"bob","text":"/count"}"#, Some("3 messages")),
    ] {
        say(&mut bob, &format!(r#"{{"op":"publish","topic":"lobby","data":{said}}}"#));
        let mut expected = vec![heard(said)];
        expected.extend(answered.map(|text| heard(&format!(r#"{{"from":"bot","text":"{text}"}}"#))));
        for line in expected {
            assert_eq!(read(&mut ann), line);
            assert_eq!(read(&mut bob), line);
        }
    }
    say(&mut eve, r#"{"op":"publish","topic":"garden","data":{"from":"eve","text":"/count"}}"#);
    for data in [r#"{"from":"eve","text":"/count"}"#, r#"{"from":"bot","text":"1 messages"}"#] {
        assert!(read(&mut eve).ends_with(&format!(r#""data":{data}}}"#)), "rooms are apart");
    }
    let refused = ask(&mut eve, r#"{"op":"subscribe","topic":"cellar","id":2}"#);
    assert!(refused.contains(r#""code":"unknown-topic""#), "{refused}");
}
