//! One subgroup: an append-only log of objects. Reading takes no lock and no reference count.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use super::parking::{Parking, Ticket};
use super::window::Shared;
use super::{Budget, Header, Limits, Object, SubgroupEnd, WriteError};
use crate::model::Location;

/// Slots of the first chunk; each chunk has twice as many as the one before. A catalog has one
/// object a group, audio about 20, video 60 to 120.
const CHUNK_FIRST: usize = 16;

/// 16 + 32 + ... + 8,192 slots.
const CHUNKS: usize = 10;

/// Objects that fit into the chunks.
pub(super) const OBJECTS_MAX: usize = CHUNK_FIRST * ((1 << CHUNKS) - 1);

/// The log of one subgroup.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) header: Header,
    chunks: [OnceLock<Box<[OnceLock<Object>]>>; CHUNKS],
    /// Objects that can be read.
    len: AtomicUsize,
    end: OnceLock<SubgroupEnd>,
    evicted: AtomicBool,
    tail: Mutex<Tail>,
    /// What the objects of all logs of the group cost.
    group_cost: Arc<AtomicUsize>,
    parking: Parking,
}

#[derive(Debug)]
struct Tail {
    last_id: Option<u64>,
    cost: usize,
}

impl Log {
    /// An empty log, paid for.
    pub(super) fn new(header: Header, group_cost: Arc<AtomicUsize>, budget: &Budget) -> Self {
        // Itself and its first chunk: what a subgroup takes before it has an object.
        let cost = header.framing.len() + size_of::<Self>() + CHUNK_FIRST * size_of::<OnceLock<Object>>();
        budget.pay(cost);
        Self {
            header,
            chunks: Default::default(),
            len: AtomicUsize::new(0),
            end: OnceLock::new(),
            evicted: AtomicBool::new(false),
            tail: Mutex::new(Tail { last_id: None, cost }),
            group_cost,
            parking: Parking::default(),
        }
    }

    pub(super) fn last_id(&self) -> Option<u64> {
        self.tail().last_id
    }

    pub(super) fn is_over(&self) -> bool {
        self.end.get().is_some()
    }

    pub(super) fn objects(&self) -> impl Iterator<Item = &Object> {
        (0..self.len.load(Ordering::Acquire)).filter_map(|index| self.get(index))
    }

    /// Ends the log, unless it has ended.
    pub(super) fn finish(&self, end: SubgroupEnd) {
        // Under the tail's lock, so that nothing is appended to what readers heard is complete.
        let tail = self.tail();
        let ended = self.end.set(end).is_ok();
        drop(tail);
        if ended {
            self.parking.wake();
        }
    }

    /// Takes the log out of the window and its cost off the budget. Readers are told by
    /// [`Log::wake`], once no lock is held.
    pub(super) fn evict(&self, budget: &Budget) {
        let mut tail = self.tail();
        self.evicted.store(true, Ordering::Release);
        budget.refund(std::mem::take(&mut tail.cost));
    }

    /// Takes its cost off the budget. Whoever still reads it goes on to its end.
    pub(super) fn release(&self, budget: &Budget) {
        budget.refund(std::mem::take(&mut self.tail().cost));
    }

    pub(super) fn wake(&self) {
        self.parking.wake();
    }

    /// Appends an object, and pays for it.
    ///
    /// Under the same lock as [`Log::evict`], so that nothing is refunded before it was paid.
    fn append(&self, object: Object, limits: &Limits, budget: &Budget) -> Result<Pushed, WriteError> {
        let mut tail = self.tail();
        if tail.last_id.is_some_and(|last| object.id <= last) {
            return Ok(Pushed::Duplicate);
        }
        if self.is_over() {
            return Err(WriteError::Finished);
        }
        if self.evicted.load(Ordering::Acquire) {
            return Err(WriteError::TooOld);
        }
        let index = self.len.load(Ordering::Relaxed);
        if index >= limits.objects_max.min(OBJECTS_MAX) {
            return Err(WriteError::TooManyObjects);
        }
        let cost = object.cost();
        if self.group_cost.load(Ordering::Relaxed) + cost > limits.group_bytes_max {
            return Err(WriteError::TooManyBytes);
        }
        self.group_cost.fetch_add(cost, Ordering::Relaxed);
        tail.last_id = Some(object.id);
        tail.cost += cost;
        budget.pay(cost);
        let (chunk, slot) = place(index);
        let slots =
            self.chunks[chunk].get_or_init(|| (0..CHUNK_FIRST << chunk).map(|_| OnceLock::new()).collect());
        slots[slot].set(object).expect("slots are filled in order, under the tail's lock");
        self.len.store(index + 1, Ordering::Release);
        drop(tail);
        self.parking.wake();
        Ok(Pushed::New)
    }

    fn get(&self, index: usize) -> Option<&Object> {
        let (chunk, slot) = place(index);
        self.chunks.get(chunk)?.get()?.get(slot)?.get()
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Chunk and slot of an object: chunk k holds 16 * 2^k, so the chunk is the logarithm.
fn place(index: usize) -> (usize, usize) {
    let chunk = (index / CHUNK_FIRST + 1).ilog2() as usize;
    (chunk, index - CHUNK_FIRST * ((1 << chunk) - 1))
}

/// What became of an object that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It is new, and readers have it.
    New,
    /// It, or a later one, was there already: nothing changed.
    Duplicate,
}

/// Writes one subgroup.
///
/// Dropped, it leaves the subgroup open: whoever opens the same one again goes on where it stopped,
/// and readers notice nothing.
#[derive(Debug)]
pub struct SubgroupWriter {
    log: Arc<Log>,
    shared: Arc<Shared>,
}

impl SubgroupWriter {
    pub(super) fn new(log: Arc<Log>, shared: Arc<Shared>) -> Self {
        Self { log, shared }
    }

    /// Appends an object.
    ///
    /// # Errors
    /// If a limit is reached, or the subgroup is over.
    pub fn push(&mut self, now: Instant, object: Object) -> Result<Pushed, WriteError> {
        let (id, bytes) = (object.id, object.properties.len() + object.payload.len());
        if bytes > self.shared.limits().object_bytes_max {
            return Err(WriteError::TooLarge(bytes));
        }
        let pushed = self.log.append(object, self.shared.limits(), self.shared.budget())?;
        if pushed == Pushed::New {
            self.shared.wrote(now, Location::new(self.log.header.group, id));
        }
        Ok(pushed)
    }

    /// How the subgroup began, perhaps with an earlier writer.
    pub fn header(&self) -> &Header {
        &self.log.header
    }

    /// The id of the last object in the log.
    pub fn last_id(&self) -> Option<u64> {
        self.log.last_id()
    }

    /// The subgroup is complete.
    pub fn finish(self) {
        self.log.finish(SubgroupEnd::Finished);
    }

    /// The subgroup will not be completed.
    pub fn reset(self, code: u64) {
        self.log.finish(SubgroupEnd::Reset(code));
    }
}

/// Reads one subgroup, from its beginning or from the object at which the cursor began.
#[derive(Debug)]
pub struct Reader {
    log: Arc<Log>,
    index: usize,
    from: u64,
    whole: bool,
    ticket: Ticket,
}

impl Reader {
    /// A reader of the objects from id `from` on.
    pub(super) fn new(log: Arc<Log>, from: u64) -> Self {
        // Before there is any object, nobody knows whether the first to come is one of them. The first
        // never changes, so this holds whatever is written meanwhile.
        let whole = from == 0 || log.get(0).is_some_and(|first| first.id >= from);
        let index = log.objects().take_while(|object| object.id < from).count();
        Self { log, index, from, whole, ticket: Ticket::default() }
    }

    /// How the subgroup begins.
    pub fn header(&self) -> &Header {
        &self.log.header
    }

    /// Whether it reads from the log's first object on: then header and objects can go out in the
    /// framing that the writer made. If not, the first object needs a framing of its own.
    pub fn starts_at_beginning(&self) -> bool {
        self.whole
    }

    /// The next object, once it is there.
    ///
    /// # Errors
    /// Why there is no further one. A reader that has had everything hears the subgroup's own end,
    /// also when it has left the window.
    pub fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Result<&Object, SubgroupEnd>> {
        let Self { log, index, from, ticket, .. } = self;
        loop {
            if let Some(object) = log.get(*index) {
                if log.evicted.load(Ordering::Acquire) {
                    return Poll::Ready(Err(SubgroupEnd::Evicted));
                }
                *index += 1;
                if object.id >= *from {
                    return Poll::Ready(Ok(object));
                }
            } else if let Some(end) = over(log, *index) {
                return Poll::Ready(Err(end));
            } else {
                let ready = || log.get(*index).is_some() || over(log, *index).is_some();
                if log.parking.park(ticket, cx, ready) {
                    return Poll::Pending;
                }
            }
        }
    }
}

/// Why a reader that has read `index` objects will get no other, if that is so.
fn over(log: &Log, index: usize) -> Option<SubgroupEnd> {
    let end = log.end.get().copied();
    // The end is set after the last object: look again whether one came in between.
    if log.len.load(Ordering::Acquire) > index {
        return None;
    }
    end.or_else(|| log.evicted.load(Ordering::Acquire).then_some(SubgroupEnd::Evicted))
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.log.parking.leave(&mut self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_has_its_own_place() {
        let mut places: Vec<_> = (0..OBJECTS_MAX).map(place).collect();
        assert_eq!(places[..2], [(0, 0), (0, 1)]);
        assert_eq!(places[16], (1, 0));
        assert_eq!(places[OBJECTS_MAX - 1], (CHUNKS - 1, (CHUNK_FIRST << (CHUNKS - 1)) - 1));
        places.dedup();
        assert_eq!(places.len(), OBJECTS_MAX);
    }
}
