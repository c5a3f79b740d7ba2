//! Compressed messages that come (RFC 7692): the codec beside an independent one, and what hubs do with them.

mod agree;
mod house;
mod leaf;
mod messages;

use bytes::BytesMut;
use forebay_core::wire::deflate::{Deflater, WindowBits};
use forebay_testkit::alloc::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// 256 MiB of zeros in some 260 KiB.
fn bomb() -> Vec<u8> {
    let mut part = BytesMut::new();
    Deflater::new(WindowBits::MAX, 9, 9).compress([&vec![0_u8; 1 << 20][..]], &mut part);
    part.extend_from_slice(&[0x00, 0x00, 0xff, 0xff]); // As if the message went on behind a flush.
    let bomb = [&part.repeat(256)[..], &[0]].concat();
    assert!(bomb.len() < 300 << 10, "{} bytes", bomb.len());
    bomb
}
