//! What browsers ask an edge for over HTTP.
//!
//! | path | what |
//! | --- | --- |
//! | `/e/EVENT?t=TOKEN` | the viewer page |
//! | `/e/EVENT/config.json?t=TOKEN` | what the page has to know, or why it may not |
//! | `/assets/…` | the page's parts |
//! | `/hls/TOKEN/EVENT/…` | the event as HLS: the token is in the path, so that playlists need no query and segments can be cached |
//! | `/certificate.sha256` | the hash by which a certificate that nobody has signed is believed |
//!
//! The page is the same for everybody, and says nothing of the event; who may watch is decided by the token,
//! which the configuration and every other way to the picture ask for.

mod admission;
mod config;
mod files;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use common::net::door::Door;
use common::net::http::Server;
use common::net::tracks::Tracks;
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue,
};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;

use self::admission::Admission;
pub(crate) use self::config::Addresses;
use self::files::Files;
use crate::hls::{Body, Hls, Settings};

/// The web server of an edge.
pub(crate) struct Web {
    admission: Admission,
    tracks: Tracks,
    addresses: Addresses,
    /// The hash of the edge's certificate, in hex.
    sha256: String,
    files: Files,
    /// `None` where HLS is not offered.
    hls: Option<Hls>,
}

impl Web {
    /// A server with the page in it. `frame_ancestors` are the sites that may show it in a frame.
    pub(crate) fn new(
        door: Door,
        tracks: Tracks,
        addresses: Addresses,
        sha256: String,
        frame_ancestors: &[String],
        hls: Option<Settings>,
    ) -> Self {
        let (admission, files) = (Admission::new(door), Files::new(frame_ancestors));
        let hls = hls.map(|settings| Hls::new(tracks.clone(), settings));
        Self { admission, tracks, addresses, sha256, files, hls }
    }

    /// Serves browsers until the future is dropped.
    pub(crate) async fn run(self: Arc<Self>, server: Server, listener: TcpListener) {
        let answer = service_fn(move |request: Request<Incoming>| {
            let web = self.clone();
            async move { Ok::<_, Infallible>(web.answer(&request).await) }
        });
        server.run(listener, answer).await;
    }

    async fn answer<B>(&self, request: &Request<B>) -> Response<Body> {
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let path: Vec<_> = request.uri().path().trim_start_matches('/').split('/').collect();
        match path[..] {
            ["e", event] if !event.is_empty() => self.files.page(request),
            ["e", event, "config.json"] => self.config(event, request),
            ["hls", token, event, ref rest @ ..] => self.hls(token, event, &rest.join("/"), request).await,
            ["certificate.sha256"] => self.certificate(),
            _ => self.files.file(request),
        }
    }

    async fn hls<B>(&self, token: &str, event: &str, path: &str, request: &Request<B>) -> Response<Body> {
        let mut response = match (&self.hls, self.admission.admit(event, Some(token))) {
            (Some(hls), Ok(_)) => hls.answer(event, path, request.uri().query(), takes_gzip(request)).await,
            (None, _) => text(StatusCode::NOT_FOUND, "HLS is not offered here\n"),
            (_, Err(_)) => {
                text(StatusCode::FORBIDDEN, "this link does not open the event, or not any more\n")
            }
        };
        // Players on pages of other sites are players too: whoever has the link may watch.
        set(&mut response, ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        response
    }

    fn certificate(&self) -> Response<Body> {
        let mut response = text(StatusCode::OK, self.sha256.clone());
        // The hash changes with the certificate, and pages of other sites may ask for it.
        set(&mut response, CACHE_CONTROL, "no-store");
        set(&mut response, ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        response
    }
}

/// Whether a browser or player can read what was compressed.
fn takes_gzip<B>(request: &Request<B>) -> bool {
    let codings = request.headers().get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    codings.is_some_and(|codings| codings.split(',').any(|coding| coding.trim().starts_with("gzip")))
}

/// A few words.
fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    answer(status, "text/plain; charset=utf-8", body)
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = status;
    set(&mut response, CONTENT_TYPE, kind);
    set(&mut response, HeaderName::from_static("x-content-type-options"), "nosniff");
    response
}

fn set(response: &mut Response<Body>, name: HeaderName, value: &'static str) {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
}
