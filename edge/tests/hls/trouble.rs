//! What hosts and networks do to a playlist.

use std::time::Duration;

use bytes::Bytes;
use edge::hls::{Channel, ChunkError, Input, Settings};

use super::clip::{
    AUDIO, BEGAN, RATE, Show, VIDEO, audio_track, picture, small_picture, small_track, sound, video_track,
};

#[test]
fn a_lost_group_is_a_gap_in_the_picture_and_not_in_the_sound() {
    let mut show = Show::at(10.0);
    show.lose_frames(2 * RATE);
    show.feed(24.1);
    let (video, audio) = (show.playlist("video-source"), show.playlist("audio-main"));
    let gaps: Vec<_> = video.segments.iter().filter(|segment| segment.gap).collect();
    assert_eq!(gaps.len(), 1, "{}", video.text);
    assert_eq!(gaps[0].duration, 2.0);
    assert!(show.is_missing(&format!("video-source/{}", gaps[0].uri)));
    let heard = audio.segments.iter().find(|segment| segment.uri == gaps[0].uri).unwrap();
    assert!(!heard.gap && (heard.duration - 2.0).abs() < 0.12, "{heard:?}");
    assert_eq!(video.tag("#EXT-X-DISCONTINUITY"), None, "timestamps go on");
    let total: f64 = video.segments.iter().map(|segment| segment.duration).sum();
    assert!((total - 24.0).abs() < 0.01, "the gap is in time: {total}");
}

#[test]
fn a_rung_that_was_lost_for_a_while_keeps_the_numbers() {
    let mut show = Show::at(8.0);
    for index in 8 * RATE..28 * RATE {
        let wall = BEGAN;
        show.object(VIDEO, picture().chunks[index].clone(), index % 50 == 0, false, wall);
        if index >= 20 * RATE {
            let lost = index == 20 * RATE;
            show.object("video/360p", small_picture().chunks[index].clone(), index % 50 == 0, lost, wall);
        }
    }
    let (video, small) = (show.playlist("video-source"), show.playlist("video-360p"));
    assert_eq!(video.msn(), small.msn());
    let gaps: Vec<bool> = small.segments.iter().map(|segment| segment.gap).collect();
    assert_eq!(gaps, [false, false, true, true, true, false]);
    assert!(
        video.segments.iter().zip(&small.segments).all(|(a, b)| a.uri == b.uri && a.duration == b.duration)
    );
}

#[test]
fn a_rung_that_was_away_for_longer_than_anybody_remembers_begins_again() {
    let mut show = Show::at(8.0);
    // The picture goes on for six rounds of the clip; then the smaller one is back.
    for round in 0..6 {
        for index in 8 * RATE..58 * RATE {
            show.object(VIDEO, picture().chunks[index].clone(), index % 50 == 0, false, BEGAN);
            if round == 5 && index >= 30 * RATE {
                let chunk = small_picture().chunks[index].clone();
                show.object("video/360p", chunk, index % 50 == 0, index == 30 * RATE, BEGAN);
            }
        }
    }
    let (video, small) = (show.playlist("video-source"), show.playlist("video-360p"));
    assert!(small.segments.iter().all(|segment| !segment.gap), "{}", small.text);
    let last = |playlist: &super::clip::Playlist| playlist.segments.last().unwrap().uri.clone();
    assert_eq!(last(&video), last(&small));
    let uris: Vec<String> = small.segments.iter().map(|segment| segment.uri.clone()).collect();
    let expected: Vec<String> =
        (0..uris.len() as u64).map(|at| format!("{}.m4s", small.msn() + at)).collect();
    assert_eq!(uris, expected);
    assert!(uris.iter().all(|uri| !show.bytes(&format!("video-360p/{uri}")).is_empty()));
}

#[test]
fn a_clock_that_jumps_is_a_discontinuity_in_every_rendition() {
    let mut show = Show::at(10.0);
    // The host begins again with another clock.
    show.fed = (40 * RATE, sound().chunks.len() * 40 / 60);
    show.feed(52.5);
    for rendition in ["video-source", "video-360p", "audio-main"] {
        let playlist = show.playlist(rendition);
        let at: Vec<usize> = playlist
            .segments
            .iter()
            .enumerate()
            .filter(|(_, it)| it.discontinuity)
            .map(|(at, _)| at)
            .collect();
        assert_eq!(at, [3], "{rendition}: {}", playlist.text);
        assert!((playlist.segments[2].duration - 2.0).abs() < 0.12);
        assert_eq!(playlist.tag("#EXT-X-DISCONTINUITY-SEQUENCE"), None);
        assert!(playlist.segments.iter().all(|segment| segment.duration < 4.5), "{}", playlist.text);
    }
    // And back, until the first discontinuity has left the list.
    show.fed = (0, 0);
    show.feed(30.0);
    for rendition in ["video-source", "video-360p", "audio-main"] {
        let playlist = show.playlist(rendition);
        assert_eq!(playlist.tag("#EXT-X-DISCONTINUITY-SEQUENCE"), Some("1"), "{rendition}");
    }
}

#[test]
fn a_host_that_was_away_comes_back_at_the_date_that_it_is() {
    let mut show = Show::at(10.0);
    show.delay = Duration::from_secs(7);
    show.feed(20.5);
    for rendition in ["video-source", "audio-main"] {
        let playlist = show.playlist(rendition);
        let dates: Vec<&str> =
            playlist.segments.iter().filter_map(|it| it.date.as_deref()).map(|it| &it[17..]).collect();
        assert_eq!(
            dates,
            ["00.000Z", "04.000Z", "08.000Z", "17.000Z", "19.000Z", "23.000Z"],
            "{}",
            playlist.text
        );
        assert_eq!(playlist.tag("#EXT-X-DISCONTINUITY"), None, "media time goes on");
    }
}

#[test]
fn another_initialization_segment_is_another_map_after_a_discontinuity() {
    let mut show = Show::at(10.0);
    // The host goes on with another size of picture; the rest is as it was.
    let changed = edge::hls::Track { init: small_picture().init.clone(), ..video_track() };
    show.channel.handle(Input::Tracks(vec![changed, small_track(), audio_track()])).unwrap();
    show.feed(22.5);
    let (video, audio) = (show.playlist("video-source"), show.playlist("audio-main"));
    let maps: Vec<bool> = video.segments.iter().map(|segment| segment.map.is_some()).collect();
    assert_eq!(maps, [true, false, false, true, false, false], "{}", video.text);
    for playlist in [&video, &audio] {
        let breaks: Vec<bool> = playlist.segments.iter().map(|segment| segment.discontinuity).collect();
        assert_eq!(breaks, [false, false, false, true, false, false]);
    }
    let (old, new) = (video.segments[0].map.clone().unwrap(), video.segments[3].map.clone().unwrap());
    assert_eq!(show.bytes(&format!("video-source/{old}")), picture().init);
    assert_eq!(show.bytes(&format!("video-source/{new}")), small_picture().init);
    assert_eq!(audio.tags("#EXT-X-MAP").count(), 1, "the sound's is as it was");
}

#[test]
fn sound_that_comes_before_its_picture_waits_for_it() {
    let mut show = Show::at(3.0);
    // 1.5 s of sound at once, across the end of the segment.
    let due = sound().chunks.len() * 45 / 600;
    while show.fed.1 < due {
        show.object(AUDIO, sound().chunks[show.fed.1].clone(), false, false, BEGAN);
        show.fed.1 += 1;
    }
    show.feed(8.1);
    let (video, audio) = (show.playlist("video-source"), show.playlist("audio-main"));
    assert!(audio.segments.len() == 2 && video.segments.len() == 2, "{}", audio.text);
    assert!((audio.segments[0].duration - 4.0).abs() < 0.12, "{}", audio.text);
}

#[test]
fn sound_alone_is_cut_by_its_own_groups() {
    let mut channel = Channel::new(Settings::default());
    channel.handle(Input::Tracks(vec![audio_track()])).unwrap();
    let mut show = Show { channel, fed: (0, 0), lost: false, delay: Duration::ZERO };
    for (index, chunk) in sound().chunks.iter().enumerate() {
        show.object(AUDIO, chunk.clone(), index % 10 == 0, false, BEGAN);
    }
    let playlist = show.playlist("audio-main");
    assert!(playlist.segments.len() > 6);
    assert!(playlist.segments.iter().all(|segment| segment.duration > 3.0 && segment.duration < 4.5));
    assert!(show.text("index.m3u8").contains("audio-main/index.m3u8"));
}

#[test]
fn groups_that_do_not_end_are_cut_all_the_same() {
    let mut show = Show::new(Settings::default());
    for (index, chunk) in picture().chunks.iter().take(30 * RATE).enumerate() {
        show.object(VIDEO, chunk.clone(), index == 0, false, BEGAN);
    }
    let playlist = show.playlist("video-source");
    assert!(playlist.segments.iter().all(|segment| segment.duration <= 4.3), "{}", playlist.text);
    show.channel.handle(Input::End).unwrap();
    assert!(!show.text("index.m3u8").contains("INDEPENDENT-SEGMENTS"), "not every segment has a key frame");
}

#[test]
fn before_there_is_anything_everything_waits() {
    let mut channel = Channel::new(Settings::default());
    let show =
        Show { channel: Channel::new(Settings::default()), fed: (0, 0), lost: false, delay: Duration::ZERO };
    assert!(show.waits("index.m3u8") && show.waits("video-source/index.m3u8"));
    channel.handle(Input::End).unwrap();
    let show = Show { channel, fed: (0, 0), lost: false, delay: Duration::ZERO };
    assert!(show.is_missing("index.m3u8"));
    let show = Show::at(5.0);
    assert!(show.is_missing("video-1080p/index.m3u8"));
}

#[test]
fn objects_that_are_none_are_dropped() {
    let mut show = Show::at(5.0);
    let before = show.text("video-source/index.m3u8");
    let good = picture().chunks[5 * RATE].clone();
    let mut bad: Vec<Bytes> = (0..good.len().min(400)).map(|len| good.slice(..len)).collect();
    bad.extend([Bytes::new(), Bytes::from_static(&[255; 64]), picture().init.clone()]);
    let object = |payload, track: &str| Input::Object {
        track: track.to_owned(),
        starts_group: true,
        lost: false,
        wall: Duration::ZERO,
        payload,
    };
    for payload in bad {
        // What is cut off in its mdat is whole as far as its time goes.
        let _: Result<(), ChunkError> = show.channel.handle(object(payload, "nobody's"));
    }
    assert!(show.channel.handle(object(Bytes::from_static(b"moof"), VIDEO)).is_err());
    assert!(show.channel.handle(object(picture().init.clone(), VIDEO)).is_err());
    assert_eq!(show.text("video-source/index.m3u8"), before);
    show.feed(12.1);
    assert_eq!(show.playlist("video-source").segments.len(), 3);
}

#[test]
fn times_at_random_never_break_the_numbers() {
    // A small generator from a seed: chunks in any order, of any track, lost or not.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut show = Show::new(Settings::default());
    for _ in 0..4_000 {
        let (track, clip) = match next(3) {
            0 => (VIDEO, picture()),
            1 => ("video/360p", small_picture()),
            _ => (AUDIO, sound()),
        };
        let from = next(clip.chunks.len());
        for index in from..(from + next(60)).min(clip.chunks.len()) {
            show.object(track, clip.chunks[index].clone(), next(20) == 0, next(10) == 0, BEGAN);
        }
        if show.channel.is_ready() && !show.waits("video-source/index.m3u8") {
            let playlist = show.playlist("video-source");
            for (at, segment) in playlist.segments.iter().enumerate() {
                assert_eq!(segment.uri, format!("{}.m4s", playlist.msn() + at as u64));
            }
        }
    }
}
