//! The bytes that all tracks of a process may keep together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A shared budget. A cheap handle.
///
/// Writers pay when they write and are paid back when their groups leave the window. The budget
/// itself evicts nothing: a writer that finds it overdrawn evicts its own oldest groups, so the cost
/// of a greedy track is its own. What is pinned (the newest group of each track) may overdraw it by
/// one group a track.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Account>);

#[derive(Debug)]
struct Account {
    used: AtomicUsize,
    max: usize,
    evictions: AtomicUsize,
}

impl Budget {
    /// A budget of this many bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Account { used: AtomicUsize::new(0), max: bytes_max, evictions: AtomicUsize::new(0) }))
    }

    /// The bytes in use.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// The bytes allowed.
    pub fn bytes_max(&self) -> usize {
        self.0.max
    }

    /// Groups that were evicted because the budget was overdrawn.
    pub fn evictions(&self) -> usize {
        self.0.evictions.load(Ordering::Relaxed)
    }

    pub(super) fn is_overdrawn(&self) -> bool {
        self.used() > self.0.max
    }

    pub(super) fn pay(&self, bytes: usize) {
        self.0.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn refund(&self, bytes: usize) {
        self.0.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn count_eviction(&self) {
        self.0.evictions.fetch_add(1, Ordering::Relaxed);
    }
}
