//! What the packager makes of a real encoder's stream: the same pictures and sounds, in groups that begin
//! with key frames, whatever the host's clock does.
#![expect(clippy::unwrap_used, reason = "what a test helper expects is an assertion too")]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use origin::ingest::flv::Demuxer;
use origin::media::catalog::Catalog;
use origin::media::packager::{AUDIO, Output, Packager, Settings, VIDEO};
use origin::media::{Fact, Input, Kind};

/// The inputs of a host that ffmpeg is: a moving picture with B-frames, and a tone.
fn host(seconds: u32, encoder: &str, dir: &Path) -> (Vec<Input>, std::path::PathBuf) {
    let file = dir.join("host.flv");
    let source = format!(
        "-f lavfi -i testsrc2=size=320x180:rate=30 -f lavfi -i sine=sample_rate=48000 -t {seconds} \
         -c:v libx264 -preset veryfast -g 30 -sc_threshold 0 -pix_fmt yuv420p {encoder} -c:a aac -f flv"
    );
    ffmpeg(source.split_whitespace().map(str::to_owned).chain([file.display().to_string()]));
    (demux(std::fs::read(&file).unwrap().into()), file)
}

fn ffmpeg(args: impl Iterator<Item = String>) -> String {
    let mut command = Command::new("ffmpeg");
    let output =
        command.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y"]).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn demux(mut flv: Bytes) -> Vec<Input> {
    let (mut demuxer, mut inputs) = (Demuxer::default(), Vec::new());
    // The file's header, and the size of the tag before the first.
    flv.advance(9 + 4);
    while flv.remaining() >= 11 {
        let kind = flv.get_u8();
        let len = flv.get_uint(3) as usize;
        let timestamp = flv.get_uint(3) as u32 | u32::from(flv.get_u8()) << 24;
        flv.advance(3);
        let body = flv.split_to(len);
        flv.advance(4);
        let input = match kind {
            8 => demuxer.audio(timestamp, body).unwrap(),
            9 => demuxer.video(timestamp, body).unwrap(),
            _ => None,
        };
        inputs.extend(input);
    }
    inputs
}

/// Everything that was published, and noticed.
#[derive(Default)]
struct Published {
    objects: Vec<(&'static str, bool, Bytes)>,
    facts: Vec<Fact>,
}

fn publish(inputs: impl IntoIterator<Item = Input>) -> Published {
    let mut packager = Packager::new(Settings::default());
    let mut published = Published::default();
    let mut now = start();
    for input in inputs {
        // As if the host were live: its times are the clock.
        if matches!(&input, Input::Sample(sample) if sample.kind == Kind::Video) {
            now += Duration::from_millis(33);
        }
        packager.handle(now, input);
        while let Some(output) = packager.poll() {
            match output {
                Output::Object { track, starts_group, payload } => {
                    published.objects.push((track, starts_group, payload));
                }
                Output::Fact(fact) => published.facts.push(fact),
            }
        }
    }
    published
}

#[expect(clippy::disallowed_methods, reason = "an Instant has no other origin, and only differences count")]
fn start() -> Instant {
    Instant::now()
}

impl Published {
    fn of(&self, track: &str) -> Vec<&(&'static str, bool, Bytes)> {
        self.objects.iter().filter(|(name, ..)| *name == track).collect()
    }

    fn catalog(&self) -> Catalog {
        Catalog::read(&self.of("catalog").last().unwrap().2).unwrap()
    }

    /// A track as a file: its initialization segment and all its chunks.
    fn file(&self, track: &str, dir: &Path) -> std::path::PathBuf {
        let catalog = self.catalog();
        let entry = catalog.tracks.iter().find(|entry| entry.name == track).unwrap();
        let mut bytes = catalog.init(entry).unwrap().to_vec();
        self.of(track).iter().for_each(|(_, _, payload)| bytes.extend_from_slice(payload));
        let path = dir.join(format!("{}.mp4", track.replace('/', "_")));
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

/// A hash of each decoded frame.
fn frames(file: &Path, stream: &str) -> Vec<String> {
    let args = format!("-i {} -map 0:{stream} -f framemd5 -", file.display());
    let text = ffmpeg(args.split_whitespace().map(str::to_owned));
    let hashes = text.lines().filter(|line| !line.starts_with('#'));
    hashes.map(|line| line.rsplit(", ").next().unwrap().to_owned()).collect()
}

/// Decode and presentation times of a track's samples in seconds.
fn times(file: &Path) -> Vec<(f64, f64)> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "packet=dts_time,pts_time", "-of", "csv=p=0"])
        .arg(file)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let number = |text: Option<&str>| text.unwrap().parse().unwrap();
    let pair = |line: &str| {
        let mut numbers = line.split(',');
        let pts = number(numbers.next());
        (number(numbers.next()), pts)
    };
    text.lines().filter(|line| !line.is_empty()).map(pair).collect()
}

#[test]
fn every_picture_and_every_sound_is_as_the_host_sent_it() {
    let dir = tempfile::tempdir().unwrap();
    let (inputs, source) = host(4, "-bf 3 -b_strategy 0", dir.path());
    let published = publish(inputs);
    let video = published.file(VIDEO, dir.path());
    let sent = frames(&source, "v");
    assert_eq!(sent.len(), 120);
    assert_eq!(frames(&video, "v"), sent);
    assert_eq!(frames(&published.file(AUDIO, dir.path()), "a"), frames(&source, "a"));

    let starts: Vec<_> =
        (0..).zip(published.of(VIDEO)).filter(|(_, (_, starts, _))| *starts).map(|(at, _)| at).collect();
    assert_eq!(starts, [0, 30, 60, 90]);
    assert_eq!(published.of(VIDEO).len(), 120, "one object for each picture");
    assert!(published.of(AUDIO).len() < 50, "sound is bundled: {}", published.of(AUDIO).len());
    assert!(published.facts.contains(&Fact::Gop { seconds: 1.0, frames: 30 }), "{:?}", published.facts);
    assert!(
        published.facts.contains(&Fact::Reorder { frames: 2 })
            || published.facts.contains(&Fact::Reorder { frames: 3 })
    );

    let catalog = published.catalog();
    let [video, audio] = &catalog.tracks[..] else { panic!("{catalog:?}") };
    assert_eq!((video.width, video.height, video.framerate), (Some(320), Some(180), Some(30.0)));
    assert!(video.codec.as_ref().unwrap().starts_with("avc1.64"));
    assert_eq!((audio.codec.as_deref(), audio.samplerate), (Some("mp4a.40.2"), Some(48_000)));
    assert!(published.of("catalog").len() >= 3, "published again and again");
}

#[test]
fn padding_of_a_constant_bit_rate_is_left_out_and_nothing_is_seen_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let cbr =
        "-bf 2 -b:v 3M -minrate 3M -maxrate 3M -bufsize 3M -x264-params nal-hrd=cbr:force-cfr=1:filler=1";
    let (inputs, source) = host(3, cbr, dir.path());
    let published = publish(inputs);
    let stripped: u64 = published
        .facts
        .iter()
        .map(|fact| match fact {
            Fact::FillerStripped { bytes } => *bytes,
            _ => 0,
        })
        .sum();
    assert!(stripped > 100_000, "{stripped} bytes of filler");
    let video = published.file(VIDEO, dir.path());
    assert!(
        std::fs::metadata(&video).unwrap().len() + stripped
            > std::fs::metadata(&source).unwrap().len() * 9 / 10
    );
    assert_eq!(frames(&video, "v"), frames(&source, "v"));
}

#[test]
fn a_host_that_comes_back_goes_on_with_a_key_frame_and_time_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (inputs, source) = host(2, "-bf 2", dir.path());
    // It is cut off inside a group, and comes back with a clock that begins anew.
    let cut = inputs.iter().take(inputs.len() * 3 / 4).cloned();
    let kept = cut
        .clone()
        .filter(|input| matches!(input, Input::Sample(sample) if sample.kind == Kind::Video))
        .count();
    let published = publish(cut.chain([Input::Break]).chain(inputs.clone()));
    assert!(published.facts.contains(&Fact::Discontinuity { cause: "break" }));
    let groups = published.of(VIDEO).iter().filter(|(_, starts, _)| *starts).count();
    assert_eq!(groups, 4, "two before and two after");
    let times = times(&published.file(VIDEO, dir.path()));
    assert_eq!(times.len(), kept + 60);
    let steps: Vec<_> = times.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert!(steps.iter().all(|step| (0.001..0.2).contains(step)), "{steps:?}");
    let sent = frames(&source, "v");
    let seen = frames(&published.file(VIDEO, dir.path()), "v");
    assert_eq!(seen[seen.len() - 60..], sent[..]);
    let heard = self::times(&published.file(AUDIO, dir.path()));
    assert!(heard.windows(2).all(|pair| pair[1].0 > pair[0].0));
}

#[test]
fn a_clock_that_jumps_is_a_new_group_and_time_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (inputs, _) = host(3, "-bf 0", dir.path());
    for jump in [1_000_000_i64, -700] {
        let moved = inputs.iter().cloned().map(|input| match input {
            Input::Sample(mut sample) if sample.dts >= 1_500 => {
                sample.dts += jump;
                sample.pts += jump;
                Input::Sample(sample)
            }
            input => input,
        });
        let published = publish(moved);
        assert!(published.facts.contains(&Fact::Discontinuity { cause: "jump" }), "{jump}");
        let times = times(&published.file(VIDEO, dir.path()));
        // What follows the jump waits for the key frame at 2 s, while the sound goes on.
        assert_eq!(times.len(), 75, "{jump}");
        let steps = times.windows(2).map(|pair| pair[1].0 - pair[0].0);
        assert_eq!(steps.clone().filter(|step| (0.4..0.6).contains(step)).count(), 1, "{jump}");
        assert_eq!(steps.filter(|step| (0.03..0.04).contains(step)).count(), 73, "{jump}");
    }
}

#[test]
fn nonsense_is_dropped_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (inputs, _) = host(1, "-bf 0", dir.path());
    let samples = inputs.iter().filter(|input| matches!(input, Input::Sample(_))).cloned();
    assert!(publish(samples).facts.iter().all(|fact| *fact == Fact::Dropped { what: "no_config" }));
    let broken = inputs.into_iter().map(|input| match input {
        Input::Sample(mut sample) if sample.kind == Kind::Video => {
            sample.data = Bytes::from_static(&[0xff; 7]);
            Input::Sample(sample)
        }
        input => input,
    });
    let published = publish(broken);
    assert!(published.of(VIDEO).is_empty() && !published.of(AUDIO).is_empty());
    assert!(published.facts.contains(&Fact::Dropped { what: "malformed" }));
}
