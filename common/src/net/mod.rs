//! The shell: sockets, clocks, files, logs and metrics around the sans-IO core.

pub mod config;
pub mod door;
pub mod endpoint;
pub mod framing;
pub mod http;
pub mod log;
pub mod metrics;
pub mod node;
pub mod ops;
pub mod shutdown;
pub mod subscriber;
pub mod tls;
pub mod token;
pub mod tracks;
pub mod upstream;

mod datagram;
mod feed;
mod intake;
mod peer;
mod stream;

use std::time::Instant;

/// The clock: everything below `net` is told the time.
#[allow(clippy::disallowed_methods, reason = "the one place in `common` that reads the clock")]
pub fn now() -> Instant {
    Instant::now()
}
