//! What browsers ask for over HTTP: the hash by which they believe a certificate that nobody has signed.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use common::net::http::Server;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;

/// Connections at once: an answer is 64 bytes, and who joins asks once.
const CONNECTIONS_MAX: usize = 1_024;

/// Serves browsers until the future is dropped.
pub(crate) async fn run(listener: TcpListener, sha256: String) {
    let sha256: Arc<str> = sha256.into();
    let answer = service_fn(move |request: Request<Incoming>| {
        let response = answer(request.method(), request.uri().path(), &sha256);
        async move { Ok::<_, Infallible>(response) }
    });
    Server::plain(CONNECTIONS_MAX).run(listener, answer).await;
}

fn answer(method: &Method, path: &str, sha256: &str) -> Response<Full<Bytes>> {
    match (method, path) {
        (&Method::GET, "/certificate.sha256") => text(StatusCode::OK, sha256.to_owned()),
        (&Method::GET, _) => text(StatusCode::NOT_FOUND, "not served here\n".to_owned()),
        _ => text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n".to_owned()),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    // The hash changes with the certificate, and pages of other origins may ask for it.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}
