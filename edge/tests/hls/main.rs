//! LL-HLS at the edge: the rules of draft-pantos-hls-rfc8216bis-22, each on real chunks.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod clip;
mod rules;
mod shell;
mod trouble;
