//! A relay: where to pull from, and nothing else that a node does not already do.
