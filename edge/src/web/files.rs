//! The viewer page and its parts: in the binary, and compressed once.

use std::collections::HashMap;
use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, ETAG, HeaderValue, IF_NONE_MATCH,
    REFERRER_POLICY, VARY,
};
use hyper::{Request, Response, StatusCode};
use rust_embed::Embed;

use super::{answer, set, takes_gzip, text};
use crate::hls::Body;

/// What `npm run build` has made, committed so that a machine without Node builds.
#[derive(Embed)]
#[folder = "web/dist"]
struct Dist;

/// The page, which every event has.
const PAGE: &str = "index.html";

/// Where its parts are asked for. All have a hash of their contents in their names.
const ASSETS: &str = "/assets/";

/// The files of the page.
pub(super) struct Files {
    files: HashMap<String, File>,
    policy: HeaderValue,
}

struct File {
    kind: &'static str,
    etag: HeaderValue,
    plain: Bytes,
    /// Where it is smaller.
    gzip: Option<Bytes>,
}

impl Files {
    pub(super) fn new(frame_ancestors: &[String]) -> Self {
        let read = |name: std::borrow::Cow<'static, str>| {
            let file = File::read(&name)?;
            Some((name.into_owned(), file))
        };
        Self { files: Dist::iter().filter_map(read).collect(), policy: policy(frame_ancestors) }
    }

    /// The page.
    pub(super) fn page<B>(&self, request: &Request<B>) -> Response<Body> {
        let mut response = self.serve(PAGE, request);
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        // The link has the token in it.
        set(&mut response, REFERRER_POLICY, "no-referrer");
        response
    }

    /// Any other file.
    pub(super) fn file<B>(&self, request: &Request<B>) -> Response<Body> {
        match request.uri().path().strip_prefix(ASSETS) {
            Some(name) if name != PAGE => self.serve(name, request),
            // Without an event the page has nothing to show.
            _ => text(StatusCode::NOT_FOUND, "there is nothing here: use the whole link\n"),
        }
    }

    fn serve<B>(&self, name: &str, request: &Request<B>) -> Response<Body> {
        let Some(file) = self.files.get(name) else {
            return text(StatusCode::NOT_FOUND, "not served here\n");
        };
        let known = request.headers().get(IF_NONE_MATCH).is_some_and(|etag| *etag == file.etag);
        let gzip = file.gzip.as_ref().filter(|_| takes_gzip(request));
        let (status, body) = match (known, gzip) {
            (true, _) => (StatusCode::NOT_MODIFIED, Bytes::new()),
            (false, Some(gzip)) => (StatusCode::OK, gzip.clone()),
            (false, None) => (StatusCode::OK, file.plain.clone()),
        };
        let mut response = answer(status, file.kind, body);
        if !known && gzip.is_some() {
            set(&mut response, CONTENT_ENCODING, "gzip");
        }
        set(&mut response, VARY, "accept-encoding");
        response.headers_mut().insert(ETAG, file.etag.clone());
        let cache = if name == PAGE { "no-cache" } else { "public, max-age=31536000, immutable" };
        set(&mut response, CACHE_CONTROL, cache);
        response
    }
}

impl File {
    fn read(name: &str) -> Option<Self> {
        let embedded = Dist::get(name)?;
        let hash = embedded.metadata.sha256_hash();
        let etag: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let plain = Bytes::from(embedded.data.into_owned());
        let gzip = compressed(&plain).filter(|gzip| gzip.len() < plain.len());
        Some(Self { kind: kind(name), etag: format!("\"{etag}\"").parse().ok()?, plain, gzip })
    }
}

fn compressed(bytes: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

fn kind(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "webmanifest") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("woff2") => "font/woff2",
        Some("wasm") => "application/wasm",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// What the page may load: itself, and the picture from this edge or another. Styles are set by scripts, and
/// players work with blobs, also for the script that plays sound.
fn policy(frame_ancestors: &[String]) -> HeaderValue {
    let ancestors = frame_ancestors.join(" ");
    let policy = format!(
        "default-src 'none'; script-src 'self' blob:; worker-src 'self' blob:; style-src 'self' \
         'unsafe-inline'; img-src 'self' data: blob:; font-src 'self'; media-src 'self' blob: https:; connect-src 'self' \
         blob: https:; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self' {ancestors}"
    );
    // Settings were checked when they were read.
    policy.trim_end().parse().unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"))
}
