//! What at least two roles of Stentor run, and nothing that only one runs.
//!
//! ```text
//!          bytes in                                              bytes out
//! socket ----------> wire ---> session ---> track (log) ---> session ---> wire ----------> socket
//!                   decode     decide       keep, fan out     decide      encode
//!                   '------------------ no I/O, no clock ------------------'
//! ```
//!
//! [`wire`] and [`track`] do not know each other; [`session`] stands on `wire`; only `net` (a feature)
//! sees both, and only `net` has sockets, a clock or a runtime. `tests/layers.rs` keeps that table.

pub mod error;
pub mod model;
pub mod session;
pub mod track;
pub mod wire;

#[cfg(feature = "net")]
pub mod net;
