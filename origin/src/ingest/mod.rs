//! How a host reaches the origin: RTMP, fMP4 over HTTP, MoQT.
