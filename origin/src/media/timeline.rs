//! From the times of hosts to the times of tracks: continuous and rising, whatever hosts' clocks do.

use std::time::Duration;

/// A step forward by more than this is a jump of the clock, not a pause of the picture.
const STEP_MAX: Duration = Duration::from_secs(3);

/// Where the first sample is put: the other track's first may be a little earlier, and times are not
/// negative.
const BEGIN_NANOS: i64 = 1_000_000_000;

/// The clock of one event, which all its tracks share.
#[derive(Debug)]
pub(super) struct Timeline {
    /// What is added to a host's times, in nanoseconds; `None` until the next sample says where it is.
    offset: Option<i64>,
    /// Where the latest sample of any track ends, in nanoseconds of the event.
    end: i64,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { offset: None, end: BEGIN_NANOS }
    }
}

impl Timeline {
    /// What follows has other times.
    pub(super) fn interrupt(&mut self) {
        self.offset = None;
    }

    /// Ticks to add to the times of a track of this timescale, for a sample at `ticks`.
    ///
    /// The same for all samples until the next interruption, so the spacing of a track is exact; and for
    /// all tracks as good as the same, so sound and picture stay together.
    pub(super) fn offset(&mut self, ticks: i64, timescale: u32) -> i64 {
        let end = self.end;
        let offset = *self.offset.get_or_insert_with(|| end.saturating_sub(nanos(ticks, timescale)));
        rescale(offset, 1_000_000_000, timescale)
    }

    /// A sample of a track of this timescale ends at `ticks` of the event.
    pub(super) fn reached(&mut self, ticks: i64, timescale: u32) {
        self.end = self.end.max(nanos(ticks, timescale));
    }
}

/// Whether the step from one decode time of a host to the next, in ticks, is a jump.
pub(super) fn is_jump(step: i64, timescale: u32) -> bool {
    step < 0 || nanos(step, timescale) > STEP_MAX.as_nanos() as i64
}

pub(super) fn nanos(ticks: i64, timescale: u32) -> i64 {
    rescale(ticks, timescale, 1_000_000_000)
}

/// Ticks of one timescale in another, rounded.
pub(super) fn rescale(ticks: i64, from: u32, to: u32) -> i64 {
    let (from, to) = (i128::from(from.max(1)), i128::from(to));
    let scaled = i128::from(ticks) * to;
    let rounded = (scaled + from.div_euclid(2)).div_euclid(from);
    i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN / 2 } else { i64::MAX / 2 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracks_of_other_timescales_stay_together() {
        let mut timeline = Timeline::default();
        let video = timeline.offset(5_000, 1_000);
        let audio = timeline.offset(240_000, 48_000);
        assert_eq!(nanos(5_000 + video, 1_000), BEGIN_NANOS);
        assert_eq!(nanos(240_000 + audio, 48_000), BEGIN_NANOS);
    }

    #[test]
    fn after_an_interruption_time_goes_on() {
        let mut timeline = Timeline::default();
        timeline.offset(0, 1_000);
        timeline.reached(3_000, 1_000);
        timeline.interrupt();
        assert_eq!(900_000 + timeline.offset(900_000, 1_000), 3_000);
        assert_eq!(900_040 + timeline.offset(900_040, 1_000), 3_040);
    }

    #[test]
    fn clocks_that_go_back_or_leap_are_jumps() {
        let table = [(0, false), (40, false), (3_000, false), (3_001, true), (-1, true), (i64::MIN, true)];
        for (step, expected) in table {
            assert_eq!(is_jump(step, 1_000), expected, "{step}");
        }
    }
}
