//! A client that uploads faster than the disk is.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use forebay_examples::{Client, Server, read, say, wait_until};
use tungstenite::Message;

/// 50 MB in messages of 64 KiB, to a disk of 10 MB/s.
const MESSAGES: usize = 800;
const MESSAGE_BYTES: usize = 64 << 10;

fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    path
}

/// Bytes that do not repeat every message, so that what is lost or out of place is seen.
fn content(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut word = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 32).to_le_bytes()
    };
    (0..len / 8).flat_map(|_| word()).collect()
}

/// The frame of a binary message. The mask is 0.
fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x82, 0xff];
    frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

#[test]
fn whoever_uploads_is_slowed_down_and_nothing_is_lost() {
    let directory = directory("slow_upload");
    let server = Server::start("slow_upload", &[directory.to_str().unwrap(), "10000000"]);
    let before = server.peak_bytes();
    let mut client = server.websocket();
    let sent = content(1, MESSAGES * MESSAGE_BYTES);
    let frames: Vec<u8> = sent.chunks(MESSAGE_BYTES).flat_map(frame).collect();

    // By hand, to see what the kernel does not take.
    let stream = client.get_mut();
    stream.set_nonblocking(true).unwrap();
    let stored = || std::fs::metadata(directory.join("1.part")).map_or(0, |file| file.len());
    let (mut written, mut stalls) = (0, 0);
    while written < frames.len() {
        match stream.write(&frames[written..]) {
            Ok(len) => written += len,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                stalls += 1;
                let so_far = stored();
                assert!(written as u64 - so_far < 25_000_000, "{written} bytes were taken, {so_far} are stored");
                wait_until("the disk goes on", || stored() > so_far);
            }
        }
    }
    assert!(stalls > 10, "writes had to wait {stalls} times");
    stream.set_nonblocking(false).unwrap();
    say(&mut client, "end");
    let path = directory.join("1.bin");
    assert_eq!(read(&mut client), format!("{}: {} bytes", path.display(), sent.len()));
    assert!(std::fs::read(path).unwrap() == sent, "the file is what was sent");
    if let (Some(before), Some(peak)) = (before, server.peak_bytes()) {
        assert!(peak - before < 4 << 20, "it grew by {} bytes", peak - before);
    }
}

#[test]
fn uploads_take_turns_and_one_that_breaks_off_leaves_a_part() {
    let directory = directory("slow_upload_turns");
    let server = Server::start("slow_upload", &[directory.to_str().unwrap(), "100000000"]);
    let contents = [1, 2, 3].map(|seed| content(seed, 100 * MESSAGE_BYTES));
    let upload = |content: &[u8]| -> Client {
        let mut client = server.websocket();
        for message in content.chunks(MESSAGE_BYTES) {
            client.send(Message::binary(message.to_vec())).unwrap();
        }
        client
    };
    std::thread::scope(|scope| {
        for content in &contents {
            scope.spawn(|| {
                let mut client = upload(content);
                say(&mut client, "end");
                let answer = read(&mut client);
                let (path, len) = answer.split_once(": ").unwrap();
                assert_eq!(len, format!("{} bytes", content.len()));
                assert!(std::fs::read(path).unwrap() == *content, "{path} is what was sent");
            });
        }
    });
    // A fourth one.
    let content = content(4, 10 * MESSAGE_BYTES);
    drop(upload(&content));
    let part = directory.join("4.part");
    wait_until("all of it is stored", || std::fs::read(&part).is_ok_and(|stored| stored == content));
    assert!(!part.with_extension("bin").exists());
}
