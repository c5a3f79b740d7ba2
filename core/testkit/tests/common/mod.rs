//! What the tables share.
#![expect(dead_code, reason = "every test binary uses a part")]

use forebay_core::ConnId;
use forebay_testkit::mini::{Told, frame};
use forebay_testkit::stage::Stage;

/// What a client was told since it was last asked, in a few words each.
pub fn briefs(stage: &mut Stage, conn: ConnId) -> Vec<String> {
    stage.told(conn).iter().map(Told::brief).collect()
}

/// The bytes on the wire of one message of a topic.
pub fn frame_len(topic: &str, seq: u64, json: &str) -> usize {
    frame::wire_len(format!(r#"{{"op":"message","topic":"{topic}","seq":{seq},"data":{json}}}"#).len())
}

/// JSON text of so many bytes, at least two.
pub fn json_of_len(len: usize) -> String {
    format!("\"{}\"", "x".repeat(len - 2))
}

/// Whether a client is open.
pub fn is_open(stage: &mut Stage, conn: ConnId) -> bool {
    stage.client(conn).is_open()
}
