//! The origin: a host's stream comes in, MoQT tracks go out.

pub mod ingest;
pub mod media;
