//! What does one object cost per cursor?
//!
//! A host writes 30 objects a second in groups of 2 s; every cursor reads each at once and parks for the
//! next. The time that criterion prints is for **one object and one cursor**: pushing and waking, divided
//! among the cursors, and of each cursor its poll, its clone of the payload's handle, and its parking.
//!
//! * `pump`: one task serves all cursors, as a shard's driver may: a wake-up is a flag.
//! * `task`: every reader and cursor has a waker of its own, queued when woken, as a task each would be.
//!
//! Sending is no part of it: compare with about 6 us for encrypting and sending 10 kB.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::track::{self, Budget, Cursor, Header, Limits, Object, Reader, Start, Step, SubgroupWriter};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

const CURSORS: [usize; 4] = [1, 100, 1_000, 5_000];

/// 2 s at 30 a second.
const OBJECTS_PER_GROUP: u64 = 60;

/// 10 kB at 30 a second are 2.4 Mb/s, the top rung.
const OBJECT_BYTES: usize = 10_000;

criterion_group!(benches, fanout);
criterion_main!(benches);

fn fanout(criterion: &mut Criterion) {
    for wakers in [Wakers::Pump, Wakers::Task] {
        let mut group = criterion.benchmark_group(format!("object and cursor/{wakers:?}").to_lowercase());
        group.sample_size(20).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
        for cursors in CURSORS {
            group.bench_function(BenchmarkId::from_parameter(cursors), |bencher| {
                let mut hall = Hall::new(cursors, wakers);
                bencher.iter_custom(|objects| per_cursor(hall.play(objects), cursors));
            });
        }
    }
}

fn per_cursor(time: Duration, cursors: usize) -> Duration {
    time.div_f64(cursors as f64)
}

#[derive(Debug, Clone, Copy)]
enum Wakers {
    Pump,
    Task,
}

/// A host and its viewers.
struct Hall {
    now: Instant,
    writer: track::Writer,
    log: Option<SubgroupWriter>,
    next: u64,
    payload: Bytes,
    viewers: Vec<Viewer>,
    woken: Arc<Mutex<Vec<usize>>>,
    batch: Vec<usize>,
}

impl Hall {
    fn new(cursors: usize, wakers: Wakers) -> Self {
        let (writer, track) = track::new(Limits::default(), &Budget::new(64 << 20));
        let woken = Arc::new(Mutex::new(Vec::new()));
        let pump = Arc::new(Bell { viewer: 0, rung: AtomicBool::new(true), woken: None });
        let bell = |viewer| match wakers {
            Wakers::Pump => pump.clone(),
            Wakers::Task => {
                Arc::new(Bell { viewer, rung: AtomicBool::new(false), woken: Some(woken.clone()) })
            }
        };
        let viewers = (0..cursors)
            .map(|viewer| Viewer {
                cursor: track.cursor(Start::Newest, None, Duration::from_secs(1)),
                reader: None,
                bell: bell(viewer),
            })
            .collect();
        let mut hall = Self {
            now: now(),
            writer,
            log: None,
            next: 0,
            payload: Bytes::from(vec![7; OBJECT_BYTES]),
            viewers,
            woken,
            batch: Vec::new(),
        };
        hall.viewers.iter_mut().for_each(Viewer::look);
        hall
    }

    /// Writes so many objects, each read by everyone before the next.
    fn play(&mut self, objects: u64) -> Duration {
        let start = now();
        for _ in 0..objects {
            self.push();
            self.serve();
        }
        start.elapsed()
    }

    fn push(&mut self) {
        let (group, id) = (self.next / OBJECTS_PER_GROUP, self.next % OBJECTS_PER_GROUP);
        self.next += 1;
        self.now += Duration::from_millis(33);
        if id == 0 {
            if let Some(log) = self.log.take() {
                log.finish();
            }
            let header = Header { group, ..Header::default() };
            self.log = Some(self.writer.open(self.now, header).expect("within the limits"));
        }
        let object = Object { id, payload: self.payload.clone(), ..Object::default() };
        let log = self.log.as_mut().expect("opened with the group's first object");
        log.push(self.now, object).expect("within the limits");
    }

    /// Everyone who was woken looks; with one waker for all that is everyone.
    fn serve(&mut self) {
        if self.viewers[0].bell.woken.is_none() {
            assert!(self.viewers[0].bell.rung.swap(false, Ordering::AcqRel), "a push wakes who is parked");
            self.viewers.iter_mut().for_each(Viewer::look);
            return;
        }
        std::mem::swap(&mut self.batch, &mut *self.woken.lock().unwrap_or_else(PoisonError::into_inner));
        assert_eq!(self.batch.len(), self.viewers.len(), "a push wakes who is parked");
        for viewer in self.batch.drain(..) {
            self.viewers[viewer].bell.rung.store(false, Ordering::Release);
            self.viewers[viewer].look();
        }
    }
}

struct Viewer {
    cursor: Cursor,
    reader: Option<Reader>,
    bell: Arc<Bell>,
}

impl Viewer {
    /// Reads what there is, and parks.
    fn look(&mut self) {
        let waker = Waker::from(self.bell.clone());
        let cx = Context::from_waker(&waker);
        loop {
            while let Some(reader) = &mut self.reader {
                match reader.poll_next(&cx) {
                    Poll::Ready(Ok(object)) => _ = black_box(object.payload.clone()),
                    Poll::Ready(Err(_)) => self.reader = None,
                    Poll::Pending => break,
                }
            }
            match self.cursor.poll_next(&cx) {
                Poll::Ready(Step::Open(reader)) => self.reader = Some(reader),
                Poll::Ready(_) => unreachable!("this host sends no datagrams, and does not end"),
                Poll::Pending => return,
            }
        }
    }
}

struct Bell {
    viewer: usize,
    rung: AtomicBool,
    /// Where a task each is queued once; a pump only has its flag.
    woken: Option<Arc<Mutex<Vec<usize>>>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Some(woken) = &self.woken
        {
            woken.lock().unwrap_or_else(PoisonError::into_inner).push(self.viewer);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
fn now() -> Instant {
    Instant::now()
}
