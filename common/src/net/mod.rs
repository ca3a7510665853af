//! The shell: sockets, clocks, files, logs and metrics around the sans-IO core.
