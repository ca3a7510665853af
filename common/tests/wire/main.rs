//! The codec against the draft, against another implementation, and against chance.
//!
//! Chance is proptest's: a failure prints its input and a seed to run it again. What the draft demands in
//! words is told in [`rules`]; what must hold for any values or bytes, in the others.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot see")]

mod arbitrary;
mod control;
mod data;
mod garbage;
mod oracle;
mod rules;
