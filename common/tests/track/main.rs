//! Stories about a track: what viewers see when hosts write, leave, come back, and when time passes.

mod audience;
mod stories;
