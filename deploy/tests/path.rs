//! The path, with real programs: ffmpeg on air, origin, relay and edges as processes, and viewers who write
//! what they see.
#![expect(clippy::unwrap_used, reason = "what a test helper expects is an assertion too")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Nothing here takes this long, unless it never happens.
const PATIENCE: Duration = Duration::from_secs(120);

/// A system that is up, until it is dropped.
struct Show {
    dir: TempDir,
    up: Child,
    told: Value,
}

/// A viewer at work.
struct Viewer {
    child: Child,
    file: PathBuf,
}

impl Show {
    fn begins(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut up = stentor()
            .args(["up", "--any-port", "--output", "json", "--data"])
            .arg(dir.path().join("data"))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(up.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        Self { dir, up, told }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn said(&self, pointer: &str) -> &str {
        self.told.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer}"))
    }

    fn rtmp(&self) -> String {
        format!("{}/{}", self.said("/origin/rtmp"), self.said("/origin/stream_key"))
    }

    fn ingest(&self) -> String {
        format!("{}?t={}", self.said("/origin/http"), self.said("/origin/stream_key"))
    }

    /// The link of a viewer at edge `n`.
    fn link(&self, edge: usize) -> String {
        let url = self.said("/watch_url");
        let (_, rest) = url.split_once("://").unwrap();
        let (_, rest) = rest.split_once('/').unwrap();
        format!("{}/{rest}", self.said(&format!("/edges/{edge}/moqt")))
    }

    fn viewer(&self, name: &str, edge: usize, seconds: u32) -> Viewer {
        let file = self.path(name);
        let child = stentor()
            .args([
                "watch",
                &self.link(edge),
                "--verify",
                "--report",
                "json",
                "--duration",
                &seconds.to_string(),
            ])
            .arg("--output")
            .arg(&file)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Viewer { child, file }
    }

    /// The sum of a metric of a node over its labels.
    fn metric(&self, node: &str, name: &str) -> f64 {
        let address = self.said(&format!("{node}/ops")).trim_start_matches("http://");
        let mut tcp = TcpStream::connect(address).unwrap();
        tcp.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        tcp.read_to_string(&mut text).unwrap();
        let series = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
        series.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// Waits until a metric is at least so much.
    fn until(&self, node: &str, name: &str, least: f64) {
        let gives_up = now() + PATIENCE;
        while self.metric(node, name) < least {
            assert!(now() < gives_up, "{name} of {node} never was {least}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        // The nodes hold a pipe of its, and end with it.
        let _ = self.up.kill();
        let _ = self.up.wait();
    }
}

impl Viewer {
    /// What it reports, once it is done; it has to be content.
    fn report(self) -> (Value, PathBuf) {
        let output = self.child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}: {text}", output.status);
        (serde_json::from_str(&text).unwrap(), self.file)
    }
}

#[expect(clippy::disallowed_methods, reason = "only to give up what never happens")]
fn now() -> Instant {
    Instant::now()
}

fn stentor() -> Command {
    Command::new(env!("CARGO_BIN_EXE_stentor"))
}

fn ffmpeg(args: &str) -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y"]).args(args.split_whitespace());
    command.stdin(Stdio::null());
    command
}

fn done(mut command: Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// An encoder as hosts have it: moving picture, sound, paced; to `to`, and the same bytes to a file.
fn encoder(seconds: u32, encoding: &str, to: &str, options: &str, file: &Path) -> Command {
    let mut command = ffmpeg(&format!(
        "-re -f lavfi -i testsrc2=size=320x180:rate=30 -f lavfi -i sine=sample_rate=48000 -t {seconds} \
         -map 0:v -map 1:a -c:v libx264 -preset veryfast -pix_fmt yuv420p {encoding} -c:a aac \
         -flags +global_header -f tee"
    ));
    command.arg(format!("[{options}]{to}|[f=matroska]{}", file.display()));
    command
}

const RTMP: &str = "f=flv";
const HTTP: &str =
    "f=mp4:movflags=frag_keyframe+empty_moov+default_base_moof+delay_moov:method=PUT:chunked_post=1";
const B_FRAMES: &str = "-bf 3 -b_strategy 0 -g 30 -sc_threshold 0";
const FILLER: &str = "-bf 2 -g 30 -sc_threshold 0 -b:v 2M -minrate 2M -maxrate 2M -bufsize 2M \
                      -x264-params nal-hrd=cbr:force-cfr=1:filler=1";

/// A hash of each decoded frame.
fn frames(file: &Path, stream: &str) -> Vec<String> {
    hashes(file, stream)
}

/// A hash of each frame of sound as it is sent: what a decoder makes of it depends on where it began.
fn sounds(file: &Path) -> Vec<String> {
    hashes(file, "a -c copy")
}

fn hashes(file: &Path, stream: &str) -> Vec<String> {
    let output = done(ffmpeg(&format!("-i {} -map 0:{stream} -f framemd5 -", file.display())));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit(',').next().unwrap().trim().to_owned()).collect()
}

/// Every picture and every sound, from the first to the last, at three viewers.
fn everybody_sees_everything(
    seconds: u32,
    encoding: &str,
    options: &str,
    to: impl Fn(&Show) -> String,
) -> Show {
    let show = Show::begins(&[]);
    let source = show.path("source.mkv");
    let viewers: Vec<_> =
        (0..3).map(|at| show.viewer(&format!("viewer{at}.mp4"), at % 2, seconds + 3)).collect();
    // They are there before the host: what they miss would be missed by everybody.
    show.until("/origin", "stentor_subscriptions", 1.0);
    done(encoder(seconds, encoding, &to(&show), options, &source));
    let (pictures, sounds) = (frames(&source, "v"), frames(&source, "a"));
    assert_eq!(pictures.len(), seconds as usize * 30);
    for viewer in viewers {
        let (report, file) = viewer.report();
        assert_eq!((&report["gaps"], &report["hash_mismatches"]), (&0.into(), &0.into()), "{report}");
        assert_eq!(report["hashes"], report["objects"], "{report}");
        assert!(frames(&file, "v") == pictures, "pictures differ: {report}");
        assert!(frames(&file, "a") == sounds, "sounds differ: {report}");
    }
    show
}

#[test]
fn every_frame_of_an_rtmp_host_reaches_every_viewer() {
    everybody_sees_everything(20, B_FRAMES, RTMP, Show::rtmp);
}

#[test]
fn a_player_of_hls_sees_what_the_host_sent() {
    let show = Show::begins(&["--relays", "1", "--edges", "1"]);
    let source = show.path("source.mkv");
    let (_, token) = show.said("/watch_url").split_once("?t=").unwrap();
    let token = token.split('#').next().unwrap();
    let playlist = format!("{}/hls/{token}/live/index.m3u8", show.said("/edges/0/http"));
    let mut host = encoder(24, B_FRAMES, &show.rtmp(), RTMP, &source).spawn().unwrap();
    show.until("/origin", "stentor_ingest_samples_total", 100.0);
    // The first who asks is why the edge begins to cut: the first segment is whole four seconds later.
    let gives_up = now() + PATIENCE;
    let file = show.path("hls.mkv");
    loop {
        let play = ffmpeg(&format!("-live_start_index 0 -i {playlist} -t 6 -c copy {}", file.display()))
            .output()
            .unwrap();
        if play.status.success() && file.metadata().is_ok_and(|file| file.len() > 0) {
            break;
        }
        assert!(now() < gives_up, "{}", String::from_utf8_lossy(&play.stderr));
    }
    assert!(host.wait().unwrap().success());
    let pictures = (frames(&file, "v"), frames(&source, "v"));
    for (seen, sent) in [pictures, (sounds(&file), sounds(&source))] {
        // What ffmpeg cuts off at the end may lack what its last pictures refer to.
        let seen = &seen[..seen.len() - 10];
        assert!(seen.len() > 100, "{} frames", seen.len());
        assert!(sent.windows(seen.len()).any(|window| window == seen), "not as the host sent it");
    }
}

#[test]
fn padding_of_a_host_is_left_out_and_every_frame_is_there() {
    let show = everybody_sees_everything(6, FILLER, RTMP, Show::rtmp);
    assert!(show.metric("/origin", "stentor_ingest_filler_bytes_total") > 100_000.0);
}

#[test]
fn every_frame_of_an_http_host_reaches_every_viewer() {
    everybody_sees_everything(6, B_FRAMES, HTTP, Show::ingest);
}

#[test]
fn viewers_stay_when_the_host_is_killed_and_the_picture_comes_back() {
    let show = Show::begins(&["--relays", "1", "--edges", "1"]);
    let viewer = show.viewer("viewer.mp4", 0, 25);
    show.until("/origin", "stentor_subscriptions", 1.0);
    let samples = "stentor_ingest_samples_total";
    let mut first = encoder(60, B_FRAMES, &show.rtmp(), RTMP, &show.path("first.mkv")).spawn().unwrap();
    show.until("/origin", samples, 200.0);
    first.kill().unwrap();
    first.wait().unwrap();
    let second = show.path("second.mkv");
    done(encoder(5, B_FRAMES, &show.rtmp(), RTMP, &second));
    let (report, file) = viewer.report();
    assert_eq!(report["reconnects"], 0, "{report}");
    let (seen, sent) = (frames(&file, "v"), frames(&second, "v"));
    assert!(seen.len() > sent.len() + 30, "{} pictures", seen.len());
    assert!(seen.ends_with(&sent), "the second host's pictures are not all there: {report}");
}

#[test]
fn a_late_viewer_starts_at_once_and_nobody_is_asked() {
    let show = Show::begins(&["--demo"]);
    show.until("/edges/0", "stentor_namespaces", 1.0);
    let early = show.viewer("early.mp4", 0, 6);
    show.until("/edges/0", "stentor_objects_sent_total", 100.0);
    let asked = show.metric("/relays/0", "stentor_upstream_subscriptions_total");
    let late = show.viewer("late.mp4", 0, 3);
    let (report, file) = late.report();
    // It begins with a key frame, so everything can be decoded.
    assert!(frames(&file, "v").len() as u64 >= 3 * 30, "{report}");
    assert_eq!(show.metric("/relays/0", "stentor_upstream_subscriptions_total"), asked);
    early.report();
}

#[test]
fn who_may_not_watch_is_told_why() {
    let show = Show::begins(&["--relays", "0", "--edges", "1"]);
    let link = show.link(0);
    let (url, hash) = link.split_once('#').unwrap();
    let cut = url.split_once('?').unwrap().0;
    for (link, said) in [
        (format!("{cut}#{hash}"), "no token was shown"),
        (format!("{}x#{hash}", url), "token"),
        (format!("{url}#sha256:{}", "00".repeat(32)), "certificate"),
        (url.to_owned(), "--insecure"),
    ] {
        let output = stentor().args(["watch", &link, "--wait", "5"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(said), "{link}: {text}");
    }
}

#[test]
fn all_that_is_wrong_with_settings_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("relay.toml");
    std::fs::write(&file, "listen = 'nowhere'\nlingr = '1s'\n").unwrap();
    let output = stentor().args(["relay", "--config"]).arg(&file).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    for mistake in ["listen:", "lingr:", "parent:", "token-key:"] {
        assert!(text.contains(mistake), "{mistake} is missing in {text}");
    }
}

#[test]
fn nodes_end_with_the_system() {
    let show = Show::begins(&["--relays", "1", "--edges", "1"]);
    let pids: Vec<_> = ["/origin/pid", "/relays/0/pid", "/edges/0/pid"]
        .map(|pointer| show.told.pointer(pointer).unwrap().as_u64().unwrap())
        .into();
    drop(show);
    let gives_up = now() + PATIENCE;
    let runs = |pid: &u64| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        !status.is_empty() && !status.contains("State:\tZ")
    };
    while pids.iter().any(runs) {
        assert!(now() < gives_up, "nodes outlive the system");
        std::thread::yield_now();
    }
}
