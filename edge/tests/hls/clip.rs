//! Media as ffmpeg makes it, a channel that is fed with it, and playlists as a player reads them.

use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use edge::hls::{Answer, Body, Channel, Input, Request, Role, Settings, Track};

/// Pictures a second.
pub(crate) const RATE: usize = 25;

/// Captured at 2026-01-01T00:00:00Z.
pub(crate) const BEGAN: Duration = Duration::from_secs(1_767_225_600);

/// A track as chunks.
#[derive(Debug, Clone)]
pub(crate) struct Clip {
    pub(crate) init: Bytes,
    pub(crate) chunks: Vec<Bytes>,
}

/// 60 s of picture, in groups of 2 s, one object a frame.
pub(crate) fn picture() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    CLIP.get_or_init(|| video("160x90"))
}

/// The same, smaller.
pub(crate) fn small_picture() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    CLIP.get_or_init(|| video("80x46"))
}

/// 60 s of sound in objects of some 100 ms.
pub(crate) fn sound() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    CLIP.get_or_init(|| {
        let source = "sine=frequency=440:sample_rate=48000:duration=60";
        ffmpeg(source, &["-c:a", "aac", "-b:a", "64k", "-frag_duration", "100000"], "")
    })
}

fn video(size: &str) -> Clip {
    let source = format!("testsrc=size={size}:rate={RATE}:duration=60");
    let codec = "-c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p -g 50 -keyint_min 50 -sc_threshold 0";
    ffmpeg(&source, &codec.split(' ').collect::<Vec<_>>(), "+frag_every_frame")
}

fn ffmpeg(source: &str, codec: &[&str], flags: &str) -> Clip {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", source])
        .args(codec)
        .args(["-f", "mp4", "-movflags", &format!("empty_moov+default_base_moof+delay_moov{flags}"), "-"])
        .output()
        .expect("ffmpeg runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    split(output.stdout.into())
}

/// Cuts a file before each moof box; the index at its end is left out.
fn split(mut file: Bytes) -> Clip {
    let (mut init, mut chunks, mut chunk) = (Vec::new(), Vec::new(), Vec::new());
    while !file.is_empty() {
        let size = u32::from_be_bytes(file[..4].try_into().unwrap()) as usize;
        let whole = file.split_to(size);
        match &whole[4..8] {
            b"moof" => chunk = whole.to_vec(),
            b"mdat" => {
                chunk.extend_from_slice(&whole);
                chunks.push(Bytes::from(std::mem::take(&mut chunk)));
            }
            b"mfra" => {}
            _ => init.extend_from_slice(&whole),
        }
    }
    Clip { init: init.into(), chunks }
}

pub(crate) const VIDEO: &str = "video/source";
pub(crate) const SMALL: &str = "video/360p";
pub(crate) const AUDIO: &str = "audio/main";

pub(crate) fn video_track() -> Track {
    Track {
        name: VIDEO.into(),
        role: Role::Video,
        init: picture().init.clone(),
        codec: Some("avc1.42c00b".into()),
        width: Some(160),
        height: Some(90),
        frame_rate: Some(25.0),
        bitrate: Some(300_000),
        ..Track::default()
    }
}

pub(crate) fn small_track() -> Track {
    Track {
        name: SMALL.into(),
        init: small_picture().init.clone(),
        width: Some(80),
        height: Some(46),
        ..video_track()
    }
}

pub(crate) fn audio_track() -> Track {
    Track {
        name: AUDIO.into(),
        role: Role::Audio,
        init: sound().init.clone(),
        codec: Some("mp4a.40.2".into()),
        bitrate: Some(64_000),
        channels: Some("1".into()),
        ..Track::default()
    }
}

/// An event of which so much has been fed.
#[derive(Debug)]
pub(crate) struct Show {
    pub(crate) channel: Channel,
    /// Objects fed of the picture, and of the sound.
    pub(crate) fed: (usize, usize),
    /// Whether something was left out before the next object of the picture.
    pub(crate) lost: bool,
    /// How much later than its media time says all is captured.
    pub(crate) delay: Duration,
}

impl Show {
    /// Picture, a smaller picture, and sound.
    pub(crate) fn new(settings: Settings) -> Self {
        let mut channel = Channel::new(settings);
        channel.handle(Input::Tracks(vec![video_track(), small_track(), audio_track()])).unwrap();
        Self { channel, fed: (0, 0), lost: false, delay: Duration::ZERO }
    }

    /// One that is so many seconds old.
    pub(crate) fn at(seconds: f64) -> Self {
        let mut show = Self::new(Settings::default());
        show.feed(seconds);
        show
    }

    /// Feeds all tracks up to this second.
    pub(crate) fn feed(&mut self, seconds: f64) {
        let frames = (seconds * RATE as f64).round() as usize;
        while self.fed.0 < frames {
            self.frame();
        }
    }

    /// Feeds one frame of each picture, and the sound that goes with it.
    pub(crate) fn frame(&mut self) {
        let index = self.fed.0;
        let wall = BEGAN + self.delay + Duration::from_secs_f64(index as f64 / RATE as f64);
        for (track, clip) in [(VIDEO, picture()), (SMALL, small_picture())] {
            self.object(track, clip.chunks[index].clone(), index.is_multiple_of(50), self.lost, wall);
        }
        self.lost = false;
        self.fed.0 += 1;
        self.hear(wall);
    }

    /// Leaves out these frames of the pictures; the sound goes on.
    pub(crate) fn lose_frames(&mut self, frames: usize) {
        for _ in 0..frames {
            self.fed.0 += 1;
            self.hear(BEGAN);
        }
        self.lost = true;
    }

    /// Feeds the sound up to the picture.
    pub(crate) fn hear(&mut self, wall: Duration) {
        let sound = sound();
        let due = self.fed.0 * sound.chunks.len() / (60 * RATE);
        while self.fed.1 < due {
            self.object(AUDIO, sound.chunks[self.fed.1].clone(), false, false, wall);
            self.fed.1 += 1;
        }
    }

    pub(crate) fn object(
        &mut self,
        track: &str,
        payload: Bytes,
        starts_group: bool,
        lost: bool,
        wall: Duration,
    ) {
        let track = track.to_owned();
        self.channel.handle(Input::Object { track, starts_group, lost, wall, payload }).unwrap();
    }

    pub(crate) fn ask(&self, path: &str) -> Answer {
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        self.channel.ask(&Request::parse(path, query).unwrap())
    }

    /// What is there.
    pub(crate) fn bytes(&self, path: &str) -> Bytes {
        match self.ask(path) {
            Answer::Found { body, .. } => bytes(&body),
            other => panic!("{path}: {other:?}"),
        }
    }

    pub(crate) fn text(&self, path: &str) -> String {
        String::from_utf8(self.bytes(path).to_vec()).unwrap()
    }

    pub(crate) fn playlist(&self, rendition: &str) -> Playlist {
        Playlist::read(&self.text(&format!("{rendition}/index.m3u8")))
    }

    pub(crate) fn waits(&self, path: &str) -> bool {
        matches!(self.ask(path), Answer::Wait(_))
    }

    pub(crate) fn is_bad(&self, path: &str) -> bool {
        matches!(self.ask(path), Answer::Bad)
    }

    pub(crate) fn is_missing(&self, path: &str) -> bool {
        matches!(self.ask(path), Answer::Missing)
    }
}

pub(crate) fn bytes(body: &Body) -> Bytes {
    let bytes = body.pieces().concat();
    assert_eq!(bytes.len() as u64, body.len());
    bytes.into()
}

/// A media playlist as a player reads it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Playlist {
    pub(crate) text: String,
    pub(crate) segments: Vec<Segment>,
    /// What follows the last segment.
    pub(crate) open: Segment,
    pub(crate) skipped: u64,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Segment {
    pub(crate) uri: String,
    pub(crate) duration: f64,
    pub(crate) map: Option<String>,
    pub(crate) date: Option<String>,
    pub(crate) discontinuity: bool,
    pub(crate) gap: bool,
    pub(crate) parts: Vec<Part>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Part {
    pub(crate) uri: String,
    pub(crate) duration: f64,
    pub(crate) independent: bool,
}

impl Playlist {
    pub(crate) fn read(text: &str) -> Self {
        let mut playlist = Self { text: text.to_owned(), ..Self::default() };
        let open = &mut playlist.open;
        for line in text.lines() {
            let (tag, value) = line.split_once(':').unwrap_or((line, ""));
            match tag {
                "#EXT-X-MAP" | "#EXT-X-PROGRAM-DATE-TIME" | "#EXT-X-DISCONTINUITY" => {
                    assert!(open.parts.is_empty(), "{line} comes before the first part:\n{text}");
                    match tag {
                        "#EXT-X-MAP" => open.map = attribute(value, "URI"),
                        "#EXT-X-DISCONTINUITY" => open.discontinuity = true,
                        _ => open.date = Some(value.to_owned()),
                    }
                }
                "#EXT-X-GAP" => open.gap = true,
                "#EXT-X-SKIP" => playlist.skipped = number(value, "SKIPPED-SEGMENTS") as u64,
                "#EXT-X-PART" => open.parts.push(Part {
                    uri: attribute(value, "URI").unwrap(),
                    duration: number(value, "DURATION"),
                    independent: value.contains("INDEPENDENT=YES"),
                }),
                "#EXTINF" => open.duration = value.trim_end_matches(',').parse().unwrap(),
                _ if tag.starts_with('#') => {}
                _ => {
                    open.uri = line.to_owned();
                    playlist.segments.push(std::mem::take(open));
                }
            }
        }
        playlist
    }

    /// The value of a tag that is there once.
    pub(crate) fn tag(&self, name: &str) -> Option<&str> {
        let mut values = self.tags(name);
        let value = values.next();
        assert!(values.next().is_none(), "{name} is there more than once:\n{}", self.text);
        value
    }

    pub(crate) fn tags(&self, name: &str) -> impl Iterator<Item = &str> {
        let of = move |line: &'_ str| line.starts_with(name);
        self.text.lines().filter(move |line| of(line)).map(move |line| &line[name.len()..]).filter_map(
            |rest| match rest.strip_prefix(':') {
                None if rest.is_empty() => Some(""),
                value => value,
            },
        )
    }

    pub(crate) fn msn(&self) -> u64 {
        self.tag("#EXT-X-MEDIA-SEQUENCE").unwrap().parse().unwrap()
    }

    pub(crate) fn target(&self) -> f64 {
        self.tag("#EXT-X-TARGETDURATION").unwrap().parse().unwrap()
    }

    pub(crate) fn part_target(&self) -> f64 {
        number(self.tag("#EXT-X-PART-INF").unwrap(), "PART-TARGET")
    }

    /// Every part that is listed.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.segments.iter().chain([&self.open]).flat_map(|segment| &segment.parts)
    }
}

/// An attribute that is a quoted string, or another word.
pub(crate) fn attribute(list: &str, name: &str) -> Option<String> {
    let start = list.find(&format!("{name}="))? + name.len() + 1;
    let value = &list[start..];
    Some(match value.strip_prefix('"') {
        Some(quoted) => quoted[..quoted.find('"')?].to_owned(),
        None => value[..value.find(',').unwrap_or(value.len())].to_owned(),
    })
}

pub(crate) fn number(list: &str, name: &str) -> f64 {
    attribute(list, name).unwrap().parse().unwrap()
}
