//! One event on its way from its host to its tracks.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use common::model::{
    FullTrackName, NameError, Namespace, ObjectStatus, PROPERTY_CAPTURE_TIME, PROPERTY_PAYLOAD_HASH,
};
use common::net::metrics::{IngestMetrics, Metrics};
use common::net::tracks::{Announcement, Entry, Refusal, Tracks};
use common::net::{framing, now};
use common::track::{Header, SubgroupWriter, WriteError};
use common::wire::DecodeError;
use common::wire::properties::{Properties, Value};
use tokio::time::sleep_until;

use crate::ingest::{EventId, Feed};
use crate::media::Fact;
use crate::media::catalog;
use crate::media::packager::{AUDIO, Output, Packager, Settings, VIDEO};

/// DEFAULT_PUBLISHER_PRIORITY (draft-ietf-moq-transport-18, 12.4).
const DEFAULT_PRIORITY: u64 = 0x0e;

/// Who has to choose sends the catalog first, then sound, then the picture: without a catalog there is
/// nothing, and people bear a frozen picture but no holes in a voice.
const PRIORITIES: [(&str, u8); 3] = [(catalog::TRACK, 16), (AUDIO, 32), (VIDEO, 64)];

/// The bytes of a SHA-256 that travel with an object.
const HASH_BYTES: usize = 16;

/// How often a host is told the same.
const ADVICE_INTERVAL: Duration = Duration::from_secs(60);

/// An event that is open for its host.
pub(crate) struct Broadcast {
    feed: Feed,
    packager: Packager,
    tracks: Vec<TrackWriter>,
    probe: bool,
    metrics: Metrics,
    ingest: IngestMetrics,
    advised: Option<Instant>,
    // Viewers find the event for as long as this is held.
    _announcement: Announcement,
}

/// Why an event cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Tracks(#[from] Refusal),
    #[error(transparent)]
    Properties(#[from] DecodeError),
}

/// One track, and the group that is being written.
struct TrackWriter {
    name: &'static str,
    entry: Arc<Entry>,
    group: u64,
    subgroup: Option<SubgroupWriter>,
}

impl Broadcast {
    /// Opens an event's tracks. They are there from now on, so viewers may wait for the host. `probe` puts
    /// capture time and hash into every object.
    pub(crate) fn open(
        feed: Feed,
        settings: Settings,
        probe: bool,
        tracks: &Tracks,
        metrics: Metrics,
        ingest: IngestMetrics,
    ) -> Result<Self, OpenError> {
        let namespace = Namespace::event(feed.event().as_str())?;
        let mut writers = Vec::new();
        for (name, priority) in PRIORITIES {
            let properties = Properties::new([(DEFAULT_PRIORITY, Value::Number(priority.into()))])?;
            let entry = tracks.publish(&FullTrackName::new(namespace.clone(), name)?, properties)?;
            writers.push(TrackWriter { name, entry, group: first_group(), subgroup: None });
        }
        let announcement = tracks.announce(namespace, None)?;
        let packager = Packager::new(settings);
        let (tracks, advised) = (writers, None);
        Ok(Self { feed, packager, tracks, probe, metrics, ingest, advised, _announcement: announcement })
    }

    /// Publishes what the host sends, until the future is dropped.
    pub(crate) async fn run(mut self) {
        loop {
            let due = self.packager.poll_timeout();
            tokio::select! {
                input = self.feed.recv() => self.packager.handle(now(), input),
                () = wait_until(due) => self.packager.handle_timeout(now()),
            }
            while let Some(output) = self.packager.poll() {
                match output {
                    Output::Object { track, starts_group, payload } => {
                        self.publish(track, starts_group, payload)
                    }
                    Output::Fact(fact) => self.note(fact),
                }
            }
        }
    }

    fn publish(&mut self, track: &str, starts_group: bool, payload: Bytes) {
        let Some(writer) = self.tracks.iter_mut().find(|writer| writer.name == track) else { return };
        let properties = if self.probe { probe_properties(&payload) } else { Properties::default() };
        let bytes = payload.len() as u64;
        match writer.write(starts_group, self.probe, &properties, payload) {
            Ok(()) => self.metrics.received(bytes),
            Err(error) => {
                tracing::warn!(event = %self.feed.event(), track, %error, "object not published");
                // What follows in this group could not be decoded without it.
                writer.subgroup = None;
            }
        }
    }

    fn note(&mut self, fact: Fact) {
        let event = self.feed.event().as_str();
        match fact {
            Fact::Gop { seconds, .. } => self.ingest.gop_seconds.with_label_values(&[event]).set(seconds),
            Fact::Reorder { frames } => {
                self.ingest.reorder_frames.with_label_values(&[event]).set(frames.into());
            }
            Fact::FillerStripped { bytes } => self.ingest.filler_bytes.inc_by(bytes),
            Fact::Discontinuity { cause } => {
                self.ingest.discontinuities.with_label_values(&[cause]).inc();
                tracing::info!(event, cause, "the stream is interrupted");
            }
            Fact::Dropped { what } => self.ingest.dropped.with_label_values(&[what]).inc(),
        }
        if let Some(advice) = fact.advice() {
            self.advise(&advice);
        }
    }

    fn advise(&mut self, advice: &str) {
        let now = now();
        if self.advised.is_none_or(|at| now.duration_since(at) >= ADVICE_INTERVAL) {
            self.advised = Some(now);
            tracing::warn!(event = %self.feed.event(), "{advice}");
        }
    }

    pub(crate) fn event(&self) -> &EventId {
        self.feed.event()
    }
}

impl TrackWriter {
    fn write(
        &mut self,
        starts_group: bool,
        has_properties: bool,
        properties: &Properties,
        payload: Bytes,
    ) -> Result<(), WriteError> {
        if starts_group {
            if let Some(complete) = self.subgroup.take() {
                complete.finish();
            }
            self.group += 1;
            self.subgroup = Some(self.open(has_properties)?);
        }
        // Before the first group there is nothing to add to; the packager does not do it.
        let Some(subgroup) = &mut self.subgroup else { return Err(WriteError::Finished) };
        let previous = subgroup.last_id();
        let id = previous.map_or(0, |last| last + 1);
        let properties = properties.bytes().clone();
        let object = framing::object(previous, id, has_properties, properties, ObjectStatus::Normal, payload);
        subgroup.push(now(), object).map(drop)
    }

    fn open(&self, has_properties: bool) -> Result<SubgroupWriter, WriteError> {
        let header = Header {
            group: self.group,
            end_of_group: true,
            first_object: true,
            has_properties,
            ..Header::default()
        };
        let header = framing::header(self.entry.alias(), header);
        self.entry.writer().as_mut().map_or(Err(WriteError::Finished), |writer| writer.open(now(), header))
    }
}

/// The group before the first: the time in milliseconds, so that after a restart of the origin groups go on
/// above those that nodes and viewers have seen. None is shorter than a millisecond.
fn first_group() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(0)
}

/// When this object was complete, and what it has to be.
fn probe_properties(payload: &[u8]) -> Properties {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let micros = u64::try_from(since.as_micros()).unwrap_or(0);
    let hash = Bytes::copy_from_slice(&digest(&SHA256, payload).as_ref()[..HASH_BYTES]);
    // Two short pairs break no limit.
    Properties::new([
        (PROPERTY_CAPTURE_TIME, Value::Number(micros)),
        (PROPERTY_PAYLOAD_HASH, Value::Bytes(hash)),
    ])
    .unwrap_or_default()
}

async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
