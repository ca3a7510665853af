//! The tracks of a node: who has them, who wants them, and which namespaces are known.
//!
//! A track is asked of its source once, however many want it ([`Tracks::want`]), and given back when
//! nobody has wanted it for the linger time. A source is whoever announced a namespace (a publishing
//! peer), or the parent, which stands for everything. A track that is published on this node itself
//! ([`Tracks::publish`]) has no source to ask.
//!
//! Nothing here moves objects: entries hold the writer and the reading handle of a track's log, and
//! whoever holds an entry uses them directly.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use crate::model::{FullTrackName, Namespace};
use crate::track::{self, Budget, End, Track};
use crate::wire::properties::Properties;

/// Tracks one node knows at most: 1,000 events of 16 tracks.
pub const TRACKS_MAX: usize = 16_000;

/// Namespaces one node knows at most, each at most 4 KiB: 16,000 are 64 MB in the worst case, and
/// a few hundred KB with event ids.
pub const NAMESPACES_MAX: usize = 16_000;

/// How long a track outlives its lost source: a host that restarts its encoder, or a parent that is
/// restarted, is back by then, and viewers have stayed.
pub const ORPHAN_GRACE: Duration = Duration::from_secs(60);

/// The table of a node's tracks. A cheap handle.
#[derive(Clone)]
pub struct Tracks(Arc<Shared>);

struct Shared {
    limits: track::Limits,
    budget: Budget,
    table: Mutex<Table>,
    namespaces: watch::Sender<Arc<Namespaces>>,
    /// Rises with every change of the table, so that a held request can look again.
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct Table {
    entries: HashMap<FullTrackName, Arc<Entry>>,
    sources: Vec<Source>,
    /// Tracks without a source, each with the end of its grace. Bounded by the entries.
    orphans: Vec<(Arc<Entry>, Instant)>,
    ids: u64,
}

struct Source {
    id: u64,
    namespace: Namespace,
    /// Whether others may be told of the namespace. The parent's is not: it stands for everything.
    told: bool,
    asks: Option<mpsc::Sender<Arc<Entry>>>,
}

/// The namespaces a node knows, each with how many announce it.
pub type Namespaces = BTreeMap<Namespace, usize>;

impl Tracks {
    /// An empty table whose logs keep to `limits` and share `budget`.
    pub fn new(limits: track::Limits, budget: Budget) -> Self {
        Self(Arc::new(Shared {
            limits,
            budget,
            table: Mutex::default(),
            namespaces: watch::Sender::new(Arc::default()),
            changes: watch::Sender::new(0),
        }))
    }

    /// The bytes that all logs of this table may hold, and do.
    pub fn budget(&self) -> &Budget {
        &self.0.budget
    }

    /// How many tracks are known.
    pub fn len(&self) -> usize {
        self.table().entries.len()
    }

    /// Whether no track is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Wants a track: the entry that is there, or a new one asked of its source.
    ///
    /// # Errors
    /// [`Refusal::NoSource`] where nobody could have it, [`Refusal::Full`] where a bound is reached.
    pub fn want(&self, name: &FullTrackName) -> Result<Interest, Refusal> {
        self.want_from(name, None)
    }

    /// As [`Tracks::want`]; where the track is not there yet, it is asked for from the start of this group
    /// on: by a child that has lost its parent, and comes to another one that begins.
    ///
    /// # Errors
    /// As [`Tracks::want`].
    pub fn want_from(&self, name: &FullTrackName, group: Option<u64>) -> Result<Interest, Refusal> {
        let mut table = self.table();
        if let Some(entry) = table.entries.get(name)
            && !entry.is_over()
        {
            return Ok(Interest::new(entry.clone()));
        }
        let Some(source) = table.source_of(name) else {
            return Err(Refusal::NoSource);
        };
        let entry = table.insert(&self.0, name, group)?;
        if source.try_send(entry.clone()).is_err() {
            table.entries.remove(name);
            return Err(Refusal::Full);
        }
        self.0.changed();
        Ok(Interest::new(entry))
    }

    /// The entry of a track that is there already, without asking anybody for it.
    pub fn find(&self, name: &FullTrackName) -> Option<Arc<Entry>> {
        self.table().entries.get(name).filter(|entry| !entry.is_over()).cloned()
    }

    /// Publishes a track on this node: live at once, with these track properties. A track that is there and not over is joined: its log drops duplicates, so
    /// two publishers of the same objects are one track.
    ///
    /// # Errors
    /// [`Refusal::Full`] where the table is.
    pub fn publish(&self, name: &FullTrackName, properties: Properties) -> Result<Arc<Entry>, Refusal> {
        let mut table = self.table();
        let known = table.entries.get(name).filter(|entry| !entry.is_over()).cloned();
        let was_orphan = known.as_ref().is_some_and(|entry| table.take_orphan(entry));
        let entry = match known {
            // Whoever comes with the name of a track whose publisher is lost goes on with it, for its readers'
            // sake. Where there are none, it may as well be another track.
            Some(entry) if was_orphan && entry.interest.load(Ordering::Acquire) == 0 => {
                entry.end(End::Abandoned);
                table.insert(&self.0, name, None)?
            }
            Some(entry) => entry,
            None => table.insert(&self.0, name, None)?,
        };
        drop(table);
        entry.go_live(properties);
        self.0.changed();
        Ok(entry)
    }

    /// Announces that tracks of `namespace` can be had here, from `asks` if they must be asked for,
    /// until the announcement is dropped.
    ///
    /// # Errors
    /// [`Refusal::Full`] where the table is.
    pub fn announce(
        &self,
        namespace: Namespace,
        asks: Option<mpsc::Sender<Arc<Entry>>>,
    ) -> Result<Announcement, Refusal> {
        self.add_source(namespace, true, asks)
    }

    /// Makes `asks` the source of every track that no announced namespace covers better: the parent.
    ///
    /// # Errors
    /// [`Refusal::Full`] where the table is.
    pub fn route_to(&self, asks: mpsc::Sender<Arc<Entry>>) -> Result<Announcement, Refusal> {
        self.add_source(Namespace::default(), false, Some(asks))
    }

    /// The namespaces known now, and every change of them.
    pub fn namespaces(&self) -> watch::Receiver<Arc<Namespaces>> {
        self.0.namespaces.subscribe()
    }

    /// Tells of every change of the table: for requests that wait for a track to appear.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Takes the entry out if nobody has wanted it since `idle_before`; says whether it did.
    ///
    /// For the source, which then gives the track back upstream.
    pub fn release(&self, entry: &Arc<Entry>, idle_before: Instant) -> bool {
        let mut table = self.table();
        let wanted = entry.interest.load(Ordering::Acquire) > 0;
        let idle = !wanted && entry.idle_since().is_some_and(|since| since <= idle_before);
        if idle {
            table.forget(entry);
        }
        idle
    }

    /// The source of these tracks is lost. They stay for [`ORPHAN_GRACE`], so that readers notice
    /// nothing if a source comes back ([`Tracks::adopt`]) or the track is published again.
    pub fn orphan(&self, entries: impl IntoIterator<Item = Arc<Entry>>, now: Instant) {
        let mut table = self.table();
        for entry in entries {
            table.orphans.push((entry, now + ORPHAN_GRACE));
        }
    }

    /// Hands over the orphans below `namespace` that no namespace announced by somebody else covers
    /// better: to be asked for again, from where each log ends.
    pub fn adopt(&self, namespace: &Namespace) -> Vec<Arc<Entry>> {
        let mut table = self.table();
        let orphans = std::mem::take(&mut table.orphans);
        let (ours, others) = orphans.into_iter().partition(|(entry, _)| {
            let fields = namespace.fields().len();
            let better = table.sources.iter().any(|source| {
                source.asks.is_some()
                    && source.namespace.fields().len() > fields
                    && entry.name.namespace().starts_with(&source.namespace)
            });
            entry.name.namespace().starts_with(namespace) && !better
        });
        table.orphans = others;
        Vec::into_iter(ours).map(|(entry, _)| entry).filter(|entry| !entry.is_over()).collect()
    }

    /// Ends the orphans whose time is up. Called about once a second.
    pub fn sweep(&self, now: Instant) {
        let mut table = self.table();
        let orphans = std::mem::take(&mut table.orphans);
        let (over, left) = orphans.into_iter().partition(|(_, until)| *until <= now);
        table.orphans = left;
        drop(table);
        for (entry, _) in Vec::into_iter(over) {
            self.end(&entry, End::Abandoned);
        }
    }

    /// Takes the entry out because its source refuses it or has lost it for good, and tells those
    /// who want it.
    pub fn fail(&self, entry: &Arc<Entry>, refusal: Refusal) {
        self.table().forget(entry);
        entry.state.send_if_modified(|state| {
            let open = matches!(state, State::Asked);
            if open {
                *state = State::Refused(refusal);
            }
            open
        });
        entry.end(End::Abandoned);
        self.0.changed();
    }

    /// Ends a track: those who read it get all that is in its log, then `end`.
    pub fn end(&self, entry: &Arc<Entry>, end: End) {
        self.table().forget(entry);
        entry.end(end);
        self.0.changed();
    }

    fn add_source(
        &self,
        namespace: Namespace,
        told: bool,
        asks: Option<mpsc::Sender<Arc<Entry>>>,
    ) -> Result<Announcement, Refusal> {
        let mut table = self.table();
        if table.sources.len() >= NAMESPACES_MAX {
            return Err(Refusal::Full);
        }
        table.ids += 1;
        let id = table.ids;
        table.sources.push(Source { id, namespace, told, asks });
        self.tell(&table);
        drop(table);
        self.0.changed();
        Ok(Announcement { tracks: self.clone(), id })
    }

    fn remove_source(&self, id: u64) {
        let mut table = self.table();
        table.sources.retain(|source| source.id != id);
        self.tell(&table);
    }

    fn tell(&self, table: &Table) {
        let mut namespaces = Namespaces::new();
        for source in table.sources.iter().filter(|source| source.told) {
            *namespaces.entry(source.namespace.clone()).or_default() += 1;
        }
        self.0.namespaces.send_if_modified(|known| {
            let differs = **known != namespaces;
            if differs {
                *known = Arc::new(namespaces);
            }
            differs
        });
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tracks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracks").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Shared {
    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

impl Table {
    fn insert(
        &mut self,
        shared: &Shared,
        name: &FullTrackName,
        from: Option<u64>,
    ) -> Result<Arc<Entry>, Refusal> {
        if self.entries.len() >= TRACKS_MAX {
            return Err(Refusal::Full);
        }
        self.ids += 1;
        let (writer, track) = track::new(shared.limits.clone(), &shared.budget);
        let entry = Arc::new(Entry {
            name: name.clone(),
            alias: self.ids,
            track,
            writer: Mutex::new(Some(writer)),
            from,
            state: watch::Sender::new(State::Asked),
            interest: AtomicU64::new(0),
            idle_since: Mutex::new(None),
        });
        self.entries.insert(name.clone(), entry.clone());
        Ok(entry)
    }

    /// The source whose namespace covers the track best; among equals the newest, because a host that
    /// reconnects is announced twice until its lost session ends.
    fn source_of(&self, name: &FullTrackName) -> Option<mpsc::Sender<Arc<Entry>>> {
        self.sources
            .iter()
            .filter(|source| name.namespace().starts_with(&source.namespace))
            .filter_map(|source| source.asks.as_ref().map(|asks| (source, asks)))
            .max_by_key(|(source, _)| (source.namespace.fields().len(), source.id))
            .map(|(_, asks)| asks.clone())
    }

    /// Whether the entry was an orphan, which it is not any more.
    fn take_orphan(&mut self, entry: &Arc<Entry>) -> bool {
        let before = self.orphans.len();
        self.orphans.retain(|(orphan, _)| !Arc::ptr_eq(orphan, entry));
        self.orphans.len() < before
    }

    fn forget(&mut self, entry: &Arc<Entry>) {
        if self.entries.get(&entry.name).is_some_and(|known| Arc::ptr_eq(known, entry)) {
            self.entries.remove(&entry.name);
        }
    }
}

/// One track of a node.
pub struct Entry {
    name: FullTrackName,
    alias: u64,
    track: Track,
    writer: Mutex<Option<track::Writer>>,
    from: Option<u64>,
    state: watch::Sender<State>,
    interest: AtomicU64,
    idle_since: Mutex<Option<Instant>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Asked,
    Live(Properties),
    Refused(Refusal),
}

impl Entry {
    /// The track's name.
    pub fn name(&self) -> &FullTrackName {
        &self.name
    }

    /// The alias under which this node serves the track, to everybody: so that stream headers are
    /// the same bytes for every viewer.
    pub fn alias(&self) -> u64 {
        self.alias
    }

    /// The reading side of the log.
    pub fn track(&self) -> &Track {
        &self.track
    }

    /// The group from whose start on it is to be asked for; `None` for the newest.
    pub fn from(&self) -> Option<u64> {
        self.from
    }

    /// The track's properties as its publisher gave them, once it is live.
    pub fn properties(&self) -> Option<Properties> {
        match &*self.state.borrow() {
            State::Live(properties) => Some(properties.clone()),
            State::Asked | State::Refused(_) => None,
        }
    }

    /// The writing side of the log: `None` once the track has ended.
    pub fn writer(&self) -> MutexGuard<'_, Option<track::Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The source has accepted: whoever waits can start. Later calls replace the properties.
    pub fn go_live(&self, properties: Properties) {
        self.state.send_replace(State::Live(properties));
    }

    /// Since when nobody wants the track.
    pub fn idle_since(&self) -> Option<Instant> {
        *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.writer().is_none() || matches!(*self.state.borrow(), State::Refused(_))
    }

    fn end(&self, end: End) {
        let writer = self.writer().take();
        if let Some(writer) = writer {
            writer.end(end);
        }
    }

    fn set_idle(&self, since: Option<Instant>) {
        *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("name", &self.name).field("alias", &self.alias).finish_non_exhaustive()
    }
}

/// Somebody wants a track, for as long as this is held.
#[derive(Debug)]
pub struct Interest {
    entry: Arc<Entry>,
}

impl Interest {
    fn new(entry: Arc<Entry>) -> Self {
        entry.interest.fetch_add(1, Ordering::AcqRel);
        entry.set_idle(None);
        Self { entry }
    }

    /// The entry.
    pub fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// Waits until the track is live or refused.
    ///
    /// # Errors
    /// What the source said when it refused.
    pub async fn ready(&self) -> Result<(), Refusal> {
        let mut state = self.entry.state.subscribe();
        let decided = state.wait_for(|state| !matches!(state, State::Asked)).await;
        match decided.as_deref() {
            Ok(State::Refused(refusal)) => Err(refusal.clone()),
            Ok(_) => Ok(()),
            Err(_) => Err(Refusal::NoSource),
        }
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        if self.entry.interest.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.entry.set_idle(Some(super::now()));
            // Somebody may have come between the count and the note.
            if self.entry.interest.load(Ordering::Acquire) > 0 {
                self.entry.set_idle(None);
            }
        }
    }
}

/// A namespace is announced, or the parent is the way to everything, for as long as this is held.
#[derive(Debug)]
pub struct Announcement {
    tracks: Tracks,
    id: u64,
}

impl Drop for Announcement {
    fn drop(&mut self) {
        self.tracks.remove_source(self.id);
    }
}

/// Why a track cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Nobody has announced the namespace, and there is no parent to ask.
    #[error("no publisher has announced this track")]
    NoSource,
    /// This node's table or its source's queue is full.
    #[error("this node holds as many tracks as it may")]
    Full,
    /// The source did not answer in time.
    #[error("the publisher did not answer within {0:?}")]
    TimedOut(Duration),
    /// The source said no: its code and reason, passed on.
    #[error("the publisher refused: {reason} (code {code:#x})")]
    Upstream {
        /// REQUEST_ERROR code.
        code: u64,
        /// The reason it gave.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::track::Limits;

    fn tracks() -> Tracks {
        Tracks::new(Limits::default(), Budget::new(1 << 20))
    }

    fn name(event: &str) -> FullTrackName {
        FullTrackName::new(Namespace::event(event).unwrap(), "video/source").unwrap()
    }

    fn later() -> Instant {
        super::super::now() + Duration::from_secs(1)
    }

    #[test]
    fn a_track_is_asked_of_its_source_once_however_many_want_it() {
        let tracks = tracks();
        assert_eq!(tracks.want(&name("hall")).unwrap_err(), Refusal::NoSource);
        let (asks, mut asked) = mpsc::channel(4);
        let _parent = tracks.route_to(asks).unwrap();
        let wanted: Vec<_> = (0..100).map(|_| tracks.want(&name("hall")).unwrap()).collect();
        let entry = asked.try_recv().unwrap();
        assert_eq!(entry.name(), &name("hall"));
        assert!(asked.try_recv().is_err(), "asked twice");
        assert!(wanted.iter().all(|interest| Arc::ptr_eq(interest.entry(), &entry)));
    }

    #[test]
    fn a_track_is_given_back_only_when_nobody_wants_it() {
        let tracks = tracks();
        let (asks, mut asked) = mpsc::channel(4);
        let _parent = tracks.route_to(asks).unwrap();
        let first = tracks.want(&name("hall")).unwrap();
        let second = tracks.want(&name("hall")).unwrap();
        let entry = asked.try_recv().unwrap();
        drop(first);
        assert!(!tracks.release(&entry, later()), "the second still wants it");
        drop(second);
        assert!(!tracks.release(&entry, entry.idle_since().unwrap() - Duration::from_secs(1)), "it lingers");
        assert!(tracks.release(&entry, later()));
        assert!(tracks.is_empty());
    }

    #[tokio::test]
    async fn who_waits_hears_what_the_source_said() {
        let tracks = tracks();
        let (asks, mut asked) = mpsc::channel(4);
        let _parent = tracks.route_to(asks).unwrap();
        let good = tracks.want(&name("good")).unwrap();
        asked.recv().await.unwrap().go_live(Properties::decode(Bytes::from_static(&[0x0e, 5])).unwrap());
        assert_eq!(good.ready().await, Ok(()));
        assert_eq!(good.entry().properties().unwrap().bytes()[..], [0x0e, 5]);

        let bad = tracks.want(&name("bad")).unwrap();
        let refusal = Refusal::Upstream { code: 0x10, reason: "not here".into() };
        tracks.fail(&asked.recv().await.unwrap(), refusal.clone());
        assert_eq!(bad.ready().await, Err(refusal));
        assert!(tracks.find(&name("bad")).is_none(), "a later request asks again");
    }

    #[test]
    fn a_host_that_comes_back_finds_its_readers() {
        let tracks = tracks();
        let entry = tracks.publish(&name("hall"), Properties::default()).unwrap();
        let reader = tracks.want(&name("hall")).unwrap();
        let start = later();
        tracks.orphan([entry.clone()], start);
        tracks.sweep(start + ORPHAN_GRACE - Duration::from_secs(1));
        let back = tracks.publish(&name("hall"), Properties::default()).unwrap();
        assert!(Arc::ptr_eq(&entry, &back));
        tracks.sweep(start + ORPHAN_GRACE);
        assert_eq!(reader.entry().track().ended(), None, "it is no orphan any more");

        tracks.orphan([back], start);
        tracks.sweep(start + ORPHAN_GRACE);
        assert_eq!(reader.entry().track().ended(), Some(End::Abandoned));
        assert!(tracks.find(&name("hall")).is_none());
    }

    #[test]
    fn the_closest_and_newest_source_is_asked() {
        let tracks = tracks();
        let (parent, mut of_parent) = mpsc::channel(4);
        let (old, mut of_old) = mpsc::channel(4);
        let (new, mut of_new) = mpsc::channel(4);
        let _parent = tracks.route_to(parent).unwrap();
        let hall = Namespace::event("hall").unwrap();
        let _old = tracks.announce(hall.clone(), Some(old)).unwrap();
        let newer = tracks.announce(hall.clone(), Some(new)).unwrap();
        let _wanted = tracks.want(&name("hall")).unwrap();
        assert!(of_new.try_recv().is_ok() && of_old.try_recv().is_err() && of_parent.try_recv().is_err());
        assert_eq!(tracks.namespaces().borrow().get(&hall), Some(&2), "the parent's route is not told");
        drop(newer);
        assert_eq!(tracks.namespaces().borrow().get(&hall), Some(&1));
    }
}
