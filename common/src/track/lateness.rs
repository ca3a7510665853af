//! The one rule by which a reader that cannot keep up loses groups.
//!
//! A group is late once a newer one has been there for the longest delay that the reader accepts. It
//! is given up whole, and so is everything up to the newest group: half a group is no picture, and
//! the group after a late one would be late too. A reader that keeps up never loses anything, however
//! far in the past it began.

use std::time::{Duration, Instant};

/// When a group that is not finished becomes late: `newer_since` is when the next newer group began.
/// The newest group has no newer one, and is never late.
pub fn late_at(newer_since: Option<Instant>, latency_max: Duration) -> Option<Instant> {
    newer_since.and_then(|since| since.checked_add(latency_max))
}

/// Whether that group is late now.
pub fn is_late(newer_since: Option<Instant>, latency_max: Duration, now: Instant) -> bool {
    late_at(newer_since, latency_max).is_some_and(|at| at <= now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "any moment will do as the start of a table")]
    fn a_group_is_late_when_a_newer_one_has_been_there_too_long() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        // (newer group since, longest delay, now, late)
        let table = [
            (None, 0, 60_000, false),
            (Some(2_000), 1_000, 2_000, false),
            (Some(2_000), 1_000, 2_999, false),
            (Some(2_000), 1_000, 3_000, true),
            (Some(2_000), 0, 2_000, true),
        ];
        for (newer, delay, now, late) in table {
            let newer = newer.map(at);
            assert_eq!(
                is_late(newer, Duration::from_millis(delay), at(now)),
                late,
                "{newer:?} {delay} {now}"
            );
        }
    }
}
