//! Where readers wait: lists of wakers, woken after their lock is released.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

/// Lists of one parking lot. Readers of different threads mostly meet different locks.
const LISTS: usize = 8;

/// A parking lot for the readers of one thing.
#[derive(Debug, Default)]
pub(super) struct Parking {
    lists: [Mutex<List>; LISTS],
    next: AtomicUsize,
}

#[derive(Debug, Default)]
struct List {
    /// Rises with each wake: a ticket of an earlier epoch holds no place any more.
    epoch: u64,
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

/// A reader's place.
#[derive(Debug, Default)]
pub(super) struct Ticket {
    list: Option<usize>,
    place: Option<(u64, usize)>,
}

impl Parking {
    /// Parks the reader, unless `ready` says under the lock that it need not wait: who writes does so
    /// before taking the lock to wake, so either it finds the waker, or `ready` finds what it wrote.
    ///
    /// Says whether it is parked.
    pub(super) fn park(&self, ticket: &mut Ticket, cx: &Context<'_>, ready: impl Fn() -> bool) -> bool {
        let at = *ticket.list.get_or_insert_with(|| self.next.fetch_add(1, Ordering::Relaxed) % LISTS);
        let mut list = lock(&self.lists[at]);
        if ready() {
            return false;
        }
        match ticket.place {
            Some((epoch, place)) if epoch == list.epoch => {
                if let Some(Some(waker)) = list.wakers.get_mut(place) {
                    waker.clone_from(cx.waker());
                }
            }
            _ => {
                let waker = Some(cx.waker().clone());
                let place = match list.free.pop() {
                    Some(place) => {
                        list.wakers[place] = waker;
                        place
                    }
                    None => {
                        list.wakers.push(waker);
                        list.wakers.len() - 1
                    }
                };
                ticket.place = Some((list.epoch, place));
            }
        }
        true
    }

    /// Gives the reader's place back.
    pub(super) fn leave(&self, ticket: &mut Ticket) {
        let (Some(at), Some((epoch, place))) = (ticket.list, ticket.place.take()) else { return };
        let mut list = lock(&self.lists[at]);
        if epoch == list.epoch
            && let Some(waker) = list.wakers.get_mut(place).and_then(Option::take)
        {
            list.free.push(place);
            drop(list);
            drop(waker);
        }
    }

    /// Wakes everybody who is parked.
    pub(super) fn wake(&self) {
        for list in &self.lists {
            let mut guard = lock(list);
            if guard.wakers.is_empty() {
                continue;
            }
            guard.epoch += 1;
            guard.free.clear();
            let mut wakers = std::mem::take(&mut guard.wakers);
            drop(guard);
            for waker in wakers.drain(..).flatten() {
                waker.wake();
            }
            // The capacity is kept: the same readers will be back.
            let mut guard = lock(list);
            if guard.wakers.is_empty() && guard.wakers.capacity() < wakers.capacity() {
                guard.wakers = wakers;
            }
        }
    }
}

fn lock(list: &Mutex<List>) -> MutexGuard<'_, List> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}
