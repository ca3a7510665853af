//! What the packager notices about a host's stream, for its operator and for metrics.

/// Something worth telling.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Fact {
    /// A group of pictures is complete.
    Gop {
        /// How long it was.
        seconds: f64,
        /// How many pictures it had.
        frames: u32,
    },
    /// Pictures are not sent in the order in which they are shown.
    Reorder {
        /// The longest run of pictures that are shown before one that was sent earlier: B-frames in a row.
        frames: u32,
    },
    /// Padding was left out of an access unit.
    FillerStripped {
        /// How much.
        bytes: u64,
    },
    /// What follows does not continue what came before: a new group, with new times.
    Discontinuity {
        /// Why: `break`, `jump`, `config`.
        cause: &'static str,
    },
    /// A sample was not sent.
    Dropped {
        /// Why: `before_key`, `malformed`, `late`, `no_config`.
        what: &'static str,
    },
}

/// A viewer who joins waits for a key frame, and gets the whole group since the last one: two seconds is
/// what both can bear.
const GOP_SECONDS_MAX: f64 = 2.5;

impl Fact {
    /// What the host should change, if anything.
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::Gop { seconds, .. } if *seconds > GOP_SECONDS_MAX => Some(format!(
                "a key frame comes only every {seconds:.1} s, so viewers join late: in OBS, set Settings > Output > \
                 Keyframe Interval to 2 s (ffmpeg: -g with two seconds of frames)"
            )),
            Self::Reorder { frames } if *frames > 0 => Some(format!(
                "{frames} B-frames in a row delay the picture: in OBS, set B-frames to 0 (x264: bframes=0; ffmpeg: \
                 -bf 0)"
            )),
            _ => None,
        }
    }
}
