//! One story each, told through [`Audience`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::model::Location;
use common::track::{Budget, End, Limits, Object, Pushed, Start, SubgroupEnd, WriteError};

use crate::audience::{Audience, LATENCY, NEVER_LATE, StreamEnd, Viewer, datagram, object};

const FINISHED: Option<StreamEnd> = Some(StreamEnd::Log(SubgroupEnd::Finished));
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_late_joiner_starts_at_once_with_the_first_object_of_the_newest_group() {
    let mut room = Audience::new(Limits::default());
    room.group(6, 0..60);
    room.open(7, 0).unwrap();
    room.push(7, 0, 0).unwrap();
    room.push(7, 0, 1).unwrap();

    let late = room.join(Start::Newest);
    room.drive();

    assert_eq!(room.ids(late), [(7, 0, vec![0, 1])]);
    assert!(room.seen(late)[0].starts_at_beginning);
}

#[test]
fn an_early_viewer_is_woken_by_the_first_object() {
    let mut room = Audience::new(Limits::default());
    let early = room.join(Start::Newest);
    room.drive();
    assert!(room.seen(early).is_empty());

    room.open(0, 0).unwrap();
    room.drive();
    room.push(0, 0, 0).unwrap();
    room.drive();
    assert_eq!(room.ids(early), [(0, 0, vec![0])]);
}

#[test]
fn who_wants_the_next_group_is_spared_the_rest_of_this_one() {
    let mut room = Audience::new(Limits::default());
    room.open(3, 0).unwrap();
    let viewer = room.join(Start::NextGroup);
    room.push(3, 0, 0).unwrap();
    room.drive();
    room.group(4, 0..2);
    room.drive();
    assert_eq!(room.ids(viewer), [(4, 0, vec![0, 1])]);
}

#[test]
fn who_starts_inside_a_group_is_told_that_the_first_framing_does_not_fit() {
    let mut room = Audience::new(Limits::default());
    room.group(3, 0..10);
    // Object ids may have holes: layers take turns.
    room.group(4, [0, 2, 4, 6]);
    let viewer = room.join_with(Start::At(Location::new(4, 3)), None, NEVER_LATE);
    let from_the_first = room.join_with(Start::At(Location::new(3, 0)), Some(3), NEVER_LATE);
    let after_the_last = room.join_with(Start::At(Location::new(4, 7)), None, NEVER_LATE);
    room.drive();

    assert_eq!(room.ids(viewer), [(4, 0, vec![4, 6])]);
    assert!(!room.seen(viewer)[0].starts_at_beginning);
    assert_eq!(room.ids(from_the_first), [(3, 0, (0..10).collect())]);
    assert!(room.seen(from_the_first)[0].starts_at_beginning);
    assert!(room.seen(after_the_last).is_empty());
}

#[test]
fn the_framing_does_not_fit_either_where_the_first_object_is_still_to_come() {
    let mut room = Audience::new(Limits::default());
    room.open(4, 0).unwrap();
    let viewer = room.join_with(Start::At(Location::new(4, 2)), None, NEVER_LATE);
    room.drive();
    for id in 0..4 {
        room.push(4, 0, id).unwrap();
    }
    room.drive();
    assert_eq!(room.ids(viewer), [(4, 0, vec![2, 3])]);
    assert!(!room.seen(viewer)[0].starts_at_beginning);
}

#[test]
fn a_cursor_stops_after_its_end_group() {
    let mut room = Audience::new(Limits::default());
    let viewer = room.join_with(Start::Newest, Some(1), NEVER_LATE);
    for group in 0..4 {
        room.group(group, 0..2);
    }
    room.drive();
    assert_eq!(room.ids(viewer), [(0, 0, vec![0, 1]), (1, 0, vec![0, 1])]);
}

#[test]
fn who_keeps_up_never_skips() {
    let mut room = Audience::new(Limits::default());
    let viewer = room.join(Start::Newest);
    for group in 0..200 {
        room.open(group, 0).unwrap();
        for id in 0..20 {
            room.push(group, 0, id).unwrap();
            room.pass(Duration::from_millis(50));
            room.drive();
        }
        room.take(group, 0).finish();
        room.drive();
    }
    let whole: Vec<_> = (0..200).map(|group| (group, 0, (0..20).collect())).collect();
    assert_eq!(room.ids(viewer), whole);
    assert!(room.seen(viewer).iter().all(|stream| stream.end == FINISHED));
}

#[test]
fn who_oversleeps_gives_up_whole_groups_and_goes_on_with_the_newest() {
    let mut room = Audience::new(Limits::default());
    let sleeper = room.join(Start::Newest);
    room.open(0, 0).unwrap();
    room.push(0, 0, 0).unwrap();
    room.drive();
    room.viewers[sleeper].asleep = true;
    for group in 1..5 {
        room.open(group, 0).unwrap();
        room.push(group, 0, 0).unwrap();
        room.pass(SECOND);
    }
    room.viewers[sleeper].asleep = false;
    room.drive();

    assert_eq!(room.ids(sleeper), [(0, 0, vec![0]), (4, 0, vec![0])]);
    assert_eq!(room.seen(sleeper)[0].end, Some(StreamEnd::Late(room.now)));
    assert_eq!(room.seen(sleeper)[1].end, None);
}

#[test]
fn a_group_that_nobody_finishes_becomes_late_by_the_clock_alone() {
    let mut room = Audience::new(Limits::default());
    let viewer = room.join(Start::Newest);
    room.open(0, 0).unwrap();
    room.open(1, 0).unwrap();
    room.drive();
    let due = room.viewers[viewer].cursor.as_ref().unwrap().late_at(0);
    assert_eq!(due, Some(room.now + LATENCY));
    assert_eq!(room.viewers[viewer].cursor.as_ref().unwrap().late_at(1), None, "the newest is never late");

    room.pass(LATENCY);
    room.drive();
    assert_eq!(room.seen(viewer)[0].end, Some(StreamEnd::Late(room.now)));
    assert_eq!(room.seen(viewer)[1].end, None);
}

#[test]
fn lateness_counts_from_the_first_newer_group_also_where_groups_come_out_of_order() {
    let mut room = Audience::new(Limits::default());
    let viewer = room.join(Start::Newest);
    room.open(10, 0).unwrap();
    room.open(12, 0).unwrap();
    room.drive();
    room.pass(LATENCY / 2);
    room.open(11, 0).unwrap();
    room.drive();
    room.pass(LATENCY / 2);
    room.drive();
    let ends: Vec<_> = room.seen(viewer).iter().map(|stream| (stream.group, stream.end.is_some())).collect();
    assert_eq!(ends, [(10, true), (12, false), (11, true)]);
}

#[test]
fn subgroups_and_groups_in_any_order_are_each_found_once() {
    let mut room = Audience::new(Limits::default());
    let viewer = room.join_with(Start::Newest, None, NEVER_LATE);
    room.open(1, 5).unwrap();
    room.open(1, 0).unwrap();
    room.open(0, 3).unwrap();
    for id in 0..3 {
        room.push(1, 0, 2 * id).unwrap();
        room.push(1, 5, 2 * id + 1).unwrap();
        room.push(0, 3, id).unwrap();
        room.drive();
    }
    assert_eq!(room.ids(viewer), [(1, 5, vec![1, 3, 5]), (1, 0, vec![0, 2, 4]), (0, 3, vec![0, 1, 2])]);
}

#[test]
fn datagrams_find_their_readers_once_and_in_any_order() {
    let mut room = Audience::new(Limits { datagrams_max: 2, ..Limits::default() });
    let viewer = room.join(Start::At(Location::new(1, 1)));
    for location in [(0, 0), (1, 1), (1, 0), (2, 0), (1, 1)] {
        let now = room.now;
        room.writer().datagram(now, datagram(location.0, location.1)).unwrap();
    }
    room.drive();
    let got: Vec<_> = room.viewers[viewer].datagrams.iter().map(|datagram| datagram.location).collect();
    assert_eq!(got, [Location::new(1, 1), Location::new(2, 0)]);
    let now = room.now;
    assert_eq!(room.writer().datagram(now, datagram(1, 2)), Err(WriteError::TooManyStreams));
}

#[test]
fn a_source_that_comes_back_goes_on_where_it_stopped_and_nobody_notices() {
    let mut room = Audience::new(Limits::default());
    let viewer = room.join(Start::Newest);
    room.open(5, 0).unwrap();
    for id in 0..3 {
        room.push(5, 0, id).unwrap();
    }
    drop(room.take(5, 0));
    room.drive();
    assert_eq!(room.seen(viewer)[0].end, None);
    assert_eq!(room.writer().next_unseen(), Some(Location::new(5, 2)));

    room.open(5, 0).unwrap();
    assert_eq!(room.log(5, 0).last_id(), Some(2));
    assert_eq!(room.push(5, 0, 2), Ok(Pushed::Duplicate));
    assert_eq!(room.push(5, 0, 3), Ok(Pushed::New));
    room.take(5, 0).finish();
    room.drive();

    assert_eq!(room.ids(viewer), [(5, 0, vec![0, 1, 2, 3])]);
    assert_eq!(room.seen(viewer)[0].end, FINISHED);
    assert_eq!(room.writer().next_unseen(), Some(Location::new(5, 4)));
    assert_eq!(room.open(5, 0), Err(WriteError::Finished));
}

#[test]
fn two_hops_a_lost_end_is_found_again_by_resuming() {
    let mut parent = Audience::new(Limits::default());
    parent.group(5, 0..3);
    // The child had every object when the connection went, but not the end.
    let mut child = Audience::new(Limits::default());
    let viewer = child.join(Start::Newest);
    child.open(5, 0).unwrap();
    for id in 0..3 {
        child.push(5, 0, id).unwrap();
    }
    drop(child.take(5, 0));
    child.drive();

    let resume = child.writer().next_unseen().unwrap();
    let upstream = parent.join_with(Start::At(resume), None, NEVER_LATE);
    parent.drive();
    assert_eq!(parent.ids(upstream), [(5, 0, vec![2])]);
    assert_eq!(parent.seen(upstream)[0].end, FINISHED);
    child.open(5, 0).unwrap();
    assert_eq!(child.push(5, 0, 2), Ok(Pushed::Duplicate));
    child.take(5, 0).finish();
    child.drive();
    assert_eq!(child.seen(viewer)[0].end, FINISHED);
}

#[test]
fn largest_is_what_is_known_and_next_unseen_what_is_held() {
    let mut room = Audience::new(Limits::default());
    assert_eq!((room.track.largest(), room.writer().next_unseen()), (None, None));
    room.writer().observe(Location::new(9, 9));
    assert_eq!((room.track.largest(), room.writer().next_unseen()), (Some(Location::new(9, 9)), None));
    room.group(2, 0..4);
    assert_eq!(room.writer().next_unseen(), Some(Location::new(2, 4)));
    room.group(10, 0..1);
    assert_eq!(room.track.largest(), Some(Location::new(10, 0)));
}

#[test]
fn a_reset_reaches_readers_behind_the_objects_that_came_before_it() {
    let mut room = Audience::new(Limits::default());
    let viewer = room.join(Start::Newest);
    room.open(0, 0).unwrap();
    room.push(0, 0, 0).unwrap();
    room.take(0, 0).reset(42);
    room.drive();
    assert_eq!(room.ids(viewer), [(0, 0, vec![0])]);
    assert_eq!(room.seen(viewer)[0].end, Some(StreamEnd::Log(SubgroupEnd::Reset(42))));
}

#[test]
fn a_track_that_ends_is_read_to_its_end() {
    let mut room = Audience::new(Limits::default());
    let viewer = room.join(Start::Newest);
    room.group(0, 0..2);
    room.open(1, 0).unwrap();
    room.push(1, 0, 0).unwrap();
    room.writer.take().unwrap().end(End::Finished);
    assert_eq!(room.push(1, 0, 1), Err(WriteError::Finished));
    room.drive();

    assert_eq!(room.ids(viewer), [(0, 0, vec![0, 1]), (1, 0, vec![0])]);
    assert_eq!(room.seen(viewer)[0].end, FINISHED);
    assert_eq!(room.seen(viewer)[1].end, Some(StreamEnd::Log(SubgroupEnd::TrackEnded)));
    assert_eq!(room.viewers[viewer].end, Some(End::Finished));
    assert_eq!(room.track.ended(), Some(End::Finished));
}

#[test]
fn a_writer_that_is_lost_abandons_its_track() {
    let mut room = Audience::new(Limits::default());
    let viewer = room.join(Start::Newest);
    room.drive();
    room.writer = None;
    room.drive();
    assert_eq!(room.viewers[viewer].end, Some(End::Abandoned));
}

#[test]
fn readers_outlive_the_track_they_read() {
    let mut room = Audience::new(Limits::default());
    room.group(0, 0..3);
    let mut cursor = room.track.cursor(Start::Newest, None, LATENCY);
    let cx = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(common::track::Step::Open(mut reader)) = cursor.poll_next(&cx) else {
        panic!("the group is there");
    };
    let budget = room.budget.clone();
    drop((cursor, room));
    assert_eq!(budget.used(), 0);
    let mut ids = Vec::new();
    let end = loop {
        match reader.poll_next(&cx) {
            std::task::Poll::Ready(Ok(object)) => ids.push(object.id),
            std::task::Poll::Ready(Err(end)) => break end,
            std::task::Poll::Pending => panic!("the group is complete"),
        }
    };
    assert_eq!((ids, end), (vec![0, 1, 2], SubgroupEnd::Finished));
}

#[test]
fn groups_leave_by_age_but_the_newest_stays_for_as_long_as_it_is_the_newest() {
    let mut room = Audience::new(Limits { window: 10 * SECOND, ..Limits::default() });
    let sleeper = room.join_with(Start::Newest, None, NEVER_LATE);
    let reader = room.join_with(Start::Newest, None, NEVER_LATE);
    room.group(0, 0..2);
    room.viewers[sleeper].asleep = true;
    room.drive();
    room.pass(3_600 * SECOND);
    let next_day = room.join(Start::Newest);
    room.drive();
    assert_eq!(room.ids(next_day), [(0, 0, vec![0, 1])], "pinned");

    room.group(1, 0..2);
    room.pass(11 * SECOND);
    room.group(2, 0..2);
    room.viewers[sleeper].asleep = false;
    room.drive();
    let groups: Vec<_> = room.seen(sleeper).iter().map(|stream| stream.group).collect();
    assert_eq!(groups, [1, 2], "group 0 left while nobody woke the sleeper");
    assert_eq!(room.seen(reader).len(), 3);
    assert_eq!(room.open(0, 0), Err(WriteError::TooOld));
    assert_eq!(room.track.cached(Location::new(0, 0), Location::new(0, 9)), []);
}

#[test]
fn a_reader_whose_group_leaves_lets_go_of_it() {
    let mut room = Audience::new(Limits { groups_max: 2, ..Limits::default() });
    let behind = room.join_with(Start::Newest, None, NEVER_LATE);
    let done = room.join_with(Start::Newest, None, NEVER_LATE);
    room.open(0, 0).unwrap();
    room.push(0, 0, 0).unwrap();
    room.drive();
    room.viewers[behind].asleep = true;
    room.push(0, 0, 1).unwrap();
    room.take(0, 0).finish();
    room.drive();
    room.group(1, 0..1);
    room.group(2, 0..1);
    room.viewers[behind].asleep = false;
    room.drive();
    assert_eq!(room.seen(behind)[0].end, Some(StreamEnd::Log(SubgroupEnd::Evicted)));
    assert_eq!(room.seen(done)[0].end, FINISHED, "who had everything is not told of the eviction");
}

#[test]
fn a_reader_that_waits_is_woken_by_the_eviction() {
    let mut room = Audience::new(Limits { groups_max: 2, ..Limits::default() });
    let viewer = room.join_with(Start::Newest, Some(0), NEVER_LATE);
    room.open(0, 0).unwrap();
    room.push(0, 0, 0).unwrap();
    room.drive();
    room.group(1, 0..1);
    room.group(2, 0..1);
    room.drive();
    assert_eq!(room.seen(viewer)[0].end, Some(StreamEnd::Log(SubgroupEnd::Evicted)));
    assert_eq!(room.push(0, 0, 1), Err(WriteError::TooOld));
}

#[test]
fn limits_are_refused_not_grown() {
    let limits = Limits { subgroups_max: 2, objects_max: 3, object_bytes_max: 10, ..Limits::default() };
    let mut room = Audience::new(limits);
    room.open(0, 0).unwrap();
    room.open(0, 1).unwrap();
    assert_eq!(room.open(0, 2), Err(WriteError::TooManyStreams));
    for id in 0..3 {
        room.push(0, 0, id).unwrap();
    }
    assert_eq!(room.push(0, 0, 3), Err(WriteError::TooManyObjects));
    let (now, large) = (room.now, Object { payload: Bytes::from(vec![0; 11]), ..object(0, 1, 0) });
    assert_eq!(room.log(0, 1).push(now, large), Err(WriteError::TooLarge(11)));
    let large = Object { properties: Bytes::from(vec![0; 11]), ..object(0, 1, 0) };
    assert_eq!(room.log(0, 1).push(now, large), Err(WriteError::TooLarge(16)), "properties count too");
}

#[test]
fn a_group_that_never_ends_stops_at_its_bytes() {
    let mut room = Audience::new(Limits { group_bytes_max: 10_000, ..Limits::default() });
    room.open(0, 0).unwrap();
    room.open(0, 1).unwrap();
    let refused = (0..100).find_map(|id| room.push(0, id % 2, id).err());
    assert_eq!(refused, Some(WriteError::TooManyBytes));
    assert!(room.budget.used() < 20_000);
    room.group(1, 0..3);
}

#[test]
fn a_greedy_track_pays_with_its_own_past() {
    let budget = Budget::new(100_000);
    let mut modest = Audience::sharing(Limits::default(), &budget);
    let mut greedy = Audience::sharing(Limits::default(), &budget);
    modest.group(0, 0..5);
    modest.group(1, 0..5);
    for group in 0..50 {
        greedy.open(group, 0).unwrap();
        for id in 0..10 {
            let (now, big) =
                (greedy.now, Object { payload: Bytes::from(vec![0; 1_000]), ..object(group, 0, id) });
            greedy.log(group, 0).push(now, big).unwrap();
            assert!(budget.used() <= budget.bytes_max() + 2_000, "{} bytes", budget.used());
        }
        greedy.take(group, 0).finish();
    }
    assert!(budget.evictions() > 0);
    let all =
        |room: &Audience| room.track.cached(Location::default(), Location::new(u64::MAX, u64::MAX)).len();
    assert_eq!(all(&modest), 10, "the other track lost nothing");
    assert!(all(&greedy) >= 10, "the newest group is whole");

    drop(greedy);
    drop(modest);
    assert_eq!(budget.used(), 0);
}

#[test]
fn the_newest_group_stays_even_where_it_alone_is_over_the_budget() {
    let mut room = Audience::sharing(Limits::default(), &Budget::new(1));
    room.group(0, 0..3);
    room.group(1, 0..3);
    let viewer = room.join(Start::Newest);
    room.drive();
    assert_eq!(room.ids(viewer), [(1, 0, vec![0, 1, 2])]);
    assert_eq!(room.budget.evictions(), 1);
}

#[test]
fn a_fetch_is_answered_in_order_with_what_the_window_holds() {
    let mut room = Audience::new(Limits::default());
    room.open(1, 0).unwrap();
    room.open(1, 1).unwrap();
    for id in [0, 2, 4] {
        room.push(1, 0, id).unwrap();
        room.push(1, 1, id + 1).unwrap();
    }
    let now = room.now;
    room.writer().datagram(now, datagram(1, 6)).unwrap();
    room.group(2, 0..3);
    room.group(0, 0..3);

    let found = room.track.cached(Location::new(1, 3), Location::new(2, 1));
    let places: Vec<_> = found.iter().map(|found| (found.group, found.subgroup, found.object.id)).collect();
    let (one, two, none) = (Some(0), Some(1), None);
    assert_eq!(places, [(1, two, 3), (1, one, 4), (1, two, 5), (1, none, 6), (2, one, 0), (2, one, 1)]);
    assert_eq!(room.track.cached(Location::new(2, 1), Location::new(1, 3)), []);
}

#[test]
fn who_leaves_leaves_no_waker_behind() {
    let mut room = Audience::new(Limits::default());
    room.open(0, 0).unwrap();
    for _ in 0..1_000 {
        let mut viewer = Viewer::new(room.track.cursor(Start::Newest, None, LATENCY));
        viewer.drive(room.now);
        assert!(Arc::strong_count(&viewer.bell) >= 3, "parked at the track and at the subgroup");
        viewer.leave();
        assert_eq!(Arc::strong_count(&viewer.bell), 1);
    }
}

#[test]
fn a_subgroup_longer_than_any_chunk_is_read_whole() {
    let mut room = Audience::new(Limits::default());
    let along = room.join(Start::Newest);
    room.open(0, 0).unwrap();
    for id in 0..5_000 {
        room.push(0, 0, id).unwrap();
        if id % 7 == 0 {
            room.drive();
        }
    }
    room.take(0, 0).finish();
    let after = room.join(Start::Newest);
    room.drive();
    assert_eq!(room.ids(along), [(0, 0, (0..5_000).collect())]);
    assert_eq!(room.ids(after), room.ids(along));
}
