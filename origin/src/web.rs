//! The HTTP port for hosts: `PUT /ingest/EVENT`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::ingest::http::HttpIngest;

/// Connections at once: twice the places for hosts, so that whoever finds none can be told.
const CONNECTIONS_MAX: usize = 128;

/// A request's head is one packet.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long nobody is accepted when the system has no descriptor to give.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves hosts until the future is dropped.
pub(crate) async fn run(listener: TcpListener, ingest: Arc<HttpIngest>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((tcp, _)) => drop(connections.spawn(serve(tcp, ingest.clone()))),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept HTTP connections");
                    sleep(PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(tcp: TcpStream, ingest: Arc<HttpIngest>) {
    let answer = service_fn(move |request| {
        let ingest = ingest.clone();
        async move { Ok::<_, Infallible>(ingest.handle(request).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    if let Err(error) = http.serve_connection(TokioIo::new(tcp), answer).await {
        tracing::debug!(%error, "HTTP connection of a host");
    }
}
