//! When a process is to end: a signal, or the end of what supervises it.

use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

/// Ready when the process is to end: SIGINT, SIGTERM, or, with `with_parent`, the end of standard input,
/// which a supervisor holds open for as long as it lives.
pub async fn requested(with_parent: bool) {
    tokio::select! {
        () = signalled() => {}
        () = abandoned(), if with_parent => {}
    }
}

async fn signalled() {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Without handlers the signals end the process by themselves.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

async fn abandoned() {
    let mut stdin = tokio::io::stdin();
    let mut nothing = [0; 64];
    // An error is an end too.
    while stdin.read(&mut nothing).await.is_ok_and(|read| read > 0) {}
}
