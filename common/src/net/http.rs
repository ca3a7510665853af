//! A node's HTTP servers: connections within a bound, each answered by the same service.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// A request's head is one packet, also from far away.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// A TLS handshake takes two round trips.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long nobody is accepted when the system has no descriptor to give: one is free when a connection ends.
const PAUSE: Duration = Duration::from_millis(100);

/// How often an HTTP/2 connection is asked whether anybody is there; who does not answer for 20 s is not.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Streams of one HTTP/2 connection at once: a page, its parts, and a playlist and a segment for each of
/// picture and sound.
const STREAMS_MAX: u32 = 32;

/// A server.
#[derive(Debug, Clone)]
pub struct Server {
    /// Connections at once; further ones wait.
    pub connections_max: usize,
    /// HTTPS with these; without, plain HTTP.
    pub tls: Option<Arc<ServerConfig>>,
}

impl Server {
    /// Plain HTTP, to at most so many connections at once.
    pub fn plain(connections_max: usize) -> Self {
        Self { connections_max, tls: None }
    }

    /// Serves HTTP/1.1 and HTTP/2 until the future is dropped.
    pub async fn run<S, B>(self, listener: TcpListener, service: S)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut connections = JoinSet::new();
        loop {
            while connections.len() >= self.connections_max {
                connections.join_next().await;
            }
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((tcp, _)) => {
                        let (tls, service) = (self.tls.clone(), service.clone());
                        connections.spawn(greet(tcp, tls, service));
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
}

async fn greet<S, B>(tcp: TcpStream, tls: Option<Arc<ServerConfig>>, service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    // Playlists and parts are small and wanted now. An error here is one of the connection, and will be seen.
    let _ = tcp.set_nodelay(true);
    let Some(tls) = tls else { return serve(tcp, Version::Http1, service).await };
    match timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(tls).accept(tcp)).await {
        Ok(Ok(stream)) => {
            let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let version = if is_h2 { Version::Http2 } else { Version::Http1 };
            serve(stream, version, service).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake"),
        Err(_) => tracing::debug!("TLS handshake: too slow"),
    }
}

/// What a connection speaks. Known before it begins: a server that has to guess waits for who says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Http1,
    Http2,
}

async fn serve<S, B>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    version: Version,
    service: S,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut http = auto::Builder::new(TokioExecutor::new());
    http = match version {
        Version::Http1 => {
            http.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
            http.http1_only()
        }
        Version::Http2 => {
            let mut h2 = http.http2();
            h2.timer(TokioTimer::new()).keep_alive_interval(KEEP_ALIVE).max_concurrent_streams(STREAMS_MAX);
            http.http2_only()
        }
    };
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(error, "HTTP connection");
    }
}
