//! What players are answered over HTTP, while tracks of a node come in. Time stands still but for what is
//! waited for.

use std::future::Future;
use std::io::Read;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use common::model::{FullTrackName, Namespace};
use common::net::now;
use common::net::tracks::Tracks;
use common::track::{Budget, End, Header, Limits, Object, SubgroupWriter};
use common::wire::properties::Properties;
use edge::hls::{Body, Hls, Settings};
use hyper::{Response, StatusCode};

use super::clip::{AUDIO, Playlist, RATE, VIDEO, bytes, picture, sound};

/// A host on this node.
struct Host {
    tracks: Tracks,
    open: Vec<(&'static str, u64, SubgroupWriter, u64)>,
    frames: usize,
    heard: usize,
}

impl Host {
    fn on_air() -> Self {
        let tracks = Tracks::new(Limits::default(), Budget::new(64 << 20));
        let mut host = Self { tracks, open: Vec::new(), frames: 0, heard: 0 };
        let json = format!(
            r#"{{"version":1,"tracks":[
                {{"name":"{VIDEO}","packaging":"cmaf","isLive":true,"role":"video","initData":"{}"}},
                {{"name":"{AUDIO}","packaging":"cmaf","isLive":true,"role":"audio","initData":"{}"}}]}}"#,
            base64(&picture().init),
            base64(&sound().init)
        );
        host.push("catalog", true, json.into());
        host
    }

    /// Publishes so many frames more, and the sound that goes with them.
    fn frames(&mut self, count: usize) {
        for _ in 0..count {
            self.push(VIDEO, self.frames.is_multiple_of(50), picture().chunks[self.frames].clone());
            self.frames += 1;
            let due = self.frames * sound().chunks.len() / (60 * RATE);
            while self.heard < due {
                self.push(AUDIO, self.heard.is_multiple_of(20), sound().chunks[self.heard].clone());
                self.heard += 1;
            }
        }
    }

    fn push(&mut self, track: &'static str, starts_group: bool, payload: Bytes) {
        let at = self.open.iter().position(|(name, ..)| *name == track);
        if starts_group || at.is_none() {
            let name = FullTrackName::new(Namespace::event("hall").unwrap(), track.to_owned()).unwrap();
            let entry = self.tracks.publish(&name, Properties::default()).unwrap();
            let group = at.map_or(0, |at| {
                let (_, group, writer, _) = self.open.remove(at);
                writer.finish();
                group + 1
            });
            let header = Header { group, first_object: true, end_of_group: true, ..Header::default() };
            let writer = entry.writer().as_mut().unwrap().open(now(), header).unwrap();
            self.open.push((track, group, writer, 0));
        }
        let (_, _, writer, id) = self.open.iter_mut().find(|(name, ..)| *name == track).unwrap();
        writer.push(now(), Object { id: *id, payload, ..Object::default() }).unwrap();
        *id += 1;
    }

    fn leaves(mut self) {
        for (track, _, writer, _) in self.open.drain(..) {
            writer.finish();
            let name = FullTrackName::new(Namespace::event("hall").unwrap(), track.to_owned()).unwrap();
            let entry = self.tracks.find(&name).unwrap();
            self.tracks.end(&entry, End::Finished);
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn text(response: Response<Body>) -> String {
    assert_eq!(response.status(), StatusCode::OK);
    String::from_utf8(bytes(response.body()).to_vec()).unwrap()
}

/// Lets the tasks do what they can without any time going by.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_player_finds_its_way_from_the_first_playlist_to_a_part() {
    let mut host = Host::on_air();
    host.frames(6 * RATE);
    let hls = Hls::new(host.tracks.clone(), Settings::default());
    let response = hls.answer("hall", "index.m3u8", None, false).await;
    assert_eq!(response.headers()["content-type"], "application/vnd.apple.mpegurl");
    assert!(text(response).contains("video-source/index.m3u8"));
    settle().await;
    let playlist = Playlist::read(&text(hls.answer("hall", "video-source/index.m3u8", None, false).await));
    assert_eq!((playlist.segments.len(), playlist.open.parts.len()), (1, 2), "what the track still had");
    let map = playlist.segments[0].map.clone().unwrap();
    let init = hls.answer("hall", &format!("video-source/{map}"), None, false).await;
    assert_eq!(bytes(init.body()), picture().init);
    assert_eq!(init.headers()["content-type"], "video/mp4");
    let zipped = hls.answer("hall", "video-source/index.m3u8", None, true).await;
    assert_eq!(
        (&zipped.headers()["content-encoding"], &zipped.headers()["vary"]),
        (&"gzip".parse().unwrap(), &"accept-encoding".parse().unwrap())
    );
    let mut unzipped = String::new();
    flate2::read::GzDecoder::new(&bytes(zipped.body())[..]).read_to_string(&mut unzipped).unwrap();
    assert_eq!(unzipped, playlist.text);
    let part = hls.answer("hall", "video-source/1.1.m4s", None, true).await;
    assert_eq!(part.headers().get("content-encoding"), None, "media is compressed already");
    assert_eq!(part.headers()["cache-control"], "max-age=24");
    assert_eq!(bytes(part.body()), picture().chunks[5 * RATE..6 * RATE].concat());
}

#[tokio::test(start_paused = true)]
async fn requests_are_held_until_there_is_what_they_ask_for() {
    let mut host = Host::on_air();
    host.frames(5 * RATE);
    let hls = Hls::new(host.tracks.clone(), Settings::default());
    text(hls.answer("hall", "index.m3u8", None, false).await);
    settle().await;
    let mut reload =
        pin!(hls.answer("hall", "video-source/index.m3u8", Some("_HLS_msn=1&_HLS_part=1"), false));
    let mut part = pin!(hls.answer("hall", "video-source/1.1.m4s", None, false));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(reload.as_mut().poll(&mut cx).is_pending() && part.as_mut().poll(&mut cx).is_pending());
    host.frames(RATE / 2);
    settle().await;
    assert!(reload.as_mut().poll(&mut cx).is_pending() && part.as_mut().poll(&mut cx).is_pending());
    host.frames(RATE / 2 + 1);
    settle().await;
    let Poll::Ready(reload) = reload.as_mut().poll(&mut cx) else { panic!("the part is there") };
    assert!(text(reload).contains("1.1.m4s"));
    assert_eq!(bytes(part.await.body()).len(), picture().chunks[5 * RATE..6 * RATE].concat().len());
}

#[tokio::test(start_paused = true)]
async fn a_host_who_is_silent_costs_a_player_three_target_durations() {
    let mut host = Host::on_air();
    host.frames(5 * RATE);
    let hls = Hls::new(host.tracks.clone(), Settings::default());
    text(hls.answer("hall", "index.m3u8", None, false).await);
    let began = tokio::time::Instant::now();
    let response = hls.answer("hall", "video-source/index.m3u8", Some("_HLS_msn=2"), false).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["cache-control"], "no-store");
    let waited = began.elapsed();
    assert!(waited >= Duration::from_secs(12) && waited < Duration::from_secs(13), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_said_at_once() {
    let mut host = Host::on_air();
    host.frames(5 * RATE);
    let hls = Hls::new(host.tracks.clone(), Settings::default());
    let began = tokio::time::Instant::now();
    let table = [
        ("nowhere", "index.m3u8", None, StatusCode::NOT_FOUND),
        ("hall", "index.html", None, StatusCode::NOT_FOUND),
        ("hall", "video-source/index.m3u8", Some("_HLS_msn=x"), StatusCode::BAD_REQUEST),
        ("hall", "video-source/index.m3u8", Some("_HLS_part=1"), StatusCode::BAD_REQUEST),
        ("hall", "video-source/index.m3u8", Some("_HLS_msn=9"), StatusCode::BAD_REQUEST),
        ("hall", "video-source/900.m4s", None, StatusCode::NOT_FOUND),
        ("hall", "video-4k/index.m3u8", None, StatusCode::NOT_FOUND),
    ];
    for (event, path, query, status) in table {
        assert_eq!(hls.answer(event, path, query, false).await.status(), status, "{event}/{path}");
    }
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_over_is_listed_to_its_end() {
    let mut host = Host::on_air();
    host.frames(5 * RATE);
    let hls = Hls::new(host.tracks.clone(), Settings::default());
    text(hls.answer("hall", "index.m3u8", None, false).await);
    settle().await;
    host.leaves();
    let response = hls.answer("hall", "video-source/index.m3u8", Some("_HLS_msn=1&_HLS_part=3"), false).await;
    let playlist = Playlist::read(&text(response));
    assert_eq!(playlist.tag("#EXT-X-ENDLIST"), Some(""));
    assert!((playlist.segments.iter().map(|segment| segment.duration).sum::<f64>() - 5.0).abs() < 0.01);
}

#[tokio::test(start_paused = true)]
async fn an_event_is_given_back_when_nobody_asks_for_it() {
    let mut host = Host::on_air();
    host.frames(5 * RATE);
    let hls = Hls::new(host.tracks.clone(), Settings::default());
    text(hls.answer("hall", "index.m3u8", None, false).await);
    settle().await;
    let name = FullTrackName::new(Namespace::event("hall").unwrap(), VIDEO).unwrap();
    let entry = host.tracks.find(&name).unwrap();
    assert_eq!(entry.idle_since(), None, "it is wanted");
    tokio::time::sleep(Duration::from_secs(20)).await;
    text(hls.answer("hall", "video-source/index.m3u8", None, false).await);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(entry.idle_since(), None, "somebody has asked");
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(entry.idle_since().is_some());
    assert!(
        text(hls.answer("hall", "index.m3u8", None, false).await).contains("video-source"),
        "and read again"
    );
}

#[tokio::test(start_paused = true)]
async fn many_names_that_nobody_has_keep_nobody_out() {
    let mut host = Host::on_air();
    host.frames(5 * RATE);
    let hls = Hls::new(host.tracks.clone(), Settings::default());
    for event in 0..100 {
        let response = hls.answer(&format!("guess-{event}"), "index.m3u8", None, false).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
    }
    text(hls.answer("hall", "index.m3u8", None, false).await);
}
