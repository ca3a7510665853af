//! The shell: sockets, clocks, files, logs and metrics around the sans-IO core.

pub mod door;
pub mod endpoint;
pub mod ops;
pub mod tls;
pub mod token;
pub mod tracks;

use std::time::Instant;

/// The clock: everything below `net` is told the time.
#[allow(clippy::disallowed_methods, reason = "the one place in `common` that reads the clock")]
fn now() -> Instant {
    Instant::now()
}
