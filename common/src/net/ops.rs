//! The private port of a node: `/metrics`, `/healthz`, `/readyz`.
//!
//! Liveness is the process's own: it answers, so it lives. Readiness may look outward (a parent, an
//! ingest port), and never shares an endpoint with it: a node whose parent is away must not be killed
//! for it. Nothing that changes the node is served here, and nothing that names a viewer.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use prometheus::{Encoder, Registry, TextEncoder};
use tokio::net::TcpListener;

use super::http::Server;

/// Connections at once: Prometheus, a probe or two, and a person.
const CONNECTIONS_MAX: usize = 32;

/// What must hold before a node may be given work, each condition by name. A cheap handle.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, bool>>>);

impl Readiness {
    /// Says whether a condition holds. One that was ever named must hold for the node to be ready.
    pub fn set(&self, condition: &'static str, holds: bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(condition, holds);
    }

    /// The conditions that do not hold.
    pub fn missing(&self) -> Vec<&'static str> {
        let conditions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        conditions.iter().filter(|(_, holds)| !**holds).map(|(condition, _)| *condition).collect()
    }
}

/// The server of the private port.
#[derive(Debug, Clone)]
pub struct Ops {
    registry: Registry,
    readiness: Readiness,
}

impl Ops {
    /// Serves these metrics and conditions.
    pub fn new(registry: Registry, readiness: Readiness) -> Self {
        Self { registry, readiness }
    }

    /// Serves until the future is dropped.
    pub async fn run(self, listener: TcpListener) {
        let answer = service_fn(move |request: Request<Incoming>| {
            let response = self.answer(request.method(), request.uri().path());
            async move { Ok::<_, Infallible>(response) }
        });
        Server::plain(CONNECTIONS_MAX).run(listener, answer).await;
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        match (method, path) {
            (&Method::GET, "/healthz") => response(StatusCode::OK, "text/plain", "ok\n"),
            (&Method::GET, "/readyz") => self.readyz(),
            (&Method::GET, "/metrics") => self.metrics(),
            (&Method::GET, _) => response(StatusCode::NOT_FOUND, "text/plain", "not served here\n"),
            _ => response(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET is served here\n"),
        }
    }

    fn readyz(&self) -> Response<Full<Bytes>> {
        let missing = self.readiness.missing();
        let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let body = serde_json::json!({ "ready": missing.is_empty(), "missing": missing });
        response(status, "application/json", format!("{body}\n"))
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let encoder = TextEncoder::new();
        let mut text = Vec::new();
        match encoder.encode(&self.registry.gather(), &mut text) {
            Ok(()) => response(StatusCode::OK, "text/plain; version=0.0.4", text),
            Err(error) => response(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{error}\n")),
        }
    }
}

fn response(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    use prometheus::IntCounter;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    /// One request over a real connection: status line and body.
    async fn get(ops: &Ops, request: &str) -> (String, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let ask = async {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            let text = format!("{request} HTTP/1.1\r\nhost: ops\r\nconnection: close\r\n\r\n");
            stream.write_all(text.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let answer =
            tokio::select! { answer = ask => answer, () = ops.clone().run(listener) => unreachable!() };
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    #[tokio::test]
    async fn a_node_lives_before_it_is_ready_and_says_what_is_missing() {
        let readiness = Readiness::default();
        let ops = Ops::new(Registry::new(), readiness.clone());
        readiness.set("upstream", false);
        readiness.set("listening", true);
        assert_eq!(get(&ops, "GET /healthz").await.0, "HTTP/1.1 200 OK");
        let (status, body) = get(&ops, "GET /readyz").await;
        assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
        assert!(body.contains(r#""missing":["upstream"]"#), "{body}");
        readiness.set("upstream", true);
        assert_eq!(get(&ops, "GET /readyz").await.0, "HTTP/1.1 200 OK");
    }

    #[tokio::test]
    async fn metrics_are_prometheus_text_and_nothing_else_is_served() {
        let registry = Registry::new();
        let counter = IntCounter::new("stentor_objects_total", "Objects that went out.").unwrap();
        registry.register(Box::new(counter.clone())).unwrap();
        counter.inc_by(3);
        let ops = Ops::new(registry, Readiness::default());
        assert!(get(&ops, "GET /metrics").await.1.contains("stentor_objects_total 3\n"));
        assert_eq!(get(&ops, "GET /secret").await.0, "HTTP/1.1 404 Not Found");
        assert_eq!(get(&ops, "POST /metrics").await.0, "HTTP/1.1 405 Method Not Allowed");
    }
}
