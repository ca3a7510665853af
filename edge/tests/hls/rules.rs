//! What servers of LL-HLS must and should do, row by row.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use edge::hls::{Answer, Input, Settings};

use super::clip::{Part, Playlist, RATE, Show, attribute, number, picture, sound};

/// The renditions of the show.
const ALL: [&str; 3] = ["video-source", "video-360p", "audio-main"];

#[test]
fn the_head_of_a_playlist_says_what_parts_need() {
    // 4.4.3.7, 4.4.3.8.
    for (part, settings) in [
        (1.0, Settings::default()),
        (0.5, Settings { part: Duration::from_millis(500), ..Settings::default() }),
    ] {
        let mut show = Show::new(settings);
        show.feed(30.0);
        for rendition in ALL {
            let playlist = show.playlist(rendition);
            let control = playlist.tag("#EXT-X-SERVER-CONTROL").unwrap();
            let part_target = playlist.part_target();
            assert!(part_target >= part && part_target <= part + 0.05, "{part_target}");
            assert!(number(control, "PART-HOLD-BACK") >= 3.0 * part_target - 1e-6);
            assert!(number(control, "CAN-SKIP-UNTIL") >= 6.0 * playlist.target());
            assert_eq!(attribute(control, "CAN-BLOCK-RELOAD").as_deref(), Some("YES"));
            // Where it is not said, it is 3 target durations.
            assert_eq!(attribute(&format!(",{control}"), ",HOLD-BACK"), None);
            assert_eq!(playlist.tag("#EXT-X-VERSION"), Some("9"));
        }
    }
}

#[test]
fn parts_are_as_long_as_they_say() {
    // 4.4.4.9, and 4.4.3.1 for segments.
    for part in [1_000, 500] {
        let part = Duration::from_millis(part);
        let mut show = Show::new(Settings { part, ..Settings::default() });
        show.feed(33.2);
        for rendition in ALL {
            let playlist = show.playlist(rendition);
            let target = playlist.part_target();
            for segment in playlist.segments.iter().filter(|segment| !segment.parts.is_empty()) {
                let (last, others) = segment.parts.split_last().unwrap();
                assert!(last.duration <= target);
                for part in others {
                    assert!((0.85 * target..=target).contains(&part.duration), "{rendition} {part:?}");
                }
                let sum: f64 = segment.parts.iter().map(|part| part.duration).sum();
                assert!((sum - segment.duration).abs() < 1e-3, "parts make the segment: {segment:?}");
            }
            for segment in &playlist.segments {
                assert!(segment.duration.round() <= playlist.target(), "{segment:?}");
            }
        }
    }
}

#[test]
fn a_part_comes_within_a_part_target_of_the_one_before() {
    // 6.2.1: media is fed as it is captured, so media time is time.
    let mut show = Show::at(5.0);
    let mut last = ALL.map(|_| (String::new(), 0));
    while show.fed.0 < 20 * RATE {
        show.frame();
        for (rendition, (uri, since)) in ALL.iter().zip(&mut last) {
            let playlist = show.playlist(rendition);
            let newest = playlist.parts().last().unwrap().uri.clone();
            *since = if newest == *uri { *since + 1 } else { 0 };
            *uri = newest;
            assert!(*since as f64 / RATE as f64 <= playlist.part_target(), "{}", playlist.text);
        }
    }
}

#[test]
fn parts_are_their_segment_byte_for_byte() {
    // 3.2.
    let show = Show::at(30.0);
    for rendition in ALL {
        let playlist = show.playlist(rendition);
        let with_parts = playlist.segments.iter().filter(|segment| !segment.parts.is_empty());
        let mut count = 0;
        for segment in with_parts {
            let whole = show.bytes(&format!("{rendition}/{}", segment.uri));
            let of_part = |part: &Part| show.bytes(&format!("{rendition}/{}", part.uri)).to_vec();
            assert_eq!(segment.parts.iter().flat_map(of_part).collect::<Vec<_>>(), whole);
            count += 1;
        }
        assert!(count >= 2);
        assert!(playlist.parts().next().unwrap().independent);
    }
    let shows_key = |part: &&Part| part.independent;
    let video = show.playlist("video-source");
    assert_eq!(video.parts().filter(shows_key).count() * 2, video.parts().count(), "a key frame each 2 s");
    assert!(show.playlist("audio-main").parts().all(|part| part.independent));
}

#[test]
fn parts_leave_the_playlist_and_stay_for_a_while() {
    // 6.2.2: not further than 3 target durations from the end, and to be had for 3 more.
    let mut show = Show::at(20.0);
    let before: Vec<String> = show.playlist("video-source").parts().map(|part| part.uri.clone()).collect();
    let mut age = 0.0;
    let playlist = show.playlist("video-source");
    for segment in playlist.segments.iter().rev() {
        age += segment.duration;
        assert!(segment.parts.is_empty() || age <= 12.0 + 1e-6, "{}", playlist.text);
    }
    show.feed(32.0);
    let now: Vec<String> = show.playlist("video-source").parts().map(|part| part.uri.clone()).collect();
    assert!(before.iter().all(|uri| !now.contains(uri)));
    assert!(before.iter().all(|uri| !show.bytes(&format!("video-source/{uri}")).is_empty()));
}

#[test]
fn segments_stay_for_a_playlist_after_they_left_it() {
    // 6.2.2, and no longer: a rendition has its bounds.
    let mut show = Show::at(36.1);
    assert_eq!(show.playlist("video-source").msn(), 1);
    assert!(!show.bytes("video-source/0.m4s").is_empty());
    show.feed(60.0);
    assert!(!show.bytes("video-source/0.m4s").is_empty());
}

#[test]
fn renditions_have_the_same_numbers_at_the_same_time() {
    // 6.2.4, and more than it wants: equal numbers make switching and reports trivial.
    let show = Show::at(41.0);
    let playlists = ALL.map(|rendition| show.playlist(rendition));
    for playlist in &playlists {
        assert_eq!(playlist.msn(), playlists[0].msn());
        assert_eq!(playlist.segments.len(), playlists[0].segments.len());
        for (segment, of_video) in playlist.segments.iter().zip(&playlists[0].segments) {
            assert_eq!(segment.uri, of_video.uri);
            assert_eq!(segment.date, of_video.date);
            assert!((segment.duration - of_video.duration).abs() < 0.12, "{segment:?} {of_video:?}");
        }
    }
    assert_eq!(playlists[0].segments[0].date.as_deref(), Some("2026-01-01T00:00:08.000Z"));
}

#[test]
fn edges_that_join_at_other_times_number_segments_the_same() {
    // The clip's 12.0 s to 16.0 s are segment 3 wherever one joins before; and one segment is soon complete.
    for (join, first) in [(0.0, 0), (8.0, 1), (10.0, 2)] {
        let mut show = Show::new(Settings::default());
        show.fed = ((join * RATE as f64) as usize, sound().chunks.len() * join as usize / 60);
        show.feed(join + 1.9);
        assert!(show.waits("video-source/index.m3u8"), "without a segment there is nothing to begin with");
        show.feed(16.2);
        for rendition in ALL {
            let playlist = show.playlist(rendition);
            assert_eq!(playlist.msn(), first, "{}", playlist.text);
            let third = playlist.segments.iter().find(|segment| segment.uri == "3.m4s").unwrap();
            assert!((third.duration - 4.0).abs() < 0.12, "{}", playlist.text);
            if join > 0.0 {
                assert!((playlist.segments[0].duration - 2.0).abs() < 0.12, "{}", playlist.text);
            }
        }
        let of_whole = picture().chunks[12 * RATE..16 * RATE].concat();
        assert_eq!(show.bytes("video-source/3.m4s"), of_whole);
    }
}

#[test]
fn a_request_is_held_until_its_segment_or_part_is_there() {
    // 6.2.5.2. After 20.5 s segments 0 to 4 are complete, and of 5 there is no part.
    let mut show = Show::at(20.5);
    let url = |query: &str| format!("video-source/index.m3u8?{query}");
    assert!(!show.waits(&url("_HLS_msn=4")), "a segment that is there");
    assert!(show.waits(&url("_HLS_msn=5")), "a segment that is not");
    assert!(!show.waits(&url("_HLS_msn=4&_HLS_part=3")));
    assert!(show.waits(&url("_HLS_msn=5&_HLS_part=0")));
    assert!(show.waits(&url("_HLS_msn=4&_HLS_part=4")), "a part after the last is the next segment's first");
    show.feed(21.0);
    for query in ["_HLS_msn=5&_HLS_part=0", "_HLS_msn=4&_HLS_part=4", "_HLS_msn=4&_HLS_part=7"] {
        assert!(show.text(&url(query)).contains("5.0.m4s"));
    }
    assert!(show.waits(&url("_HLS_msn=5&_HLS_part=1")));
    assert!(show.waits(&url("_HLS_msn=5")), "a segment is there when all of it is");
    show.feed(24.1);
    assert!(show.text(&url("_HLS_msn=5")).contains("\n5.m4s"));
    assert!(!show.waits(&url("_HLS_msn=0")), "what is long gone is not waited for");
}

#[test]
fn requests_that_make_no_sense_are_bad() {
    // 6.2.5.2: a part of no segment; more than two segments, or the Advance Part Limit, ahead.
    let show = Show::at(22.5);
    let url = |query: &str| format!("video-source/index.m3u8?{query}");
    let playlist = show.playlist("video-source");
    let last = playlist.msn() + playlist.segments.len() as u64 - 1;
    assert_eq!((last, playlist.open.parts.len()), (4, 2));
    assert!(show.is_bad(&url("_HLS_part=1")));
    assert!(show.waits(&url("_HLS_msn=6")));
    assert!(show.is_bad(&url("_HLS_msn=7")));
    assert!(show.is_bad(&url("_HLS_msn=18446744073709551615")));
    assert!(show.waits(&url("_HLS_msn=5&_HLS_part=4")));
    assert!(show.is_bad(&url("_HLS_msn=5&_HLS_part=5")));

    let mut halves = Show::new(Settings { part: Duration::from_millis(500), ..Settings::default() });
    halves.feed(20.6);
    assert_eq!(halves.playlist("video-source").open.parts.len(), 1);
    assert!(halves.waits(&url("_HLS_msn=5&_HLS_part=6")), "3 s ahead where parts are shorter than 1 s");
    assert!(halves.is_bad(&url("_HLS_msn=5&_HLS_part=7")));
}

#[test]
fn nothing_is_held_once_the_event_is_over() {
    // 6.2.5, 4.4.5.3.
    let mut show = Show::at(22.4);
    show.channel.handle(Input::End).unwrap();
    let playlist = show.playlist("video-source");
    assert_eq!(playlist.tag("#EXT-X-ENDLIST"), Some(""));
    assert_eq!(playlist.tag("#EXT-X-PRELOAD-HINT"), None);
    assert_eq!(playlist.segments.last().unwrap().duration, 2.4);
    for query in ["_HLS_msn=900", "_HLS_part=3", "_HLS_msn=6&_HLS_part=9&_HLS_skip=YES"] {
        assert_eq!(show.text(&format!("video-source/index.m3u8?{query}")), playlist.text);
    }
    assert!(show.is_missing("video-source/6.0.m4s"));
}

#[test]
fn a_delta_is_what_a_player_does_not_have() {
    // 6.2.5.1.
    let show = Show::at(57.0);
    let full = show.playlist("video-source");
    let delta = Playlist::read(&show.text("video-source/index.m3u8?_HLS_skip=YES"));
    assert!(delta.skipped >= 1);
    assert_eq!(delta.msn(), full.msn());
    assert_eq!(
        delta.segments[..],
        full.segments[delta.skipped as usize..],
        "the same without what is skipped"
    );
    assert_eq!(delta.open, full.open);
    let rest: f64 = delta.segments.iter().map(|segment| segment.duration).sum();
    let until = number(delta.tag("#EXT-X-SERVER-CONTROL").unwrap(), "CAN-SKIP-UNTIL");
    assert!(rest + 1.0 >= until, "what is younger than the boundary is there: {rest}");
    assert_eq!(full.tag("#EXT-X-SKIP"), None);
    let young = Show::at(10.0);
    assert!(!young.text("video-source/index.m3u8?_HLS_skip=YES").contains("SKIP:"), "nothing to skip");
}

#[test]
fn the_next_part_is_hinted_at_and_can_be_asked_for() {
    // 6.2.6.
    let mut show = Show::at(12.0);
    while show.fed.0 < 30 * RATE {
        show.frame();
        for rendition in ALL {
            let playlist = show.playlist(rendition);
            let hint = playlist.tag("#EXT-X-PRELOAD-HINT").unwrap();
            assert_eq!(attribute(hint, "TYPE").as_deref(), Some("PART"));
            let uri = attribute(hint, "URI").unwrap();
            assert!(playlist.parts().all(|part| part.uri != uri), "it is not there yet");
            assert!(show.waits(&format!("{rendition}/{uri}")), "{rendition} {uri}");
        }
    }
    // What was hinted at is what comes.
    let hint = attribute(show.playlist("video-source").tag("#EXT-X-PRELOAD-HINT").unwrap(), "URI").unwrap();
    show.feed(31.0);
    assert_eq!(show.playlist("video-source").open.parts.last().unwrap().uri, hint);
    assert!(!show.bytes(&format!("video-source/{hint}")).is_empty());
    assert!(show.is_missing("video-source/99.0.m4s") && show.is_missing("video-source/7.9.m4s"));
}

#[test]
fn every_other_rendition_is_reported() {
    // 4.4.5.4.
    let show = Show::at(22.5);
    for rendition in ALL {
        let playlist = show.playlist(rendition);
        let reports: Vec<&str> = playlist.tags("#EXT-X-RENDITION-REPORT").collect();
        assert_eq!(reports.len(), ALL.len() - 1);
        for other in ALL.iter().filter(|other| **other != rendition) {
            let uri = format!("../{other}/index.m3u8");
            let report = reports.iter().find(|report| report.contains(&uri)).unwrap();
            let there = show.playlist(other);
            let last = there.parts().last().unwrap();
            let (msn, part) = (number(report, "LAST-MSN"), number(report, "LAST-PART"));
            let reported = msn * 1_000.0 + part;
            let (msn, part) = last.uri.trim_end_matches(".m4s").split_once('.').unwrap();
            let actual = msn.parse::<f64>().unwrap() * 1_000.0 + part.parse::<f64>().unwrap();
            assert!((0.0..=1.0).contains(&(actual - reported)), "{report} {last:?}");
        }
    }
}

#[test]
fn the_multivariant_playlist_lists_pictures_with_their_sound() {
    let show = Show::at(10.0);
    let text = show.text("index.m3u8");
    assert!(text.contains("#EXT-X-INDEPENDENT-SEGMENTS\n"));
    let media = text.lines().find(|line| line.starts_with("#EXT-X-MEDIA:")).unwrap();
    assert_eq!(attribute(media, "URI").as_deref(), Some("audio-main/index.m3u8"));
    assert_eq!(attribute(media, "GROUP-ID").as_deref(), Some("audio"));
    let lines: Vec<&str> = text.lines().collect();
    let variants: Vec<_> =
        lines.windows(2).filter(|pair| pair[0].starts_with("#EXT-X-STREAM-INF:")).collect();
    assert_eq!(
        variants.iter().map(|pair| pair[1]).collect::<Vec<_>>(),
        ["video-source/index.m3u8", "video-360p/index.m3u8"]
    );
    assert_eq!(attribute(variants[0][0], "CODECS").as_deref(), Some("avc1.42c00b,mp4a.40.2"));
    assert_eq!(attribute(variants[0][0], "RESOLUTION").as_deref(), Some("160x90"));
    assert_eq!(attribute(variants[0][0], "AUDIO").as_deref(), Some("audio"));
    assert!(number(variants[0][0], "BANDWIDTH") >= 364_000.0);
    for uri in lines.iter().filter(|line| !line.starts_with('#')) {
        assert!(!show.text(uri).is_empty());
    }
}

#[test]
fn plain_playlists_know_nothing_of_parts() {
    let mut show = Show::new(Settings { low_latency: false, ..Settings::default() });
    show.feed(3.9);
    assert!(show.waits("video-source/index.m3u8"), "without a segment there is nothing to list");
    show.feed(30.0);
    for rendition in ALL {
        let playlist = show.playlist(rendition);
        for tag in ["PART", "PART-INF", "SERVER-CONTROL", "PRELOAD-HINT", "RENDITION-REPORT", "SKIP"] {
            assert_eq!(playlist.tags(&format!("#EXT-X-{tag}")).count(), 0, "{}", playlist.text);
        }
        assert_eq!(playlist.segments.len(), 7);
        assert!(!show.waits(&format!("{rendition}/index.m3u8?_HLS_msn=7&_HLS_part=0")), "not understood");
    }
}

#[test]
fn media_may_be_cached_and_playlists_only_as_long_as_they_are_true() {
    let show = Show::at(22.5);
    let max_age = |path: &str| match show.ask(path) {
        Answer::Found { max_age, .. } => max_age,
        other => panic!("{path}: {other:?}"),
    };
    assert_eq!(max_age("video-source/index.m3u8"), 1);
    assert_eq!(max_age("video-source/index.m3u8?_HLS_msn=4&_HLS_part=1"), 24);
    assert_eq!(max_age("video-source/4.m4s"), 24);
    assert_eq!(max_age("video-source/5.1.m4s"), 24);
    let map = show.playlist("video-source").segments[0].map.clone().unwrap();
    assert_eq!(max_age(&format!("video-source/{map}")), 3_600);
}

#[test]
fn a_part_is_the_objects_themselves() {
    let show = Show::at(22.5);
    let Answer::Found { body, .. } = show.ask("video-source/5.1.m4s") else { panic!("it is there") };
    let frames = &picture().chunks[21 * 25..22 * 25];
    assert_eq!(body.pieces().len(), frames.len());
    for (piece, frame) in body.pieces().iter().zip(frames) {
        assert_eq!(piece.as_ptr(), frame.as_ptr(), "nothing is copied");
    }
}

#[test]
fn ffprobe_reads_what_is_listed_in_order() {
    let show = Show::at(30.0);
    for rendition in ALL {
        let playlist = show.playlist(rendition);
        let map = playlist.segments[0].map.as_ref().unwrap();
        let mut file = show.bytes(&format!("{rendition}/{map}")).to_vec();
        for segment in &playlist.segments {
            file.extend_from_slice(&show.bytes(&format!("{rendition}/{}", segment.uri)));
        }
        let times = ffprobe(&file);
        let expected = if rendition == "audio-main" { 28 * 48_000 / 1_024 } else { 28 * 25 };
        assert!(times.len().abs_diff(expected) <= 6, "{rendition}: {}", times.len());
        assert!(times.is_sorted_by(|a, b| a < b));
    }
}

/// The decode times of all packets.
fn ffprobe(file: &[u8]) -> Vec<f64> {
    let mut ffprobe = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "packet=dts_time", "-of", "csv=p=0", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ffprobe runs");
    let mut stdin = ffprobe.stdin.take().unwrap();
    let file = file.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&file));
    let output = ffprobe.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.trim_end_matches(',').parse().ok()).collect()
}
