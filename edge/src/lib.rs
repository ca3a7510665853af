//! An edge: the node that viewers meet.
