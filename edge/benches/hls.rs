//! What does one request for a part cost the core, and what does a part cost once?
//!
//! * `part request`: finding the part and handing out its bytes, as many as 30 objects of 10 kB; and the
//!   playlist, that comes with it. Sending is no part of it.
//! * `object`: taking one object, with what it takes to render the playlists of all renditions once a second.
//!   It is paid once, however many wait.

use std::hint::black_box;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use criterion::{Criterion, criterion_group, criterion_main};
use edge::hls::{Channel, Input, Request, Role, Settings, Track};
use mp4_atom::{
    Codec, Encode, FourCC, Hdlr, Mdhd, Mdia, Mfhd, Minf, Moof, Moov, Mvex, Mvhd, Stbl, Stsd, Tfdt, Tfhd,
    Tkhd, Traf, Trak, Trex, Trun, TrunEntry,
};

/// Pictures a second.
const RATE: u64 = 30;

/// 10 kB at 30 a second are 2.4 Mb/s, the top rung.
const OBJECT_BYTES: usize = 10_000;

/// Two more rungs, and sound.
const RENDITIONS: [&str; 4] = ["video/source", "video/720p", "video/360p", "audio/main"];

criterion_group!(benches, hls);
criterion_main!(benches);

fn hls(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hls");
    group.sample_size(50).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    let mut show = Show::new();
    (0..40 * RATE).for_each(|_| show.frame());
    let ask = |path: &str, query| Request::parse(path, query).ok();
    group.bench_function("part request", |bencher| {
        bencher.iter(|| {
            let request = ask(black_box("video-source/9.1.m4s"), None);
            request.map(|request| show.channel.ask(&request))
        });
    });
    group.bench_function("playlist request", |bencher| {
        bencher.iter(|| {
            let query = Some(black_box("_HLS_msn=9&_HLS_part=1&_HLS_skip=YES"));
            let request = ask("video-source/index.m3u8", query);
            request.map(|request| show.channel.ask(&request))
        });
    });
    group.bench_function("object", |bencher| {
        bencher.iter_custom(|frames| {
            let began = std::time::SystemTime::now();
            (0..frames).for_each(|_| show.frame());
            began.elapsed().unwrap_or_default().div_f64(RENDITIONS.len() as f64)
        });
    });
    group.finish();
}

/// An event that goes on for as long as it is measured.
struct Show {
    channel: Channel,
    frames: u64,
}

impl Show {
    fn new() -> Self {
        let mut channel = Channel::new(Settings::default());
        let track = |name: &&str| Track {
            name: (*name).to_owned(),
            role: if name.starts_with("audio") { Role::Audio } else { Role::Video },
            init: init(),
            ..Track::default()
        };
        let _ = channel.handle(Input::Tracks(RENDITIONS.iter().map(track).collect()));
        Self { channel, frames: 0 }
    }

    /// A frame of each rendition.
    fn frame(&mut self) {
        let payload = chunk(self.frames * 1_000);
        for track in RENDITIONS {
            let starts_group = self.frames.is_multiple_of(2 * RATE);
            let (wall, payload) = (Duration::from_secs(self.frames / RATE), payload.clone());
            let object = Input::Object { track: track.to_owned(), starts_group, lost: false, wall, payload };
            let _ = self.channel.handle(object);
            while self.channel.poll().is_some() {}
        }
        self.frames += 1;
    }
}

fn init() -> Bytes {
    let mdia = Mdia {
        mdhd: Mdhd { timescale: 30_000, language: "und".into(), ..Mdhd::default() },
        hdlr: Hdlr { handler: FourCC::from(b"vide"), name: String::new() },
        minf: Minf {
            stbl: Stbl {
                stsd: Stsd { codecs: Vec::<Codec>::new() },
                stco: Some(Default::default()),
                ..Stbl::default()
            },
            ..Minf::default()
        },
    };
    let trex = Trex { track_id: 1, default_sample_description_index: 1, ..Trex::default() };
    let moov = Moov {
        mvhd: Mvhd { timescale: 30_000, next_track_id: 2, ..Mvhd::default() },
        mvex: Some(Mvex { mehd: None, trex: vec![trex] }),
        trak: vec![Trak { tkhd: Tkhd { track_id: 1, ..Tkhd::default() }, mdia, ..Trak::default() }],
        ..Moov::default()
    };
    let mut out = BytesMut::new();
    moov.encode(&mut out).expect("a box that is whole");
    out.freeze()
}

fn chunk(decode_time: u64) -> Bytes {
    let entry = TrunEntry { duration: Some(1_000), size: Some(OBJECT_BYTES as u32), ..TrunEntry::default() };
    let moof = Moof {
        mfhd: Mfhd { sequence_number: 1 },
        traf: vec![Traf {
            tfhd: Tfhd { track_id: 1, default_base_is_moof: true, ..Tfhd::default() },
            tfdt: Some(Tfdt { base_media_decode_time: decode_time }),
            trun: vec![Trun { data_offset: Some(0), samples: vec![entry].into() }],
            ..Traf::default()
        }],
    };
    let mut out = BytesMut::with_capacity(OBJECT_BYTES + 200);
    moof.encode(&mut out).expect("a box that is whole");
    out.put_u32(OBJECT_BYTES as u32 + 8);
    out.put_slice(b"mdat");
    out.put_bytes(0, OBJECT_BYTES);
    out.freeze()
}
