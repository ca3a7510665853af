//! A track kept and fanned out: one writer, many cursors. Knows no codec, no session, no socket.
