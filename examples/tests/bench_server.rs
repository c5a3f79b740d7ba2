//! The program that load generators are pointed at.

use forebay_examples::{Client, Server};
use tungstenite::Message;

fn ask(client: &mut Client, question: Message) -> Message {
    client.send(question).unwrap();
    client.read().unwrap()
}

#[test]
fn it_speaks_the_protocol_of_load_generators() {
    for binding in ["threads", "smol"] {
        let server = Server::start_with("bench_server", &["0", "--binding", binding]);
        let mut clients: Vec<Client> = (0..3).map(|_| server.websocket()).collect();
        for client in &mut clients[..2] {
            client.send(Message::text("SUB t")).unwrap();
            // Answered behind it, so that it has subscribed.
            for said in [Message::text("hello"), Message::binary(vec![0; 100_000])] {
                assert!(ask(client, said.clone()) == said, "{binding}");
            }
        }
        for published in [Message::text("P of one"), Message::binary(vec![b'P'; 70_000])] {
            clients[2].send(published.clone()).unwrap();
            for client in &mut clients[..2] {
                assert!(client.read().unwrap() == Message::binary(published.clone().into_data()), "{binding}");
            }
        }
        assert_eq!(ask(&mut clients[2], Message::text("not subscribed")), Message::text("not subscribed"));
    }
}
