//! What browsers get, and what they do not.

use std::time::{SystemTime, UNIX_EPOCH};

use common::net::door::Door;
use common::net::token::{Claims, Role, Signer, Verifier, generate_keys};
use common::net::tracks::Tracks;
use common::track::{Budget, Limits};
use http_body_util::BodyExt;
use hyper::{Method, Request, Response};
use serde_json::{Value, json};

use super::{Addresses, Web};
use crate::hls::{Body, Settings};

struct Site {
    web: Web,
    signer: Signer,
    now: u64,
}

impl Site {
    fn new() -> Self {
        let (private, public) = generate_keys().unwrap();
        let door = Door::Tokens(Verifier::from_pems([public]).unwrap());
        let tracks = Tracks::new(Limits::default(), Budget::new(1 << 20));
        let addresses = Addresses {
            name: "edge-7".into(),
            moqt: None,
            moqt_port: 4461,
            others: vec!["https://edge-8.example".into()],
            pin: true,
        };
        let frames = ["https://intranet.example".to_owned()];
        let web = Web::new(door, tracks, addresses, "ab".repeat(32), &frames, Some(Settings::default()));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        Self { web, signer: Signer::from_pem(private.as_bytes()).unwrap(), now }
    }

    fn token(&self, event: &str, exp: u64) -> String {
        self.signer.sign(&Claims { event: event.into(), role: Role::Viewer, exp }).unwrap()
    }

    async fn get(&self, path: &str, headers: &[(&'static str, &str)]) -> Response<Body> {
        let mut request = Request::get(path).header("host", "edge.example:8861");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.web.answer(&request.body(()).unwrap()).await
    }

    async fn config(&self, event: &str, token: &str) -> (u16, Value) {
        let response = self.get(&format!("/e/{event}/config.json?t={token}"), &[]).await;
        let (status, body) = (response.status().as_u16(), body(response).await);
        (status, serde_json::from_slice(&body).unwrap())
    }
}

async fn body(response: Response<Body>) -> Vec<u8> {
    response.into_body().collect().await.unwrap().to_bytes().to_vec()
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn whoever_has_a_good_link_is_told_where_the_picture_is() {
    let site = Site::new();
    let token = site.token("hall", site.now + 60);
    let (status, told) = site.config("hall", &token).await;
    assert_eq!((status, &told["state"]), (200, &json!("lobby")));
    let _on_air = site.web.tracks.announce(common::model::Namespace::event("hall").unwrap(), None).unwrap();
    let (_, told) = site.config("hall", &token).await;
    assert_eq!(told["state"], "live");
    assert_eq!(
        told["moqt"],
        json!([
            format!("https://edge.example:4461/hall?t={token}"),
            format!("https://edge-8.example/hall?t={token}"),
        ])
    );
    assert_eq!(told["certificate_sha256"], "ab".repeat(32));
    assert_eq!(told["hls"], format!("/hls/{token}/hall/index.m3u8"));
}

#[tokio::test]
async fn whoever_has_not_is_told_why() {
    let site = Site::new();
    for (event, token, status, state) in [
        ("hall", site.token("hall", site.now - 60), 403, "expired"),
        ("hall", site.token("elsewhere", site.now + 60), 401, "wrong_link"),
        ("hall", "nonsense".to_owned(), 401, "wrong_link"),
        ("hall", String::new(), 401, "wrong_link"),
    ] {
        let (told, config) = site.config(event, &token).await;
        assert_eq!((told, &config["state"]), (status, &json!(state)));
        assert!(config.get("moqt").is_none());
    }
}

#[tokio::test]
async fn hls_is_for_those_with_a_token_of_the_event() {
    let site = Site::new();
    for (token, event, status) in [
        (site.token("hall", site.now - 60), "hall", 403),
        (site.token("elsewhere", site.now + 60), "hall", 403),
        ("nonsense".to_owned(), "hall", 403),
        (site.token("hall", site.now + 60), "hall", 404),
        // Remembered by now, and still not for others.
        (site.token("hall", site.now + 60), "other", 403),
    ] {
        let response = site.get(&format!("/hls/{token}/{event}/nothing.txt"), &[]).await;
        assert_eq!(response.status(), status, "{event}");
        assert_eq!(header(&response, "access-control-allow-origin"), "*");
    }
}

#[tokio::test]
async fn the_page_is_cached_compressed_and_confined() {
    let site = Site::new();
    let page = site.get("/e/hall?t=x", &[("accept-encoding", "br, gzip")]).await;
    assert_eq!(page.status(), 200);
    let policy = header(&page, "content-security-policy");
    assert!(policy.contains("frame-ancestors 'self' https://intranet.example"), "{policy}");
    assert_eq!(header(&page, "referrer-policy"), "no-referrer");
    let etag = header(&page, "etag").to_owned();
    assert_eq!(site.get("/e/hall?t=x", &[("if-none-match", &etag)]).await.status(), 304);
    let plain = body(site.get("/e/hall", &[]).await).await;
    assert!(String::from_utf8(plain).unwrap().to_lowercase().starts_with("<!doctype html>"));
}

#[tokio::test]
async fn nothing_else_is_served() {
    let site = Site::new();
    for path in ["/", "/index.html", "/e/", "/e/hall/other", "/assets/none.js", "/assets/../Cargo.toml", "//"]
    {
        assert_eq!(site.get(path, &[]).await.status(), 404, "{path}");
    }
    let request = Request::builder().method(Method::POST).uri("/e/hall").body(()).unwrap();
    let refused = site.web.answer(&request).await;
    assert_eq!((refused.status().as_u16(), header(&refused, "allow")), (405, "GET, HEAD"));
}
