//! Stories about a session: two ends that talk over streams in memory, and one end that is alone with a peer
//! that does not keep to the rules.
//!
//! Time is a number here, and bytes are split where a seed says so.

#![expect(clippy::unwrap_used, reason = "what a test helper expects is an assertion too")]

mod chaos;
mod misbehaviour;
mod pair;
mod stories;
