//! Unmasking and validating alone.

use std::hint::black_box;

use criterion::Criterion;
use forebay_core::wire::{Utf8, mask};
use forebay_peers::{BUFFER_BYTES, SIZES, payload};

use crate::{Work, bench, group};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Text by what is in it: each is repeated up to the size.
const TEXTS: [(&str, &str); 3] =
    [("ASCII", "{\"side\":\"buy\",\"price\":101.25}"), ("mixed", "{\"name\":\"Жук 虫 Käfer\"}"), ("CJK", "前庭の水")];

pub(crate) fn rows(c: &mut Criterion) {
    unmask(c);
    utf8(c);
}

fn unmask(c: &mut Criterion) {
    for size in SIZES {
        let mut group = group(c, &format!("unmask/in place/{size}"));
        let mut each = |name: &str, unmask: fn(&mut [u8])| {
            // One payload behind the other, as in a read: nobody unmasks again what was written just before.
            let mut bytes = payload(size * (BUFFER_BYTES / size).max(1));
            let work: Work = Box::new(move |count| {
                let mut left = count;
                while left > 0 {
                    for payload in bytes.chunks_exact_mut(size).take(left.try_into().unwrap_or(usize::MAX)) {
                        unmask(black_box(payload));
                        left -= 1;
                    }
                }
            });
            bench(&mut group, name, work);
        };
        each("forebay", |bytes| mask::apply(bytes, black_box(KEY), 0));
        each("fastwebsockets", |bytes| fastwebsockets::unmask(bytes, black_box(KEY)));
        each("sockudo-ws", |bytes| sockudo_ws::simd::apply_mask(bytes, black_box(KEY)));
        let (from, mut to) = (payload(size), payload(size));
        let work: Work = Box::new(move |count| {
            for _ in 0..count {
                black_box(&mut to).copy_from_slice(black_box(&from));
            }
        });
        bench(&mut group, "(memcpy)", work);
    }
}

fn utf8(c: &mut Criterion) {
    for (name, pattern) in TEXTS {
        for size in SIZES {
            let mut text = pattern.repeat(size / pattern.len() + 1);
            while text.len() > size {
                text.pop();
            }
            let mut group = group(c, &format!("UTF-8/{name}/{size}"));
            let mut each = |name: &str, is_valid: fn(&[u8]) -> bool| {
                let text = text.clone();
                let work: Work = Box::new(move |count| {
                    for _ in 0..count {
                        assert!(is_valid(black_box(text.as_bytes())));
                    }
                });
                bench(&mut group, name, work);
            };
            each("forebay", |text| {
                let mut utf8 = Utf8::new();
                utf8.push(text).is_ok() && utf8.is_complete()
            });
            each("std (tungstenite, fastwebsockets)", |text| std::str::from_utf8(text).is_ok());
            each("simdutf8 (tokio-websockets, yawc, sockudo-ws)", |text| simdutf8::basic::from_utf8(text).is_ok());
        }
    }
}
