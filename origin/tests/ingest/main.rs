//! Hosts come to the origin by RTMP and HTTP, with real encoders, and bad ones come too.
//!
//! Needs `ffmpeg` with libx264, and `curl`.

#![allow(clippy::unwrap_used, reason = "in a test's helpers as in the test: it stops there")]

mod http;
mod origin;
mod rtmp;
