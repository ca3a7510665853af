//! Fragmented MP4 as ffmpeg writes it, in all its forms; and as nobody should.
#![expect(clippy::unwrap_used, reason = "what a test helper expects is an assertion too")]

use std::process::Command;
use std::sync::OnceLock;

use bytes::Bytes;
use origin::ingest::fmp4::Reader;
use origin::ingest::http::{Demux, DemuxError};
use origin::media::{Input, Kind, Sample};
use proptest::prelude::*;

const FLAGS: [&str; 4] = [
    "frag_keyframe+empty_moov+default_base_moof",
    "frag_keyframe+empty_moov",
    "frag_every_frame+empty_moov+default_base_moof",
    "frag_keyframe+delay_moov+default_base_moof",
];

/// Three seconds of moving picture with B-frames, and a tone, in this form.
fn body(flags: &str) -> Bytes {
    let dir = tempfile::tempdir().unwrap();
    let (source, file) = (dir.path().join("source.mkv"), dir.path().join("body.mp4"));
    std::fs::write(&source, encoded()).unwrap();
    ffmpeg(&format!("-i {} -c copy -movflags {flags} -f mp4 {}", source.display(), file.display()));
    std::fs::read(&file).unwrap().into()
}

/// Encoded once: no two runs of an encoder need be alike.
fn encoded() -> &'static [u8] {
    static SOURCE: OnceLock<Vec<u8>> = OnceLock::new();
    SOURCE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("source.mkv");
        ffmpeg(&format!(
            "-f lavfi -i testsrc2=size=320x180:rate=30 -f lavfi -i sine=sample_rate=48000 -t 3 -c:v libx264 \
             -preset veryfast -bf 2 -g 30 -sc_threshold 0 -pix_fmt yuv420p -c:a aac {}",
            file.display()
        ));
        std::fs::read(&file).unwrap()
    })
}

fn ffmpeg(args: &str) {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y"]);
    let output = command.args(args.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Input>, DemuxError> {
    let (mut reader, mut inputs) = (Reader::new(), Vec::new());
    for piece in pieces {
        reader.push(Bytes::copy_from_slice(piece))?;
        inputs.extend(std::iter::from_fn(|| reader.poll()));
    }
    reader.finish().map(|()| inputs)
}

fn samples(inputs: &[Input], kind: Kind) -> Vec<&Sample> {
    let samples =
        inputs.iter().filter_map(|input| if let Input::Sample(sample) = input { Some(sample) } else { None });
    samples.filter(|sample| sample.kind == kind).collect()
}

#[test]
fn every_form_that_ffmpeg_writes_has_the_same_samples() {
    let mut first: Option<Vec<Bytes>> = None;
    for flags in FLAGS {
        let body = body(flags);
        let inputs = read([&body[..]]).unwrap();
        let (video, audio) = (samples(&inputs, Kind::Video), samples(&inputs, Kind::Audio));
        assert_eq!(video.len(), 90, "{flags}");
        assert!((141..=143).contains(&audio.len()), "{flags}: {}", audio.len());
        let keys: Vec<_> = (0..).zip(&video).filter(|(_, sample)| sample.key).map(|(at, _)| at).collect();
        assert_eq!(keys, [0, 30, 60], "{flags}");
        let mut shown: Vec<_> = video.iter().map(|sample| sample.pts).collect();
        shown.sort_unstable();
        // 30 pictures a second of 16,000 ticks, which the source has rounded to milliseconds.
        assert!(
            shown.windows(2).all(|pair| (526..=545).contains(&(pair[1] - pair[0]))),
            "{flags}: {shown:?}"
        );
        let bytes: Vec<_> = video.iter().chain(&audio).map(|sample| sample.data.clone()).collect();
        assert!(*first.get_or_insert_with(|| bytes.clone()) == bytes, "{flags}");
        // However the body is cut.
        assert!(read(body.chunks(977)).unwrap() == inputs, "{flags}");
    }
}

#[test]
fn a_body_that_is_cut_off_is_told_from_a_whole_one() {
    let body = body(FLAGS[0]);
    let cut = read([&body[..body.len() - 100]]);
    assert!(matches!(cut, Err(DemuxError::Malformed(_))), "{cut:?}");
    assert!(matches!(read([]), Err(DemuxError::Malformed(_))));
}

#[test]
fn what_is_no_fragmented_mp4_is_told_what_it_should_be() {
    for (body, said) in [
        (&b"\0\0\0\x08mdat"[..], "fragmented"),
        (b"\0\0\0\0free", "length"),
        (b"\0\0\0\x04free", "shorter"),
        (b"\0\0\0\x08moof", "before the moov"),
    ] {
        let error = read([body]).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    let large = [&(64u32 << 20).to_be_bytes()[..], b"moov"].concat();
    assert!(matches!(read([&large[..]]), Err(DemuxError::TooLarge(_))));
}

fn small() -> &'static Bytes {
    static BODY: OnceLock<Bytes> = OnceLock::new();
    BODY.get_or_init(|| body(FLAGS[0]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damage_anywhere_is_an_error_or_nothing(damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6)) {
        // The boxes are at the front of each fragment; the payload between them means nothing here.
        let mut body = small().to_vec();
        let front = body.len().min(3_000);
        for (at, byte) in damage {
            body[at.index(front)] = byte;
        }
        let _ = read(body.chunks(4_096));
    }

    #[test]
    fn any_bytes_are_an_error_or_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read([&bytes[..]]);
    }
}
