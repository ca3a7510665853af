//! The MoQT wire format, sans-IO: bytes to messages and back. Knows no session, no cache, no socket.
