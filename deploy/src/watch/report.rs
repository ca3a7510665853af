//! What a viewer has seen, in numbers.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// Latencies are counted by the millisecond up to here; what is longer counts as this.
const LATENCY_MAX: usize = 60_000;

/// Of one track.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
    pub(crate) groups: u64,
    pub(crate) gaps: u64,
    pub(crate) hashes: u64,
    pub(crate) hash_mismatches: u64,
    latency: Histogram,
}

/// How many objects took how many milliseconds.
#[derive(Debug, Clone, Default)]
struct Histogram {
    counts: Vec<u32>,
    total: u64,
}

/// Everything.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// From the start to the answer to the first SUBSCRIBE, in milliseconds.
    pub(crate) join_ms: Option<u64>,
    /// From the start to the first object of a picture.
    pub(crate) first_frame_ms: Option<u64>,
    /// Sessions that were lost and made anew.
    pub(crate) reconnects: u64,
    #[serde(flatten)]
    pub(crate) total: Numbers,
    pub(crate) tracks: BTreeMap<String, Numbers>,
}

/// The numbers of a tally.
#[derive(Debug, Serialize)]
pub(crate) struct Numbers {
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
    pub(crate) groups: u64,
    /// Objects and groups that are missing, and groups that were cut short.
    pub(crate) gaps: u64,
    /// Objects whose hash was checked.
    pub(crate) hashes: u64,
    pub(crate) hash_mismatches: u64,
    /// From capture to here, of what was captured since the start; `None` where the origin does not say when
    /// that was.
    pub(crate) latency_ms: Option<Percentiles>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: u64,
    pub(crate) p95: u64,
    pub(crate) p99: u64,
}

impl Tally {
    pub(crate) fn took(&mut self, latency: Duration) {
        self.latency.add(latency);
    }

    pub(crate) fn numbers(&self) -> Numbers {
        Numbers {
            objects: self.objects,
            bytes: self.bytes,
            groups: self.groups,
            gaps: self.gaps,
            hashes: self.hashes,
            hash_mismatches: self.hash_mismatches,
            latency_ms: self.latency.percentiles(),
        }
    }

    /// All of them together.
    pub(crate) fn sum<'a>(tallies: impl Iterator<Item = &'a Self>) -> Self {
        let mut sum = Self::default();
        for tally in tallies {
            sum.objects += tally.objects;
            sum.bytes += tally.bytes;
            sum.groups += tally.groups;
            sum.gaps += tally.gaps;
            sum.hashes += tally.hashes;
            sum.hash_mismatches += tally.hash_mismatches;
            sum.latency.merge(&tally.latency);
        }
        sum
    }
}

impl Histogram {
    fn add(&mut self, latency: Duration) {
        let at = usize::try_from(latency.as_millis()).unwrap_or(LATENCY_MAX).min(LATENCY_MAX);
        if self.counts.len() <= at {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] += 1;
        self.total += 1;
    }

    fn merge(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(ours, theirs)| *ours += theirs);
        self.total += other.total;
    }

    fn percentiles(&self) -> Option<Percentiles> {
        let at = |percent: u64| {
            // The smallest that so many are not above.
            let wanted = (self.total * percent).div_ceil(100);
            let mut seen = 0;
            let found = self.counts.iter().position(|&count| {
                seen += u64::from(count);
                seen >= wanted
            });
            found.unwrap_or(0) as u64
        };
        (self.total > 0).then(|| Percentiles { p50: at(50), p95: at(95), p99: at(99) })
    }
}

impl Report {
    /// Whether nothing is missing or wrong.
    pub(crate) fn is_good(&self) -> bool {
        self.total.objects > 0 && self.total.gaps == 0 && self.total.hash_mismatches == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |ms: Option<u64>| ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms"));
        writeln!(f, "joined in {}, first picture after {}", ms(self.join_ms), ms(self.first_frame_ms))?;
        if self.reconnects > 0 {
            writeln!(f, "connected anew {} times", self.reconnects)?;
        }
        let head = ["track", "objects", "bytes", "groups", "gaps", "hashed", "wrong", "p50", "p95", "p99 ms"];
        let width = self.tracks.keys().map(String::len).max().unwrap_or(0).max("all tracks".len());
        write!(f, "{:width$}", head[0])?;
        for title in &head[1..] {
            write!(f, " {title:>10}")?;
        }
        let rows = self.tracks.iter().map(|(name, numbers)| (name.as_str(), numbers));
        for (name, numbers) in rows.chain([("all tracks", &self.total)]) {
            write!(f, "\n{name:width$}")?;
            let Numbers { objects, bytes, groups, gaps, hashes, hash_mismatches, latency_ms } = numbers;
            for number in [objects, bytes, groups, gaps, hashes, hash_mismatches] {
                write!(f, " {number:>10}")?;
            }
            match latency_ms {
                Some(Percentiles { p50, p95, p99 }) => write!(f, " {p50:>10} {p95:>10} {p99:>10}")?,
                None => write!(f, " {:>10} {:>10} {:>10}", "-", "-", "-")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_counted() {
        let mut tally = Tally::default();
        assert!(tally.numbers().latency_ms.is_none());
        (1..=100).for_each(|ms| tally.took(Duration::from_millis(ms)));
        let Percentiles { p50, p95, p99 } = tally.numbers().latency_ms.unwrap();
        assert_eq!((p50, p95, p99), (50, 95, 99));
        tally.took(Duration::from_secs(3_600));
        assert_eq!(tally.latency.counts.len(), LATENCY_MAX + 1);
    }
}
