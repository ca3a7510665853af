//! A node's HTTP servers: connections within a bound, each answered by the same service.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// A request's head is one packet, also from far away.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long nobody is accepted when the system has no descriptor to give: one is free when a connection ends.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves HTTP/1.1 until the future is dropped, to at most so many connections at once; further ones wait.
pub async fn serve<S>(listener: TcpListener, connections_max: usize, service: S)
where
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= connections_max {
            connections.join_next().await;
        }
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((tcp, _)) => {
                    let mut http = http1::Builder::new();
                    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
                    let connection = http.serve_connection(TokioIo::new(tcp), service.clone());
                    connections.spawn(async move {
                        if let Err(error) = connection.await {
                            tracing::debug!(%error, "HTTP connection");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept HTTP connections");
                    sleep(PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}
