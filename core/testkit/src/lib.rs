//! Simulated world for `forebay-core`.
