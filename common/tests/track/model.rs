//! Random hosts and viewers, compared with a model that is simple enough to be right.
//!
//! The model is a map from (group, subgroup) to what was written there and how it ended. Whatever happens,
//! a stream is a gapless stretch of its subgroup, from where the viewer started; it is cut short only as a
//! whole, with a reason that holds; and who looks often enough misses nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use common::model::Location;
use common::track::{Budget, End, Limits, Pushed, Start, SubgroupEnd};

use crate::audience::{Audience, BUDGET, LATENCY, NEVER_LATE, Stream, StreamEnd, datagram};

/// Worlds of each test. Each prints its seed, and `SEED=n` runs only that one.
const WORLDS: u64 = 60;

/// Things that happen in one world.
const EVENTS: usize = 600;

#[test]
fn who_looks_often_enough_sees_every_object_of_every_group() {
    for seed in seeds() {
        let mut world =
            World::new(seed, Limits { window: NEVER_LATE, groups_max: 10_000, ..limits() }, BUDGET);
        for _ in 0..EVENTS {
            world.something_happens();
            world.room.drive();
        }
        world.end();
        world.check();
        world.nobody_missed_anything();
        world.leaves_nothing_behind();
    }
}

#[test]
fn whoever_sleeps_in_a_small_window_loses_groups_and_never_objects() {
    for seed in seeds() {
        let mut world = World::new(seed, limits(), 40_000);
        for _ in 0..EVENTS {
            world.something_happens();
            world.somebody_falls_asleep_or_wakes_up();
            world.room.drive();
        }
        world.end();
        world.check();
        world.leaves_nothing_behind();
    }
}

fn limits() -> Limits {
    Limits { window: Duration::from_secs(5), groups_max: 8, ..Limits::default() }
}

fn seeds() -> impl Iterator<Item = u64> {
    let only = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    only.map_or(0..WORLDS, |seed| seed..seed + 1).inspect(|seed| println!("SEED={seed}"))
}

/// A track under random use, and the model of it.
struct World {
    room: Audience,
    random: Random,
    groups: BTreeMap<u64, Instant>,
    written: BTreeMap<(u64, u64), Written>,
    datagrams: Vec<Location>,
    joined: Vec<Joined>,
}

/// The model of one subgroup.
#[derive(Default)]
struct Written {
    ids: Vec<u64>,
    end: Option<SubgroupEnd>,
    /// Whether its host is connected.
    held: bool,
}

/// What a viewer asked for, and what there was at that time.
struct Joined {
    from: Location,
    end_group: Option<u64>,
    latency: Duration,
    datagrams_before: usize,
}

impl World {
    fn new(seed: u64, limits: Limits, budget: usize) -> Self {
        Self {
            room: Audience::sharing(limits, &Budget::new(budget)),
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            groups: BTreeMap::new(),
            written: BTreeMap::new(),
            datagrams: Vec::new(),
            joined: Vec::new(),
        }
    }

    fn newest(&self) -> Option<u64> {
        self.groups.keys().next_back().copied()
    }

    fn something_happens(&mut self) {
        match self.random.below(100) {
            0..8 => self.open_group(),
            8..12 => self.open_subgroup(),
            12..72 => self.push(),
            72..77 => self.close(),
            77..82 => self.resume(),
            82..86 => self.datagram(),
            86..92 => self.room.pass(Duration::from_millis(self.random.below(400))),
            _ => self.join(),
        }
    }

    /// Mostly the next group, sometimes one that was left out.
    fn open_group(&mut self) {
        let next = self.newest().map_or(0, |newest| newest + 1);
        let group = match self.random.below(6) {
            0 => next + 1,
            1 => next.saturating_sub(2),
            _ => next,
        };
        self.open(group, 0);
    }

    fn open_subgroup(&mut self) {
        let Some(newest) = self.newest() else { return };
        let subgroup = self.random.below(4);
        self.open(newest, subgroup);
    }

    fn open(&mut self, group: u64, subgroup: u64) {
        let known = self.written.get(&(group, subgroup));
        if known.is_some_and(|known| known.held || known.end.is_some()) {
            return;
        }
        if self.room.open(group, subgroup).is_ok() {
            self.groups.entry(group).or_insert(self.room.now);
            self.written.entry((group, subgroup)).or_default().held = true;
        }
    }

    /// An object, mostly the next one: layers leave ids out, and sources repeat themselves.
    fn push(&mut self) {
        let Some(place) = self.pick(|written| written.held) else { return };
        let last = self.written[&place].ids.last().copied();
        let next = last.map_or(0, |last| last + 1);
        let id = match self.random.below(8) {
            0 => next + self.random.below(3),
            1 => next.saturating_sub(1),
            _ => next,
        };
        let pushed = self.room.push(place.0, place.1, id);
        match pushed {
            Ok(Pushed::New) => self.written.entry(place).or_default().ids.push(id),
            Ok(Pushed::Duplicate) => assert!(Some(id) <= last),
            Err(_) => {}
        }
    }

    fn close(&mut self) {
        let Some(place) = self.pick(|written| written.held) else { return };
        let writer = self.room.take(place.0, place.1);
        let written = self.written.entry(place).or_default();
        written.held = false;
        match self.random.below(4) {
            0 => drop(writer),
            1 => {
                writer.reset(7);
                written.end = Some(SubgroupEnd::Reset(7));
            }
            _ => {
                writer.finish();
                written.end = Some(SubgroupEnd::Finished);
            }
        }
    }

    fn resume(&mut self) {
        if let Some(place) = self.pick(|written| !written.held && written.end.is_none()) {
            self.open(place.0, place.1);
        }
    }

    fn datagram(&mut self) {
        let group = self.newest().map_or(0, |newest| newest + self.random.below(2));
        let location = Location::new(group, 1_000 + self.datagrams.len() as u64);
        let now = self.room.now;
        self.room
            .writer()
            .datagram(now, datagram(location.group, location.object))
            .expect("the newest group takes it");
        self.groups.entry(group).or_insert(now);
        self.datagrams.push(location);
    }

    fn join(&mut self) {
        let newest = self.newest();
        let (start, from) = match self.random.below(3) {
            0 => (Start::Newest, Location::new(newest.unwrap_or(0), 0)),
            1 => (Start::NextGroup, Location::new(newest.map_or(0, |newest| newest + 1), 0)),
            _ => {
                let back = self.random.below(4);
                let from = Location::new(newest.unwrap_or(0).saturating_sub(back), self.random.below(5));
                (Start::At(from), from)
            }
        };
        let end_group = (self.random.below(4) == 0).then(|| from.group + self.random.below(5));
        let latency = if self.random.below(2) == 0 { LATENCY } else { NEVER_LATE };
        self.room.join_with(start, end_group, latency);
        self.joined.push(Joined { from, end_group, latency, datagrams_before: self.datagrams.len() });
    }

    fn somebody_falls_asleep_or_wakes_up(&mut self) {
        let viewers = self.room.viewers.len() as u64;
        if viewers > 0 && self.random.below(4) == 0 {
            let viewer = &mut self.room.viewers[self.random.below(viewers) as usize];
            viewer.asleep = !viewer.asleep;
        }
    }

    /// The host leaves, and everybody looks a last time.
    fn end(&mut self) {
        self.room.writer.take().expect("ended once").end(End::Finished);
        for viewer in &mut self.room.viewers {
            viewer.asleep = false;
        }
        self.room.drive();
    }

    fn pick(&mut self, wanted: impl Fn(&Written) -> bool) -> Option<(u64, u64)> {
        let places: Vec<_> =
            self.written.iter().filter(|(_, w)| wanted(w)).map(|(place, _)| *place).collect();
        let count = places.len() as u64;
        (count > 0).then(|| places[self.random.below(count) as usize])
    }

    /// What holds for everybody, however they slept.
    fn check(&self) {
        for viewer in 0..self.joined.len() {
            let mut found = BTreeSet::new();
            for stream in self.room.seen(viewer) {
                assert!(
                    found.insert((stream.group, stream.subgroup)),
                    "viewer {viewer} got {stream:?} twice"
                );
                self.check_stream(viewer, stream);
            }
            assert_eq!(self.room.viewers[viewer].end, Some(End::Finished), "viewer {viewer}");
        }
    }

    fn check_stream(&self, viewer: usize, stream: &Stream) {
        let joined = &self.joined[viewer];
        assert!(joined.wants(stream.group), "{stream:?}");
        let written = &self.written[&(stream.group, stream.subgroup)];
        let wanted = joined.stretch(stream.group, &written.ids);
        assert!(wanted.starts_with(&stream.ids), "{stream:?} of {:?}", written.ids);
        if stream.starts_at_beginning {
            assert_eq!(wanted, written.ids, "{stream:?}");
        }
        match stream.end.as_ref().expect("the track is over, and with it every stream") {
            StreamEnd::Late(at) => assert!(self.gave_up(viewer, stream.group, *at), "{stream:?}"),
            StreamEnd::Log(SubgroupEnd::Evicted) => assert_ne!(Some(stream.group), self.newest(), "pinned"),
            StreamEnd::Log(end) => {
                assert_eq!(stream.ids, wanted, "{stream:?}");
                assert_eq!(*end, written.end.unwrap_or(SubgroupEnd::TrackEnded), "{stream:?}");
            }
        }
    }

    /// Whether the viewer had reason to give up `group` at that time: it, or one before it, was late.
    fn gave_up(&self, viewer: usize, group: u64, at: Instant) -> bool {
        let latency = self.joined[viewer].latency;
        let is_late = |group: u64| self.groups.range(group + 1..).any(|(_, since)| *since + latency <= at);
        let mut given_up =
            self.room.seen(viewer).iter().filter(|stream| stream.end == Some(StreamEnd::Late(at)));
        given_up.any(|stream| stream.group <= group && is_late(stream.group))
    }

    fn leaves_nothing_behind(self) {
        let budget = self.room.budget.clone();
        drop(self);
        assert_eq!(budget.used(), 0);
    }

    /// What holds for viewers that were never asleep, where nothing leaves the window.
    fn nobody_missed_anything(&self) {
        for (viewer, joined) in
            self.joined.iter().enumerate().filter(|(_, joined)| joined.latency == NEVER_LATE)
        {
            let found: BTreeSet<_> = self.room.seen(viewer).iter().map(|s| (s.group, s.subgroup)).collect();
            for (place, written) in self.written.iter().filter(|(place, _)| joined.wants(place.0)) {
                let nothing_for_them = joined.stretch(place.0, &written.ids).is_empty();
                assert!(found.contains(place) || nothing_for_them, "viewer {viewer} never got {place:?}");
            }
            let got: Vec<_> = self.room.viewers[viewer].datagrams.iter().map(|d| d.location).collect();
            let sent = self.datagrams.iter().enumerate().filter(|(_, at)| joined.wants(at.group));
            let wanted: Vec<_> = sent.filter(|(_, at)| **at >= joined.from).map(|(_, at)| *at).collect();
            assert_eq!(got, wanted, "viewer {viewer}, joined after {}", joined.datagrams_before);
        }
    }
}

impl Joined {
    fn wants(&self, group: u64) -> bool {
        group >= self.from.group && self.end_group.is_none_or(|end| group <= end)
    }

    /// The ids of a subgroup of `group` from the viewer's start on.
    fn stretch(&self, group: u64, ids: &[u64]) -> Vec<u64> {
        let from = if group == self.from.group { self.from.object } else { 0 };
        ids.iter().copied().filter(|id| *id >= from).collect()
    }
}

/// A small generator (xorshift64*): the same world from the same seed on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}
