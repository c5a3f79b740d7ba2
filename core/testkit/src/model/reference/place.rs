//! How much the place of a message that waits counts: that is the hub's to choose, so it is asked.

use std::sync::OnceLock;

use forebay_core::{Config, Hub, Instant, Mode, Options, Peer, Upgraded};

use crate::mini::frame;

/// Bytes of the place of an inbound message that waits.
pub(super) fn place_bytes() -> usize {
    static PLACE: OnceLock<usize> = OnceLock::new();
    *PLACE.get_or_init(|| {
        let now = Instant::from_nanos(0);
        let mut hub = Hub::new(Config::try_from(Options::default()).expect("defaults"), [1; 32], now);
        let peer = Peer { mode: Mode::Raw, ..Peer::default() };
        let conn = hub.handle_upgraded(Upgraded { peer, protocol: None, deflate: None }, b"", now).expect("room");
        hub.handle_bytes(conn, &frame::encode(true, 2, b"", Some([1; 4])), now);
        hub.connection(conn).expect("there").inbound_bytes
    })
}
