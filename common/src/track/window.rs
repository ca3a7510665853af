//! The window of a track: its groups, what they cost, and when they leave.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::log::{Log, SubgroupWriter};
use super::parking::Parking;
use super::{Budget, Cursor, Datagram, End, Header, Limits, Object, Start, SubgroupEnd, WriteError};
use crate::model::Location;

pub(super) fn new(limits: Limits, budget: &Budget) -> (Writer, Track) {
    let shared = Arc::new(Shared {
        limits,
        budget: budget.clone(),
        state: Mutex::default(),
        arrivals: AtomicU64::new(0),
        newest: AtomicU64::new(0),
        end: OnceLock::new(),
        parking: Parking::default(),
    });
    (Writer { shared: shared.clone() }, Track { shared })
}

/// What writer and readers of a track share.
#[derive(Debug)]
pub(super) struct Shared {
    limits: Limits,
    budget: Budget,
    state: Mutex<State>,
    /// Subgroups and datagrams that have come so far: a reader that has seen as many need not lock.
    arrivals: AtomicU64,
    /// The newest group's id plus one; 0 before there is one.
    newest: AtomicU64,
    /// Apart from the state: every reader that waits looks at it, and must not meet the others' lock.
    end: OnceLock<End>,
    pub(super) parking: Parking,
}

#[derive(Debug, Default)]
struct State {
    groups: BTreeMap<u64, Group>,
    /// What the window holds, in the order in which it came.
    items: BTreeMap<u64, Item>,
    /// The largest object written here.
    written: Option<Location>,
    /// The largest object that is known to exist.
    largest: Option<Location>,
    /// Groups below have left the window.
    gone_below: u64,
}

#[derive(Debug)]
struct Group {
    since: Instant,
    logs: Vec<Arc<Log>>,
    logs_cost: Arc<AtomicUsize>,
    /// The objects that came in datagrams.
    datagrams: BTreeSet<u64>,
    datagrams_cost: usize,
    arrivals: Vec<u64>,
}

/// Something that a cursor finds.
#[derive(Debug, Clone)]
pub(super) enum Item {
    Subgroup(Arc<Log>),
    Datagram(Arc<Datagram>),
}

impl Item {
    pub(super) fn group(&self) -> u64 {
        match self {
            Self::Subgroup(log) => log.header.group,
            Self::Datagram(datagram) => datagram.location.group,
        }
    }
}

impl Shared {
    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    pub(super) fn arrivals(&self) -> u64 {
        self.arrivals.load(Ordering::Acquire)
    }

    /// The newest group.
    pub(super) fn newest(&self) -> Option<u64> {
        self.newest.load(Ordering::Acquire).checked_sub(1)
    }

    pub(super) fn end(&self) -> Option<End> {
        self.end.get().copied()
    }

    /// The first item that came at `arrival` or later, with its arrival.
    pub(super) fn item_from(&self, arrival: u64) -> Option<(u64, Item)> {
        self.state().items.range(arrival..).next().map(|(at, item)| (*at, item.clone()))
    }

    /// When the first group newer than `group` began: not always the next one, for groups may come
    /// out of order.
    pub(super) fn newer_since(&self, group: u64) -> Option<Instant> {
        let next = group.checked_add(1)?;
        self.state().groups.range(next..).map(|(_, group)| group.since).min()
    }

    /// Where a cursor starts, given the newest group, and which arrival is the first it wants: a late
    /// joiner need not look through the window.
    pub(super) fn begin(&self, start: impl FnOnce(Option<u64>) -> Location) -> (Location, u64) {
        let state = self.state();
        let from = start(self.newest());
        let arrivals = state.groups.range(from.group..).filter_map(|(_, group)| group.arrivals.first());
        (from, arrivals.copied().min().unwrap_or_else(|| self.arrivals()))
    }

    /// An object was appended: the oldest groups make room for it.
    pub(super) fn wrote(&self, now: Instant, location: Location) {
        let mut state = self.state();
        state.saw(location);
        if self.budget.is_overdrawn() {
            let gone = self.evict(&mut state, now);
            drop(state);
            gone.iter().for_each(|log| log.wake());
        }
    }

    /// Lets groups go: those whose time is over, those over the count, and while the budget is
    /// overdrawn the oldest. Never the newest. Returns the logs whose readers are to be woken.
    fn evict(&self, state: &mut State, now: Instant) -> Vec<Arc<Log>> {
        let mut gone = Vec::new();
        loop {
            let mut oldest = state.groups.iter();
            let (Some((&id, _)), Some((_, next))) = (oldest.next(), oldest.next()) else { return gone };
            let over_count = state.groups.len() > self.limits.groups_max;
            let over_time = now.saturating_duration_since(next.since) > self.limits.window;
            let overdrawn = self.budget.is_overdrawn();
            if !over_count && !over_time && !overdrawn {
                return gone;
            }
            if overdrawn && !over_count && !over_time {
                self.budget.count_eviction();
            }
            gone.extend(self.remove(state, id));
        }
    }

    fn remove(&self, state: &mut State, id: u64) -> Vec<Arc<Log>> {
        let Some(group) = state.groups.remove(&id) else { return Vec::new() };
        for arrival in &group.arrivals {
            state.items.remove(arrival);
        }
        group.logs.iter().for_each(|log| log.evict(&self.budget));
        self.budget.refund(group.datagrams_cost);
        state.gone_below = state.gone_below.max(id.saturating_add(1));
        group.logs
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for group in std::mem::take(&mut self.state().groups).into_values() {
            group.logs.iter().for_each(|log| log.release(&self.budget));
            self.budget.refund(group.datagrams_cost);
        }
    }
}

impl State {
    fn saw(&mut self, location: Location) {
        self.written = self.written.max(Some(location));
        self.largest = self.largest.max(Some(location));
    }

    /// The group, begun now if it is not there.
    fn group(&mut self, now: Instant, id: u64) -> &mut Group {
        self.groups.entry(id).or_insert_with(|| Group {
            since: now,
            logs: Vec::new(),
            logs_cost: Arc::default(),
            datagrams: BTreeSet::new(),
            datagrams_cost: 0,
            arrivals: Vec::new(),
        })
    }
}

/// Writes a track. Dropped without an end, the track is [`End::Abandoned`].
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
}

impl Writer {
    /// Begins a subgroup, or goes on with one that is still open: readers of it notice nothing.
    ///
    /// # Errors
    /// If the subgroup is complete, its group has left the window, or a limit is reached.
    pub fn open(&mut self, now: Instant, header: Header) -> Result<SubgroupWriter, WriteError> {
        let shared = &self.shared;
        let mut state = shared.state();
        let id = header.group;
        if id < state.gone_below {
            return Err(WriteError::TooOld);
        }
        let group = state.group(now, id);
        if let Some(log) = group.logs.iter().find(|log| log.header.subgroup == header.subgroup) {
            if log.is_over() {
                return Err(WriteError::Finished);
            }
            return Ok(SubgroupWriter::new(log.clone(), shared.clone()));
        }
        if group.logs.len() >= shared.limits.subgroups_max {
            return Err(WriteError::TooManyStreams);
        }
        let log = Arc::new(Log::new(header, group.logs_cost.clone(), &shared.budget));
        let arrival = shared.arrivals();
        group.logs.push(log.clone());
        group.arrivals.push(arrival);
        state.items.insert(arrival, Item::Subgroup(log.clone()));
        self.arrived(state, now, id);
        Ok(SubgroupWriter::new(log, shared.clone()))
    }

    /// Writes an object that travels in a datagram; nothing, if it is there already.
    ///
    /// # Errors
    /// If its group has left the window, or a limit is reached.
    pub fn datagram(&mut self, now: Instant, datagram: Datagram) -> Result<(), WriteError> {
        let shared = &self.shared;
        let mut state = shared.state();
        let location = datagram.location;
        if location.group < state.gone_below {
            return Err(WriteError::TooOld);
        }
        let group = state.group(now, location.group);
        if group.datagrams.contains(&location.object) {
            return Ok(());
        }
        if group.datagrams.len() >= shared.limits.datagrams_max {
            return Err(WriteError::TooManyStreams);
        }
        let cost = datagram.payload.len() + datagram.properties.len() + size_of::<Datagram>();
        let arrival = shared.arrivals();
        group.datagrams.insert(location.object);
        group.datagrams_cost += cost;
        group.arrivals.push(arrival);
        state.items.insert(arrival, Item::Datagram(Arc::new(datagram)));
        state.saw(location);
        shared.budget.pay(cost);
        self.arrived(state, now, location.group);
        Ok(())
    }

    /// The publisher says that objects up to here exist, whether they have come or not.
    pub fn observe(&mut self, largest: Location) {
        let mut state = self.shared.state();
        state.largest = state.largest.max(Some(largest));
    }

    /// Where a source that was lost has to begin again: after the last object that was written, or
    /// where a subgroup is still open, with the last object of it. That one is dropped as duplicate,
    /// but with it comes the subgroup's end, which may be all that is missing.
    pub fn next_unseen(&self) -> Option<Location> {
        let state = self.shared.state();
        let written = state.written?;
        let open = state.groups.values().flat_map(|group| &group.logs).filter(|log| !log.is_over());
        let last = open.map(|log| Location::new(log.header.group, log.last_id().unwrap_or(0))).min();
        Some(last.unwrap_or_else(|| Location::new(written.group, written.object.saturating_add(1))))
    }

    /// Ends the track. Readers get what is in its logs, then this.
    pub fn end(self, end: End) {
        self.close(end);
    }

    fn arrived(&self, mut state: MutexGuard<'_, State>, now: Instant, group: u64) {
        self.shared.newest.fetch_max(group.saturating_add(1), Ordering::AcqRel);
        self.shared.arrivals.fetch_add(1, Ordering::AcqRel);
        let gone = self.shared.evict(&mut state, now);
        drop(state);
        self.shared.parking.wake();
        gone.iter().for_each(|log| log.wake());
    }

    fn close(&self, end: End) {
        if self.shared.end.set(end).is_err() {
            return;
        }
        let logs: Vec<_> = self.shared.state().groups.values().flat_map(|group| group.logs.clone()).collect();
        for log in logs {
            log.finish(SubgroupEnd::TrackEnded);
        }
        self.shared.parking.wake();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close(End::Abandoned);
    }
}

/// Reads a track. A cheap handle.
#[derive(Debug, Clone)]
pub struct Track {
    shared: Arc<Shared>,
}

impl Track {
    /// The largest object that is known to exist.
    pub fn largest(&self) -> Option<Location> {
        self.shared.state().largest
    }

    /// Why the track is over, if it is.
    pub fn ended(&self) -> Option<End> {
        self.shared.end()
    }

    /// A cursor that starts there, ends with `end_group` if there is one, and gives up groups that are
    /// later than `latency_max`.
    pub fn cursor(&self, start: Start, end_group: Option<u64>, latency_max: Duration) -> Cursor {
        Cursor::new(self.shared.clone(), start, end_group, latency_max)
    }

    /// The objects in the window from `from` to `to`, both included, by group and object.
    pub fn cached(&self, from: Location, to: Location) -> Vec<Cached> {
        let state = self.shared.state();
        let mut found = Vec::new();
        if from > to {
            return found;
        }
        for (&id, group) in state.groups.range(from.group..=to.group) {
            let wanted = |object: u64| (from..=to).contains(&Location::new(id, object));
            for log in &group.logs {
                for object in log.objects().filter(|object| wanted(object.id)) {
                    let header = &log.header;
                    found.push(Cached {
                        group: id,
                        subgroup: Some(header.subgroup),
                        priority: header.priority,
                        object: object.clone(),
                    });
                }
            }
            for item in group.arrivals.iter().filter_map(|arrival| state.items.get(arrival)) {
                if let Item::Datagram(datagram) = item
                    && wanted(datagram.location.object)
                {
                    found.push(Cached::datagram(datagram));
                }
            }
        }
        found.sort_by_key(|cached| (cached.group, cached.object.id));
        found
    }
}

/// An object of the window, as a FETCH is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cached {
    /// Its group.
    pub group: u64,
    /// Its subgroup; `None` where it came as datagram.
    pub subgroup: Option<u64>,
    /// The publisher's priority; `None` where it is the track's.
    pub priority: Option<u8>,
    /// The object.
    pub object: Object,
}

impl Cached {
    fn datagram(datagram: &Datagram) -> Self {
        Self {
            group: datagram.location.group,
            subgroup: None,
            priority: datagram.priority,
            object: Object {
                id: datagram.location.object,
                status: datagram.status.unwrap_or_default(),
                properties: datagram.properties.clone(),
                payload: datagram.payload.clone(),
                ..Object::default()
            },
        }
    }
}
