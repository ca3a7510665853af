//! Names as a session sees them: whose they are, and what keeping one costs.

use bytes::Bytes;

use crate::model::{FullTrackName, Namespace};

/// Whether the application has no say in this namespace: `.` is nobody's, and `.session` is the
/// session's, where we have nothing (draft-18, 3.2.1 and 3.2.2). Other names that begin with a period
/// go to the application.
pub(super) fn is_reserved(namespace: &Namespace) -> bool {
    namespace.fields().first().is_some_and(|first| matches!(&first[..], b"." | b".session"))
}

/// The namespace without the message that it came in: names are kept for long, and the message may have
/// been a thousand times longer.
pub(super) fn detached(namespace: &Namespace) -> Namespace {
    let fields = namespace.fields().iter().map(|field| Bytes::copy_from_slice(field)).collect();
    // It held its limits before.
    Namespace::new(fields).unwrap_or_else(|_| namespace.clone())
}

/// As [`detached`], for a track.
pub(super) fn detached_track(track: &FullTrackName) -> FullTrackName {
    let name = Bytes::copy_from_slice(track.name());
    FullTrackName::new(detached(track.namespace()), name).unwrap_or_else(|_| track.clone())
}

/// Whether one of the two lies below the other, or they are the same (draft-18, 10.18).
pub(super) fn overlap(a: &Namespace, b: &Namespace) -> bool {
    a.starts_with(b) || b.starts_with(a)
}
