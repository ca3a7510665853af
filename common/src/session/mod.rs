//! A MoQT session as a state machine: it decides, and holds no payload.
