//! A clip that is sent again and again: each time later, as if it had gone on.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::fragments::{Fragment, FragmentError, Piece, Splitter};

/// Fragmented MP4, in memory.
#[derive(Debug)]
pub(crate) struct Clip {
    init: Bytes,
    /// Ticks a second of each track.
    timescales: BTreeMap<u32, u32>,
    fragments: Vec<Fragment>,
    length: Duration,
}

impl Clip {
    /// Reads a whole file.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, FragmentError> {
        let mut splitter = Splitter::default();
        splitter.push(bytes);
        let (mut init, mut timescales) = (Bytes::new(), BTreeMap::new());
        let (mut fragments, mut length) = (Vec::new(), Duration::ZERO);
        while let Some(piece) = splitter.next()? {
            match piece {
                Piece::Init { moov, bytes } => {
                    timescales =
                        moov.trak.iter().map(|it| (it.tkhd.track_id, it.mdia.mdhd.timescale)).collect();
                    init = bytes;
                }
                Piece::Fragment(fragment) => {
                    for (track, end) in ends(&fragment) {
                        length = length.max(time(end, timescales.get(&track)));
                    }
                    fragments.push(fragment);
                }
            }
        }
        if !splitter.is_whole() || fragments.is_empty() {
            return Err(FragmentError::NotFragmented("it ends inside a fragment, or has none"));
        }
        Ok(Self { init, timescales, fragments, length })
    }

    /// What comes before the first fragment.
    pub(crate) fn init(&self) -> Bytes {
        self.init.clone()
    }

    /// The fragments of round `round`, each with the time at which it is due.
    pub(crate) fn round(
        &self,
        round: u32,
    ) -> impl Iterator<Item = Result<(Duration, Bytes), FragmentError>> + '_ {
        let later = self.length * round;
        let ticks = move |track: u32| {
            let timescale = u128::from(self.timescales.get(&track).copied().unwrap_or(1));
            u64::try_from(later.as_nanos() * timescale / 1_000_000_000).unwrap_or(u64::MAX)
        };
        self.fragments.iter().map(move |fragment| {
            let mut fragment = fragment.clone();
            let due = fragment.starts().map(|(track, at)| time(at, self.timescales.get(&track))).min();
            fragment.delay(ticks);
            Ok((later + due.unwrap_or_default(), fragment.write()?))
        })
    }
}

/// Where each track is when the fragment is over.
fn ends(fragment: &Fragment) -> impl Iterator<Item = (u32, u64)> + '_ {
    fragment.moof.traf.iter().zip(fragment.starts()).map(|(traf, (track, start))| {
        let usual = traf.tfhd.default_sample_duration.unwrap_or(0);
        let samples = traf.trun.iter().flat_map(|trun| trun.samples.iter());
        let len: u64 = samples.map(|sample| u64::from(sample.duration.unwrap_or(usual))).sum();
        (track, start.saturating_add(len))
    })
}

pub(super) fn time(ticks: u64, timescale: Option<&u32>) -> Duration {
    let timescale = u128::from(timescale.copied().unwrap_or(1).max(1));
    let nanos = u128::from(ticks) * 1_000_000_000 / timescale;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_goes_on_where_it_ends() {
        let clip = Clip::read(super::super::DEMO).unwrap();
        assert_eq!(clip.length, Duration::from_secs(8));
        let rounds: Vec<_> = (0..3).flat_map(|round| clip.round(round)).collect::<Result<_, _>>().unwrap();
        let mut file = clip.init().to_vec();
        rounds.iter().for_each(|(_, bytes)| file.extend_from_slice(bytes));
        // As they are shown, and no later for being looped.
        let due: Vec<_> = rounds.iter().map(|(due, _)| due.as_secs_f64()).collect();
        assert!(due.windows(2).all(|pair| (-0.1..0.1).contains(&(pair[1] - pair[0]))), "{due:?}");
        let round = due.len() / 3;
        assert!(due.iter().zip(&due[round..]).all(|(first, second)| (second - first - 8.0).abs() < 1e-6));
        let mut splitter = Splitter::default();
        splitter.push(&file);
        let mut next = BTreeMap::new();
        while let Some(piece) = splitter.next().unwrap() {
            let Piece::Fragment(fragment) = piece else { continue };
            for ((track, start), (_, end)) in fragment.starts().zip(ends(&fragment)) {
                let expected = next.insert(track, end).unwrap_or(0);
                assert!(
                    start >= expected && start - expected <= 1024,
                    "track {track}: {start} after {expected}"
                );
            }
        }
    }

    #[test]
    fn what_is_cut_off_is_no_clip() {
        let demo = super::super::DEMO;
        assert!(Clip::read(&demo[..demo.len() - 10]).is_err());
        assert!(Clip::read(b"").is_err());
    }
}
