//! Real threads: a lost wake-up is a reader that sleeps for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use common::model::Location;
use common::track::{self, Budget, Cursor, End, Limits, Reader, Start, Step, SubgroupEnd, Track};

use crate::audience::{BUDGET, NEVER_LATE, epoch, header, object};

const GROUPS: u64 = 300;
const OBJECTS: u64 = 30;

/// Only how long a failure takes: no reader needs a hundredth of it.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn no_reader_sleeps_through_anything_while_nothing_comes_after() {
    // The host does the next thing only when every reader saw the last one, and then at once: while the
    // slowest of them is about to park, with nobody to wake it later if this wake-up is lost.
    const READERS: u64 = 2;
    const ROUNDS: u64 = 10_000;
    let (mut writer, track) = track::new(Limits::default(), &Budget::new(BUDGET));
    let seen = Arc::new(AtomicU64::new(0));
    let (done, finished) = mpsc::channel();
    for _ in 0..READERS {
        let (track, seen, done) = (track.clone(), seen.clone(), done.clone());
        let see = move || _ = seen.fetch_add(1, Ordering::Release);
        thread::spawn(move || done.send(read_all(&track, &see)));
    }
    thread::spawn(move || {
        let now = epoch();
        let mut things = 0;
        let mut until_all_saw = || {
            things += 1;
            spin(|| seen.load(Ordering::Acquire) >= things * READERS);
        };
        for group in 0..ROUNDS {
            let mut log = writer.open(now, header(group, 0)).expect("within the limits");
            until_all_saw();
            for id in 0..2 {
                log.push(now, object(group, 0, id)).expect("within the limits");
                until_all_saw();
            }
            log.finish();
            until_all_saw();
        }
        writer.end(End::Finished);
    });
    for _ in 0..READERS {
        let objects = finished.recv_timeout(PATIENCE).expect("a reader slept through a wake-up, or fell");
        assert_eq!(objects, ROUNDS * 2);
    }
}

#[test]
fn the_last_group_is_found_before_the_end_that_follows_it_at_once() {
    const TRACKS: usize = 20_000;
    let (budget, now) = (Budget::new(BUDGET), epoch());
    let (writers, readers): (Vec<_>, Vec<_>) = (0..TRACKS)
        .map(|_| track::new(Limits::default(), &budget))
        .map(|(writer, track)| (writer, track.cursor(Start::Newest, None, NEVER_LATE)))
        .unzip();
    let started = AtomicU64::new(0);
    let found: usize = thread::scope(|scope| {
        scope.spawn(|| {
            for (mut writer, round) in writers.into_iter().zip(1..) {
                spin(|| started.load(Ordering::Acquire) >= round);
                drop(writer.open(now, header(0, 0)));
                writer.end(End::Finished);
            }
        });
        let read = |mut cursor| {
            started.fetch_add(1, Ordering::Release);
            spin_to_the_end(&mut cursor)
        };
        readers.into_iter().map(read).sum()
    });
    assert_eq!(found, TRACKS);
    assert_eq!(budget.used(), 0);
}

#[test]
fn many_readers_and_passers_by_miss_nothing_of_a_busy_host() {
    const READERS: usize = 8;
    let budget = Budget::new(BUDGET);
    let limits = Limits { groups_max: GROUPS as usize, ..Limits::default() };
    let (writer, track) = track::new(limits, &budget);
    let (done, finished) = mpsc::channel();
    for reader in 0..READERS {
        let (track, done) = (track.clone(), done.clone());
        // Half of them read the groups one by one, half each in a thread of its own.
        let read = move || if reader % 2 == 0 { read_all(&track, &|| ()) } else { read_in_threads(&track) };
        thread::spawn(move || done.send(read()));
    }
    let visitors = Visitors::let_in(&track);
    let host = thread::spawn(move || write_all(writer));

    for _ in 0..READERS {
        let objects = finished.recv_timeout(PATIENCE).expect("a reader slept through a wake-up, or fell");
        assert_eq!(objects, GROUPS * OBJECTS);
    }
    host.join().unwrap();
    visitors.send_away();
}

/// Groups one after the other, now and then giving readers the time to park.
fn write_all(mut writer: track::Writer) {
    let now = epoch();
    for group in 0..GROUPS {
        let mut log = writer.open(now, header(group, 0)).expect("within the limits");
        for id in 0..OBJECTS {
            log.push(now, object(group, 0, id)).expect("within the limits");
            if (group + id) % 3 == 0 {
                thread::yield_now();
            }
        }
        log.finish();
    }
    writer.end(End::Finished);
}

/// Polls without rest; says how many groups it found.
fn spin_to_the_end(cursor: &mut Cursor) -> usize {
    let mut found = 0;
    spin(|| {
        while let Poll::Ready(step) = cursor.poll_next(&Context::from_waker(Waker::noop())) {
            if matches!(step, Step::End(_)) {
                return true;
            }
            found += 1;
        }
        false
    });
    found
}

/// Looks without sleep, so that two threads meet within nanoseconds; but lets others run now and then, or
/// a machine with one core would stand still.
fn spin(mut done: impl FnMut() -> bool) {
    let mut looks: u32 = 0;
    while !done() {
        looks = looks.wrapping_add(1);
        if looks.is_multiple_of(10_000) {
            thread::yield_now();
        }
        std::hint::spin_loop();
    }
}

/// Reads a track from its first group to its end; says how many objects that were.
fn read_all(track: &Track, see: &dyn Fn()) -> u64 {
    let mut cursor = track.cursor(Start::At(Location::default()), None, NEVER_LATE);
    let mut objects = 0;
    while let Step::Open(mut reader) = wait(|cx| cursor.poll_next(cx)) {
        see();
        objects += read_group(&mut reader, see);
    }
    objects
}

fn read_in_threads(track: &Track) -> u64 {
    let mut cursor = track.cursor(Start::At(Location::default()), None, NEVER_LATE);
    thread::scope(|scope| {
        let mut groups = Vec::new();
        while let Step::Open(mut reader) = wait(|cx| cursor.poll_next(cx)) {
            groups.push(scope.spawn(move || read_group(&mut reader, &|| ())));
        }
        groups.into_iter().map(|group| group.join().expect("a reader fell")).sum()
    })
}

fn read_group(reader: &mut Reader, see: &dyn Fn()) -> u64 {
    let mut next = 0;
    loop {
        let object = wait(|cx| reader.poll_next(cx).map_ok(|object| object.id));
        see();
        match object {
            Ok(id) => assert_eq!(id, next, "group {}", reader.header().group),
            Err(end) => {
                assert_eq!(end, SubgroupEnd::Finished);
                return next;
            }
        }
        next += 1;
    }
}

/// Viewers who come, park and go for as long as the host writes.
struct Visitors {
    open: Arc<AtomicBool>,
    door: thread::JoinHandle<()>,
}

impl Visitors {
    fn let_in(track: &Track) -> Self {
        let open = Arc::new(AtomicBool::new(true));
        let (track, still_open) = (track.clone(), open.clone());
        let door = thread::spawn(move || {
            while still_open.load(Ordering::Relaxed) {
                visit(&track);
            }
        });
        Self { open, door }
    }

    fn send_away(self) {
        self.open.store(false, Ordering::Relaxed);
        self.door.join().expect("visitors ask for nothing that can fail");
    }
}

fn visit(track: &Track) {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let cx = Context::from_waker(&waker);
    let mut cursor = track.cursor(Start::Newest, None, NEVER_LATE);
    if let Poll::Ready(Step::Open(mut reader)) = cursor.poll_next(&cx) {
        while matches!(reader.poll_next(&cx), Poll::Ready(Ok(_))) {}
    }
}

/// Polls, and sleeps until woken: what a runtime does, without one.
fn wait<T>(mut poll: impl FnMut(&Context<'_>) -> Poll<T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let cx = Context::from_waker(&waker);
    loop {
        match poll(&cx) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
