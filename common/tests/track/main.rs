//! Stories about a track: what viewers see when hosts write, leave, come back, and when time passes.
//!
//! Nothing here sleeps or reads a clock. Only [`threads`] runs threads: whether a wake-up is lost cannot be
//! seen with one.

mod audience;
mod model;
mod stories;
mod threads;
