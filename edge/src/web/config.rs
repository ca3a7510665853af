//! What the page has to know: where the picture is, and what there is to say if there is none.

use hyper::header::{CACHE_CONTROL, HOST};
use hyper::{Request, Response, StatusCode};
use serde_json::json;
use url::form_urlencoded;

use super::admission::Refused;
use super::{Web, answer, set};
use crate::hls::Body;

/// Where browsers find the picture.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    /// What this edge is called.
    pub(crate) name: String,
    /// This edge by WebTransport, as `https://HOST:PORT`; where it is not said, at the host that the browser asked, and this
    /// port.
    pub(crate) moqt: Option<String>,
    pub(crate) moqt_port: u16,
    /// Other edges, the same way.
    pub(crate) others: Vec<String>,
    /// Whether browsers are to believe this edge's certificate by its hash.
    pub(crate) pin: bool,
}

impl Web {
    pub(super) fn config<B>(&self, event: &str, request: &Request<B>) -> Response<Body> {
        let query = request.uri().query().unwrap_or_default();
        let token = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "t");
        let token = token.map(|(_, value)| value.into_owned());
        let host = request.uri().host().or_else(|| host(request));
        let (status, body) = match self.admission.admit(event, token.as_deref()) {
            Ok(namespace) => {
                let live = self.tracks.namespaces().borrow().contains_key(&namespace);
                if let Some(hls) = self.hls.as_ref().filter(|_| live) {
                    // The page tries WebTransport first; should that fail, the first segment is there by then.
                    hls.begin(event);
                }
                let hash = self.addresses.pin.then_some(&self.sha256);
                let body = json!({
                    "event": event,
                    "title": event,
                    "state": if live { "live" } else { "lobby" },
                    "moqt": self.moqt(event, token.as_deref().unwrap_or_default(), host.unwrap_or("localhost")),
                    "certificate_sha256": hash,
                    "hls": self.hls.as_ref().and(token.as_ref()).map(|token| format!("/hls/{token}/{event}/index.m3u8")),
                    "edge": self.addresses.name,
                });
                (StatusCode::OK, body)
            }
            Err(Refused::Expired) => (StatusCode::FORBIDDEN, json!({ "event": event, "state": "expired" })),
            Err(Refused::WrongLink) => {
                (StatusCode::UNAUTHORIZED, json!({ "event": event, "state": "wrong_link" }))
            }
        };
        let mut response = answer(status, "application/json", body.to_string());
        set(&mut response, CACHE_CONTROL, "no-store");
        response
    }

    fn moqt(&self, event: &str, token: &str, host: &str) -> Vec<String> {
        let Addresses { moqt, moqt_port, others, .. } = &self.addresses;
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("t", token).finish();
        let own = moqt.clone().unwrap_or_else(|| format!("https://{host}:{moqt_port}"));
        [&own].into_iter().chain(others).map(|base| format!("{base}/{event}?{query}")).collect()
    }
}

/// The host that a browser asked for, without its port.
fn host<B>(request: &Request<B>) -> Option<&str> {
    let host = request.headers().get(HOST)?.to_str().ok()?;
    // An IPv6 address has brackets around it, and colons in it.
    match host.rfind(']') {
        Some(end) => Some(&host[..=end]),
        None => host.split(':').next(),
    }
}
