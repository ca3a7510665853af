//! Fragmented MP4 over HTTP, with ffmpeg and curl as the encoders.

use bytes::{Bytes, BytesMut};
use origin::{
    ingest::http::{Demux, DemuxError},
    media::{Input, Kind, Sample, VideoConfig},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
    time::timeout,
};

use crate::origin::{DEADLINE, Origin, encoder, finish, samples};

const FRAGMENTED: &[&str] = &["-f", "mp4", "-movflags", "+frag_keyframe+empty_moov+default_base_moof"];

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_puts_a_stream() {
    let mut origin = Origin::start(Boxes::boxed).await;
    let url = origin.http_url("show?t=good");
    let put = [FRAGMENTED, &["-method", "PUT", "-chunked_post", "1", &url]].concat();
    let (ended, inputs) = tokio::join!(finish(encoder(&[], &put)), origin.until_break());
    assert!(ended.0.status.success(), "{}", ended.1);
    assert!(matches!(inputs[0], Input::Video(_)));
    assert!(samples(&inputs, Kind::Video).len() >= 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_uploads_a_file_and_is_told_what_arrived() {
    let mut origin = Origin::start(Boxes::boxed).await;
    let file = clip().await;
    let mut curl = curl("good", "100-continue");
    let (ended, inputs) = tokio::join!(
        finish({
            curl.arg("-T").arg(file.path()).arg(origin.http_url("show"));
            curl
        }),
        origin.until_break()
    );
    let arrived = samples(&inputs, Kind::Video).len();
    assert!(ended.1.contains("\"event\":\"show\"") && ended.1.ends_with("200"), "{}", ended.1);
    assert!(ended.1.contains(&format!("\"video_samples\":{arrived},")), "{}", ended.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_publish_is_told_in_one_line() {
    let mut origin = Origin::start(Boxes::boxed).await;
    let file = clip().await;
    for (token, path, said, status) in [
        ("bad", "show", "not valid", "401"),
        ("", "show", "no stream key or token", "401"),
        ("viewer", "show", "a host's token is needed", "403"),
        ("good", "elsewhere", "another event", "403"),
        ("other", "elsewhere", "not open", "404"),
        ("good", "a/b", "/ingest/EVENT", "404"),
    ] {
        let mut curl = curl(token, "");
        curl.arg("-T").arg(file.path()).arg(origin.http_url(path));
        let (_, text) = finish(curl).await;
        assert!(text.contains(said) && text.ends_with(status) && text.lines().count() == 2, "{text}");
        origin.fault().await;
    }
    let mut get = curl("good", "");
    get.arg(origin.http_url("show"));
    assert!(finish(get).await.1.ends_with("405"));
    let mut form = curl("good", "");
    form.arg("--data-binary").arg("x=y").arg(origin.http_url("show"));
    assert!(finish(form).await.1.ends_with("415"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_cut_off_or_garbage_is_unprocessable() {
    let mut origin = Origin::start(Boxes::boxed).await;
    let whole = std::fs::read(clip().await.path()).unwrap();
    for body in [&whole[..whole.len() - 7], b"this is not a film, whatever it may say", b""] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), body).unwrap();
        let mut curl = curl("good", "");
        curl.arg("-T").arg(file.path()).arg(origin.http_url("show"));
        let (_, text) = finish(curl).await;
        assert!(text.ends_with("422"), "{text}");
        assert_eq!(origin.fault().await, "http malformed");
        origin.until_break().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_upload_takes_the_place_of_one_that_hangs_and_one_that_hangs_up_is_noticed() {
    let mut origin = Origin::start(Boxes::boxed).await;
    let file = clip().await;
    let mut hanging = begin(&origin, 1 << 20, &std::fs::read(file.path()).unwrap()[..9]).await;
    let mut again = curl("good", "");
    again.arg("-T").arg(file.path()).arg(origin.http_url("show"));
    let (ended, ()) = tokio::join!(finish(again), async {
        // The hanging one may be replaced before the feed has seen anything of it.
        while origin.until_break().await.is_empty() {}
    });
    assert!(ended.1.ends_with("200"), "{}", ended.1);
    let mut answer = String::new();
    timeout(DEADLINE, hanging.read_to_string(&mut answer)).await.expect("it is answered in time").unwrap();
    assert!(answer.starts_with("HTTP/1.1 409") && answer.contains("another connection"), "{answer}");
    assert_eq!(origin.fault().await, "http replaced");

    drop(begin(&origin, 1 << 20, b"\0\0\0").await);
    assert_eq!(origin.until_break().await, []);
    assert_eq!(origin.fault().await, "http io");
}

/// Begins an upload of `length` bytes and sends only `body`.
async fn begin(origin: &Origin, length: usize, body: &[u8]) -> TcpStream {
    let mut tcp = TcpStream::connect(origin.http).await.unwrap();
    let head = format!(
        "PUT /ingest/show?t=good HTTP/1.1\r\nHost: origin\r\nExpect: 100-continue\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    tcp.write_all(head.as_bytes()).await.unwrap();
    // The continue says that the place on the stage is taken.
    let mut go_on = [0; 25];
    timeout(DEADLINE, tcp.read_exact(&mut go_on)).await.expect("it is told to go on in time").unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100"));
    tcp.write_all(body).await.unwrap();
    tcp
}

fn curl(token: &str, expect: &str) -> Command {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--write-out", "%{http_code}"]).kill_on_drop(true);
    if !token.is_empty() {
        curl.args(["--header", &format!("Authorization: Bearer {token}")]);
    }
    if !expect.is_empty() {
        curl.args(["--header", &format!("Expect: {expect}")]);
    }
    curl
}

async fn clip() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::with_suffix(".mp4").unwrap();
    let (ended, text) = finish(encoder(&[], &[FRAGMENTED, &[file.path().to_str().unwrap()]].concat())).await;
    assert!(ended.status.success(), "{text}");
    file
}

/// Reads an fMP4 as far as its top-level boxes: the film's header, and one "picture" for each `mdat`. The
/// shell is what is tested here; the reader of samples has its own tests.
#[derive(Default)]
pub(crate) struct Boxes {
    unread: BytesMut,
    began: bool,
    fragments: i64,
    inputs: std::collections::VecDeque<Input>,
}

impl Boxes {
    pub(crate) fn boxed() -> Box<dyn Demux> {
        Box::<Self>::default()
    }
}

impl Demux for Boxes {
    fn push(&mut self, bytes: Bytes) -> Result<(), DemuxError> {
        self.unread.extend_from_slice(&bytes);
        while let Some((head, _)) = self.unread.split_first_chunk::<8>() {
            let size = u32::from_be_bytes(*head.first_chunk().unwrap()) as usize;
            if !self.began && &head[4..] != b"ftyp" {
                return Err(DemuxError::Malformed("not an MP4".into()));
            }
            if self.unread.len() < size {
                return Ok(());
            }
            self.began = true;
            let data = self.unread.split_to(size).freeze();
            match &data[4..8] {
                b"moov" => self.inputs.push_back(Input::Video(VideoConfig { avcc: data, timescale: 1 })),
                b"mdat" => {
                    let (dts, kind) = (self.fragments, Kind::Video);
                    self.fragments += 1;
                    let sample = Sample { kind, dts, pts: dts, duration: None, key: true, data };
                    self.inputs.push_back(Input::Sample(sample));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn poll(&mut self) -> Option<Input> {
        self.inputs.pop_front()
    }

    fn finish(&mut self) -> Result<(), DemuxError> {
        let whole = self.began && self.unread.is_empty();
        if whole { Ok(()) } else { Err(DemuxError::Malformed("it is cut off".into())) }
    }
}
