//! Real threads: a lost wake-up is a reader that sleeps for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use common::model::Location;
use common::track::{self, Budget, End, Limits, Reader, Start, Step, SubgroupEnd, Track};

use crate::audience::{BUDGET, NEVER_LATE, epoch, header, object};

const READERS: usize = 8;
const GROUPS: u64 = 300;
const OBJECTS: u64 = 30;

/// Only how long a failure takes: no reader needs a hundredth of it.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn no_reader_sleeps_through_an_object_a_group_or_the_end() {
    let budget = Budget::new(BUDGET);
    let limits = Limits { groups_max: GROUPS as usize, ..Limits::default() };
    let (writer, track) = track::new(limits, &budget);
    let (done, finished) = mpsc::channel();
    for reader in 0..READERS {
        let (track, done) = (track.clone(), done.clone());
        // Half of them wait for the track and its groups by turns, as one task does; half by one thread each.
        thread::spawn(move || {
            done.send(if reader % 2 == 0 { read_all(&track) } else { read_in_threads(&track) })
        });
    }
    let visitors = Visitors::let_in(&track);
    let host = thread::spawn(move || write_all(writer));

    for _ in 0..READERS {
        let objects = finished.recv_timeout(PATIENCE).expect("a reader slept through a wake-up, or fell");
        assert_eq!(objects, GROUPS * OBJECTS);
    }
    host.join().unwrap();
    visitors.send_away();
    drop(track);
    assert_eq!(budget.used(), 0);
}

/// Groups one after the other, no faster than the scheduler likes, so that readers park between objects.
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

fn read_all(track: &Track) -> u64 {
    let mut cursor = track.cursor(Start::At(Location::default()), None, NEVER_LATE);
    let mut objects = 0;
    while let Step::Open(mut reader) = wait(|cx| cursor.poll_next(cx)) {
        objects += read_group(&mut reader);
    }
    objects
}

fn read_in_threads(track: &Track) -> u64 {
    let mut cursor = track.cursor(Start::At(Location::default()), None, NEVER_LATE);
    thread::scope(|scope| {
        let mut groups = Vec::new();
        while let Step::Open(mut reader) = wait(|cx| cursor.poll_next(cx)) {
            groups.push(scope.spawn(move || read_group(&mut reader)));
        }
        groups.into_iter().map(|group| group.join().expect("a reader fell")).sum()
    })
}

fn read_group(reader: &mut Reader) -> u64 {
    let mut next = 0;
    loop {
        match wait(|cx| reader.poll_next(cx).map_ok(|object| object.id)) {
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
    let mut cursor = track.cursor(Start::NextGroup, None, NEVER_LATE);
    for _ in 0..3 {
        if let Poll::Ready(Step::Open(mut reader)) = cursor.poll_next(&cx) {
            while matches!(reader.poll_next(&cx), Poll::Ready(Ok(_))) {}
        }
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
