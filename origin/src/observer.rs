//! What the ingest shells see, as metrics.

use common::net::metrics::IngestMetrics;

use crate::ingest::{IngestFault, Observer, Protocol};
use crate::media::Kind;

/// Counts.
#[derive(Debug)]
pub(crate) struct Counting(pub(crate) IngestMetrics);

impl Observer for Counting {
    fn session_started(&self, protocol: Protocol) {
        self.0.sessions.with_label_values(&[protocol.label()]).inc();
    }

    fn session_ended(&self, protocol: Protocol) {
        self.0.sessions.with_label_values(&[protocol.label()]).dec();
    }

    fn bytes(&self, protocol: Protocol, count: usize) {
        self.0.bytes.with_label_values(&[protocol.label()]).inc_by(count as u64);
    }

    fn sample(&self, kind: Kind) {
        let kind = match kind {
            Kind::Video => "video",
            Kind::Audio => "audio",
        };
        self.0.samples.with_label_values(&[kind]).inc();
    }

    fn fault(&self, protocol: Protocol, fault: &IngestFault) {
        self.0.faults.with_label_values(&[protocol.label(), fault.label()]).inc();
    }
}
