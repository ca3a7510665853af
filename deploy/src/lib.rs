//! The command line: every role, and the commands for organisers, viewers and SREs.

mod cli;
mod fragments;
mod publish;
mod token;
mod up;
mod watch;

pub use cli::main;
