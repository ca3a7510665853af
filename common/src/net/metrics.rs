//! Every metric that a node shows: name, unit and meaning, in one place.
//!
//! Names follow Prometheus's conventions: `stentor_`, base units, `_total` for counters. No label has a
//! viewer, an address or a free text in it, so the number of series does not grow with the audience.

use prometheus::{GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::track::WriteError;

/// What any node counts.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// `stentor_sessions{role}`.
    pub(super) sessions: IntGaugeVec,
    /// `stentor_sessions_ended_total{cause}`.
    pub(super) sessions_ended: IntCounterVec,
    /// `stentor_arrivals_refused_total{reason}`.
    pub(super) arrivals_refused: IntCounterVec,
    /// `stentor_requests_refused_total{code}`.
    pub(super) requests_refused: IntCounterVec,
    /// `stentor_subscriptions`.
    pub(super) subscriptions: IntGauge,
    /// `stentor_objects_received_total`.
    objects_received: IntCounter,
    /// `stentor_object_bytes_received_total`.
    object_bytes_received: IntCounter,
    /// `stentor_objects_duplicate_total`.
    pub(super) objects_duplicate: IntCounter,
    /// `stentor_objects_refused_total{reason}`.
    objects_refused: IntCounterVec,
    /// `stentor_objects_sent_total`.
    objects_sent: IntCounter,
    /// `stentor_object_bytes_sent_total`.
    object_bytes_sent: IntCounter,
    /// `stentor_stream_bytes_sent_total`.
    pub(super) stream_bytes_sent: IntCounter,
    /// `stentor_udp_bytes_received_total`.
    pub(super) udp_bytes_received: IntCounter,
    /// `stentor_udp_bytes_sent_total`.
    pub(super) udp_bytes_sent: IntCounter,
    /// `stentor_groups_skipped_total`.
    pub(super) groups_skipped: IntCounter,
    /// `stentor_tracks`.
    pub(super) tracks: IntGauge,
    /// `stentor_namespaces`.
    pub(super) namespaces: IntGauge,
    /// `stentor_cache_bytes`.
    pub(super) cache_bytes: IntGauge,
    /// `stentor_upstream_up`.
    pub(super) upstream_up: IntGauge,
    /// `stentor_upstream_dials_total{outcome}`.
    pub(super) upstream_dials: IntCounterVec,
    /// `stentor_upstream_subscriptions_total{kind}`.
    pub(super) upstream_subscriptions: IntCounterVec,
}

impl Metrics {
    /// Declares them all in a registry.
    ///
    /// # Errors
    /// If the registry has metrics of these names.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let declare = Declare(registry);
        Ok(Self {
            sessions: declare.gauges(
                "stentor_sessions",
                "MoQT sessions that are open, by the peer's role.",
                &["role"],
            )?,
            sessions_ended: declare.counters(
                "stentor_sessions_ended_total",
                "MoQT sessions that have ended, by what ended them.",
                &["cause"],
            )?,
            arrivals_refused: declare.counters(
                "stentor_arrivals_refused_total",
                "Peers that did not get as far as a session, or were not let in, by reason.",
                &["reason"],
            )?,
            requests_refused: declare.counters(
                "stentor_requests_refused_total",
                "Requests of peers that were refused, by MoQT's name for the code.",
                &["code"],
            )?,
            subscriptions: declare
                .gauge("stentor_subscriptions", "Tracks being sent, counted once for each peer.")?,
            objects_received: declare.counter("stentor_objects_received_total", "Objects taken in.")?,
            object_bytes_received: declare
                .counter("stentor_object_bytes_received_total", "Bytes of payload of objects taken in.")?,
            objects_duplicate: declare
                .counter("stentor_objects_duplicate_total", "Objects that came again and were dropped.")?,
            objects_refused: declare.counters(
                "stentor_objects_refused_total",
                "Objects that were not taken in, by the limit they passed.",
                &["reason"],
            )?,
            objects_sent: declare
                .counter("stentor_objects_sent_total", "Objects sent, counted once for each peer.")?,
            object_bytes_sent: declare
                .counter("stentor_object_bytes_sent_total", "Bytes of payload of objects sent.")?,
            stream_bytes_sent: declare.counter(
                "stentor_stream_bytes_sent_total",
                "Bytes that data streams have taken, framing included.",
            )?,
            udp_bytes_received: declare.counter(
                "stentor_udp_bytes_received_total",
                "Bytes of UDP payload received in sessions, brought up to date every second.",
            )?,
            udp_bytes_sent: declare.counter(
                "stentor_udp_bytes_sent_total",
                "Bytes of UDP payload sent in sessions, brought up to date every second.",
            )?,
            groups_skipped: declare.counter(
                "stentor_groups_skipped_total",
                "Groups given up for a peer that could not keep up, counted once for each peer.",
            )?,
            tracks: declare.gauge("stentor_tracks", "Tracks that this node has.")?,
            namespaces: declare.gauge("stentor_namespaces", "Namespaces that are announced here.")?,
            cache_bytes: declare.gauge("stentor_cache_bytes", "Bytes that the tracks keep.")?,
            upstream_up: declare.gauge(
                "stentor_upstream_up",
                "1 while there is a session with the parent, 0 while there is none.",
            )?,
            upstream_dials: declare.counters(
                "stentor_upstream_dials_total",
                "Attempts to reach a parent, by outcome.",
                &["outcome"],
            )?,
            upstream_subscriptions: declare.counters(
                "stentor_upstream_subscriptions_total",
                "Tracks asked of a source: new ones, and those resumed after the source was lost.",
                &["kind"],
            )?,
        })
    }

    /// An object has been taken in.
    pub fn received(&self, payload_bytes: u64) {
        self.objects_received.inc();
        self.object_bytes_received.inc_by(payload_bytes);
    }

    pub(super) fn objects_refused(&self, error: WriteError) {
        let reason = match error {
            WriteError::Finished => "finished",
            WriteError::TooOld => "old",
            WriteError::TooManyStreams => "streams",
            WriteError::TooManyObjects => "objects",
            WriteError::TooManyBytes => "group_bytes",
            WriteError::TooLarge(_) => "object_bytes",
        };
        self.objects_refused.with_label_values(&[reason]).inc();
    }

    pub(super) fn sent(&self, payload_bytes: u64) {
        self.objects_sent.inc();
        self.object_bytes_sent.inc_by(payload_bytes);
    }
}

/// What an origin counts of its hosts.
#[derive(Debug, Clone)]
pub struct IngestMetrics {
    /// `stentor_ingest_sessions{protocol}`.
    pub sessions: IntGaugeVec,
    /// `stentor_ingest_bytes_total{protocol}`.
    pub bytes: IntCounterVec,
    /// `stentor_ingest_samples_total{kind}`.
    pub samples: IntCounterVec,
    /// `stentor_ingest_faults_total{protocol,fault}`.
    pub faults: IntCounterVec,
    /// `stentor_ingest_filler_bytes_total`.
    pub filler_bytes: IntCounter,
    /// `stentor_ingest_discontinuities_total{cause}`.
    pub discontinuities: IntCounterVec,
    /// `stentor_ingest_dropped_samples_total{reason}`.
    pub dropped: IntCounterVec,
    /// `stentor_ingest_gop_seconds{event}`.
    pub gop_seconds: GaugeVec,
    /// `stentor_ingest_reorder_frames{event}`.
    pub reorder_frames: IntGaugeVec,
}

impl IngestMetrics {
    /// Declares them all in a registry.
    ///
    /// # Errors
    /// If the registry has metrics of these names.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let declare = Declare(registry);
        let event = &["event"];
        let gop_seconds = Opts::new(
            "stentor_ingest_gop_seconds",
            "Seconds from key frame to key frame, of the last group.",
        );
        Ok(Self {
            sessions: declare.gauges("stentor_ingest_sessions", "Connections of hosts.", &["protocol"])?,
            bytes: declare.counters(
                "stentor_ingest_bytes_total",
                "Bytes received from hosts.",
                &["protocol"],
            )?,
            samples: declare.counters(
                "stentor_ingest_samples_total",
                "Pictures and frames of sound received from hosts.",
                &["kind"],
            )?,
            faults: declare.counters(
                "stentor_ingest_faults_total",
                "Connections of hosts, and messages of theirs, that came to nothing.",
                &["protocol", "fault"],
            )?,
            filler_bytes: declare
                .counter("stentor_ingest_filler_bytes_total", "Bytes of padding that were not sent on.")?,
            discontinuities: declare.counters(
                "stentor_ingest_discontinuities_total",
                "Times that what a host sent did not continue what came before.",
                &["cause"],
            )?,
            dropped: declare.counters(
                "stentor_ingest_dropped_samples_total",
                "Samples of hosts that were not sent on, by reason.",
                &["reason"],
            )?,
            gop_seconds: declare.register(GaugeVec::new(gop_seconds, event)?)?,
            reorder_frames: declare.gauges(
                "stentor_ingest_reorder_frames",
                "B-frames in a row, of the last group.",
                event,
            )?,
        })
    }
}

/// Puts metrics into a registry as they are made.
#[derive(Debug, Clone, Copy)]
struct Declare<'a>(&'a Registry);

impl Declare<'_> {
    fn counter(self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.register(IntCounter::new(name, help)?)
    }

    fn counters(self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauge(self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.register(IntGauge::new(name, help)?)
    }

    fn gauges(self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn register<C: prometheus::core::Collector + Clone + 'static>(
        self,
        metric: C,
    ) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
}
