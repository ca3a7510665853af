//! Stories over real QUIC on loopback: a tree of nodes in one process, and viewers at its edges.
#![expect(clippy::unwrap_used, reason = "what a test helper expects is an assertion too")]

mod strangers;
mod tree;
mod viewing;
