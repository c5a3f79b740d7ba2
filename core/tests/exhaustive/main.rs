//! What has few enough cases to try all of them: headers, close codes, four-byte strings, and cuts of streams.

mod codes;
mod headers;
mod receiver;
mod splits;
mod utf8;
