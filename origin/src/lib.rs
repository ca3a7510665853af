//! The origin: a host's stream comes in, MoQT tracks go out.
//!
//! ```text
//! ingest (RTMP, fMP4 over HTTP) --> Stage --> Broadcast: packager --> tracks --> node (MoQT)
//! ```
//!
//! Hosts may also publish tracks of their own by MoQT; then there is nothing to package.

mod broadcast;
mod doorkeeper;
pub mod ingest;
pub mod media;
mod observer;
mod role;
mod web;

pub use role::{OriginSettings, run};
