//! Direct messages, in both roles.

use forebay_core::{ClientRequest, Config, ConnId, DeflateOptions, Hub, Mode, Options, Payload, Peer, SendError};
use forebay_testkit::mini::Item;
use forebay_testkit::stage::{Stage, json_of_len};

use crate::{NOW, OFFER, stage};

fn direct(message_bytes_min: u32) -> Option<DeflateOptions> {
    Some(DeflateOptions { direct: true, message_bytes_min, ..DeflateOptions::default() })
}

fn items(stage: &mut Stage, conn: ConnId) -> Vec<Item> {
    stage.client(conn).items.drain(..).collect()
}

#[test]
fn they_are_compressed_where_that_was_asked_for_and_of_use() {
    for (is_direct, compressed) in [(true, 2), (false, 0)] {
        let mut stage = stage(|options| {
            options.deflate = Some(DeflateOptions { direct: is_direct, ..DeflateOptions::default() });
        });
        let (conn, other) = (stage.join_offering(Mode::Raw, OFFER), stage.join_raw());
        let (text, bytes) = (json_of_len(1_000), vec![9; 5_000]);
        for conn in [conn, other] {
            stage.hub.send(conn, Payload::Text(&text), stage.now).expect("taken");
            stage.hub.send(conn, Payload::Text("small"), stage.now).expect("taken");
            stage.hub.send(conn, Payload::Binary(&bytes), stage.now).expect("taken");
        }
        stage.pump();
        assert_eq!((stage.client(conn).compressed, stage.client(other).compressed), (compressed, 0));
        let expected = vec![Item::Text(text), Item::Text("small".into()), Item::Binary(bytes)];
        assert_eq!((items(&mut stage, conn), items(&mut stage, other)), (expected.clone(), expected));
        assert_eq!(stage.hub.stats().direct.sent.bytes, 2 * 6_005, "counted as they are");
        assert_eq!(stage.hub.stats().compression.compressed.messages, compressed);
    }
}

#[test]
fn the_bound_of_a_direct_lane_counts_them_as_they_are() {
    let mut stage = stage(|options| {
        options.deflate = direct(128);
        options.direct_lane.bytes_max = 10_000;
    });
    let conn = stage.join_offering(Mode::Raw, OFFER);
    stage.freeze(conn);
    let text = json_of_len(4_000);
    for _ in 0..2 {
        stage.hub.send(conn, Payload::Text(&text), stage.now).expect("taken");
        stage.pump();
    }
    let before = stage.hub.stats().compression.compressed.messages;
    assert_eq!(stage.hub.send(conn, Payload::Text(&text), stage.now), Err(SendError::Full));
    assert_eq!(stage.hub.stats().compression.compressed.messages, before, "what is refused is not compressed");
    let resident = stage.hub.stats().resident_bytes;
    assert!(resident < 3_000, "{resident} resident bytes for 8,000");
    stage.thaw(conn);
    assert_eq!(items(&mut stage, conn).len(), 2);
}

#[test]
fn a_window_of_the_peers_is_kept_to() {
    let mut stage = stage(|options| options.deflate = direct(128));
    let conn = stage.join_offering(Mode::Raw, "permessage-deflate; server_max_window_bits=9");
    for (len, compressed) in [(512, 1), (513, 1), (200, 2)] {
        stage.hub.send(conn, Payload::Text(&json_of_len(len)), stage.now).expect("taken");
        stage.pump();
        assert_eq!(stage.client(conn).compressed, compressed, "{len} bytes");
    }
}

/// Carries what one hub wants to write to the other; whether there was anything.
pub(crate) fn carry(from: &mut Hub, to: &mut Hub, conn: ConnId) -> bool {
    let Some(transmit) = from.poll_transmit() else { return false };
    let (id, bytes): (_, Vec<u8>) = (transmit.conn(), transmit.slices().flatten().copied().collect());
    from.handle_sent(id, bytes.len(), NOW);
    to.handle_bytes(conn, &bytes, NOW);
    true
}

#[test]
fn a_client_masks_what_it_compresses() {
    let hub = |seed| {
        let options = Options { deflate: direct(128), ..Options::default() };
        Hub::new(Config::try_from(options).expect("good"), [seed; 32], NOW)
    };
    let (mut server, mut client) = (hub(1), hub(2));
    let at_server = server.handle_accept(Peer { mode: Mode::Raw, ..Peer::default() }, NOW).expect("accepted");
    let request = ClientRequest { host: "test", target: "/", ..Default::default() };
    let at_client = client.connect(request, NOW).expect("started");
    let run = |server: &mut Hub, client: &mut Hub| {
        while carry(client, server, at_server) | carry(server, client, at_client) {}
        server.check_invariants();
        client.check_invariants();
    };
    run(&mut server, &mut client);
    let text = json_of_len(2_000);
    client.send(at_client, Payload::Text(&text), NOW).expect("taken");
    server.send(at_server, Payload::Text(&text), NOW).expect("taken");
    run(&mut server, &mut client);
    for (hub, conn) in [(&mut server, at_server), (&mut client, at_client)] {
        assert_eq!(hub.receive(conn, NOW).expect("a message").as_text(), Some(&*text));
        let stats = hub.stats();
        assert_eq!((stats.compression.compressed.messages, stats.inflated.messages), (1, 1));
        assert!(stats.compression.compressed_to < 100 && stats.inflated_from < 100);
    }
}
