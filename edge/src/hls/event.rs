//! One event that somebody watches: its tracks are read into its channel, and those who wait are told.

use std::collections::HashMap;
use std::future::{pending, poll_fn};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use common::model::{FullTrackName, Namespace, PROPERTY_CAPTURE_TIME};
use common::net::tracks::{Interest, Tracks};
use common::track::{End, Object};
use common::wire::properties::Properties;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::channel::{Answer, Channel, Input, Output};
use super::reader::{Sight, TrackReader};
use super::request::Request;
use super::{Settings, catalog};

/// How long an event is read that nobody asks for: a viewer in a tunnel comes back to a full playlist.
const IDLE: Duration = Duration::from_secs(30);

/// How long until a catalog that is not there is asked for again.
const RETRY: Duration = Duration::from_secs(1);

/// How long the last objects may take when the catalog has ended.
const LAST_OBJECTS: Duration = Duration::from_secs(2);

/// Groups of the past to begin with: players hold back 3 s, and start the sooner the more is there.
const GROUPS_BEFORE: u64 = 3;

/// An event, shared by its task and by those who ask.
#[derive(Debug)]
pub(super) struct Event {
    settings: Settings,
    state: Mutex<State>,
    closing: Notify,
}

#[derive(Debug)]
struct State {
    channel: Channel,
    /// Who waits for what: told by losing the other end. At most one for each rendition, and one.
    waiting: HashMap<Output, watch::Sender<()>>,
    asked: Instant,
    /// Nobody has a catalog.
    is_absent: bool,
    /// The task has ended.
    is_closed: bool,
}

impl Event {
    pub(super) fn new(settings: Settings) -> Self {
        let state = State {
            channel: Channel::new(settings.clone()),
            waiting: HashMap::new(),
            asked: Instant::now(),
            is_absent: false,
            is_closed: false,
        };
        Self { settings, state: Mutex::new(state), closing: Notify::new() }
    }

    /// The answer, or what has to change first.
    pub(super) fn ask(&self, request: &Request) -> Result<Answer, watch::Receiver<()>> {
        let mut state = self.state();
        state.asked = Instant::now();
        match state.channel.ask(request) {
            Answer::Wait(_) if state.is_closed => Ok(Answer::Missing),
            Answer::Wait(Output::Event) if state.is_absent => Ok(Answer::Missing),
            Answer::Wait(what) => {
                Err(state.waiting.entry(what).or_insert_with(|| watch::Sender::new(())).subscribe())
            }
            answer => Ok(answer),
        }
    }

    /// Whether this event is no longer read.
    pub(super) fn is_closed(&self) -> bool {
        self.state().is_closed
    }

    /// Ends the reading.
    pub(super) fn close(&self) {
        self.closing.notify_one();
    }

    /// Whether nobody has what it would read.
    pub(super) fn is_absent(&self) -> bool {
        self.state().is_absent
    }

    /// Reads the event until nobody has asked for it for a while.
    pub(super) async fn run(self: Arc<Self>, tracks: Tracks, namespace: Namespace) {
        let read = async {
            loop {
                self.read(&tracks, &namespace).await;
                sleep(RETRY).await;
            }
        };
        tokio::select! {
            () = self.idle() => {}
            () = self.closing.notified() => {}
            () = read => {}
        }
        self.change(|state| {
            state.channel = Channel::new(self.settings.clone());
            state.is_closed = true;
        });
    }

    async fn idle(&self) {
        loop {
            let until = self.state().asked + IDLE;
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }

    /// Reads the event as long as there is a catalog.
    async fn read(&self, tracks: &Tracks, namespace: &Namespace) {
        let Some(interest) = want(tracks, namespace, catalog::TRACK) else { return self.miss() };
        if interest.ready().await.is_err() {
            return self.miss();
        }
        let catalog = TrackReader::new(interest, 0);
        let mut reading = Reading { tracks, namespace, catalog, last: Bytes::new(), media: Vec::new() };
        if reading.run(self).await == End::Finished {
            self.handle(Input::End);
        } else {
            self.miss();
        }
    }

    fn miss(&self) {
        self.change(|state| state.is_absent = true);
    }

    fn begin(&self) {
        self.change(|state| {
            state.is_absent = false;
            if state.channel.is_over() {
                state.channel = Channel::new(self.settings.clone());
            }
        });
    }

    fn handle(&self, input: Input) {
        self.change(|state| {
            if let Err(error) = state.channel.handle(input) {
                tracing::debug!(%error, "dropped from HLS");
            }
        });
    }

    /// Changes the state, and tells those who wait once the lock is released.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        let mut told = Vec::new();
        while let Some(output) = state.channel.poll() {
            told.extend(state.waiting.remove(&output));
        }
        if state.is_absent || state.is_closed {
            told.extend(state.waiting.drain().map(|(_, waiting)| waiting));
        }
        drop(state);
        drop(told);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tracks of an event as they are read.
struct Reading<'a> {
    tracks: &'a Tracks,
    namespace: &'a Namespace,
    catalog: TrackReader,
    /// The catalog as it was last.
    last: Bytes,
    media: Vec<(String, TrackReader)>,
}

/// What was seen: of the catalog, or of the track at this place.
enum Seen {
    Catalog(Sight),
    Media(usize, Sight),
}

impl Reading<'_> {
    /// Reads until the catalog ends, and the tracks with it.
    async fn run(&mut self, event: &Event) -> End {
        let end = loop {
            match self.next().await {
                Seen::Catalog(Sight::Object { object, .. }) => self.on_catalog(event, object.payload),
                Seen::Catalog(Sight::End(end)) => break end,
                Seen::Media(at, sight) => self.on_media(event, at, sight),
            }
        };
        let rest = async {
            while !self.media.is_empty() {
                if let Seen::Media(at, sight) = self.next_media().await {
                    self.on_media(event, at, sight);
                }
            }
        };
        // What is late then is not waited for.
        let _ = timeout(LAST_OBJECTS, rest).await;
        end
    }

    fn on_catalog(&mut self, event: &Event, payload: Bytes) {
        let tracks = match catalog::read(&payload) {
            Ok(tracks) => tracks,
            Err(error) => return tracing::debug!(%error, "a catalog cannot be read"),
        };
        // A track that has ended but is still listed is asked for again with each catalog.
        for track in &tracks {
            let is_read = self.media.iter().any(|(name, _)| *name == track.name);
            if !is_read && let Some(interest) = want(self.tracks, self.namespace, &track.name) {
                self.media.push((track.name.clone(), TrackReader::new(interest, GROUPS_BEFORE)));
            }
        }
        self.media.retain(|(name, _)| tracks.iter().any(|track| track.name == *name));
        if payload != self.last {
            // An event that was over and has tracks again is another one.
            if self.last.is_empty() {
                event.begin();
            }
            self.last = payload;
            event.handle(Input::Tracks(tracks));
        }
    }

    fn on_media(&mut self, event: &Event, at: usize, sight: Sight) {
        match sight {
            Sight::Object { starts_group, lost, object } => {
                let Some((track, _)) = self.media.get(at) else { return };
                let (track, wall) = (track.clone(), captured(&object));
                event.handle(Input::Object { track, starts_group, lost, wall, payload: object.payload });
            }
            Sight::End(_) => {
                self.media.remove(at);
            }
        }
    }

    async fn next(&mut self) -> Seen {
        self.when(|reading, cx| match reading.catalog.poll_next(cx) {
            Poll::Ready(sight) => Poll::Ready(Seen::Catalog(sight)),
            Poll::Pending => reading.poll_media(cx),
        })
        .await
    }

    async fn next_media(&mut self) -> Seen {
        self.when(Self::poll_media).await
    }

    /// Polls when something has come, and when something is late.
    async fn when(&mut self, mut poll: impl FnMut(&mut Self, &Context<'_>) -> Poll<Seen>) -> Seen {
        loop {
            let readers = self.media.iter().map(|(_, reader)| reader).chain([&self.catalog]);
            let late = readers.filter_map(TrackReader::poll_timeout).min();
            let late = async move {
                match late {
                    Some(at) => sleep_until(at.into()).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                seen = poll_fn(|cx| poll(self, cx)) => return seen,
                () = late => {}
            }
        }
    }

    fn poll_media(&mut self, cx: &Context<'_>) -> Poll<Seen> {
        for (at, (_, reader)) in self.media.iter_mut().enumerate() {
            if let Poll::Ready(sight) = reader.poll_next(cx) {
                return Poll::Ready(Seen::Media(at, sight));
            }
        }
        Poll::Pending
    }
}

fn want(tracks: &Tracks, namespace: &Namespace, name: &str) -> Option<Interest> {
    let name = FullTrackName::new(namespace.clone(), name.to_owned()).ok()?;
    tracks.want(&name).ok()
}

/// When the origin had the object, if it says so, and else when it came.
fn captured(object: &Object) -> Duration {
    let properties = Properties::decode(object.properties.clone()).ok();
    let said = properties.and_then(|properties| properties.number(PROPERTY_CAPTURE_TIME));
    said.map_or_else(
        || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        Duration::from_micros,
    )
}
