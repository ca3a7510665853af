//! The HTTP port for hosts: `PUT /ingest/EVENT`.

use std::convert::Infallible;
use std::sync::Arc;

use common::net::http::Server;
use hyper::service::service_fn;
use tokio::net::TcpListener;

use crate::ingest::http::HttpIngest;

/// Connections at once: twice the places for hosts, so that whoever finds none can be told.
const CONNECTIONS_MAX: usize = 128;

/// Serves hosts until the future is dropped.
pub(crate) async fn run(listener: TcpListener, ingest: Arc<HttpIngest>) {
    let answer = service_fn(move |request| {
        let ingest = ingest.clone();
        async move { Ok::<_, Infallible>(ingest.handle(request).await) }
    });
    Server::plain(CONNECTIONS_MAX).run(listener, answer).await;
}
