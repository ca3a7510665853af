//! The stage: one place for one host per event, and the bounded way from there to the packager.
//!
//! The origin opens an event and keeps its [`Feed`]; a shell that has admitted a host takes a
//! [`Publisher`]. A second publisher takes the place of the first, because a host that lost its network
//! comes back before the origin knows that the old connection is dead. What the first had queued is
//! dropped, and the packager reads [`Input::Break`] between the two.
//!
//! ```ignore
//! let mut feed = stage.open(event)?;
//! loop { packager.handle(now, feed.recv().await); }
//! ```

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

use super::EventId;
use crate::media::Input;

/// Bytes queued for one packager at most: 2 s of a 16 Mb/s picture, which no host of a webinar sends.
pub const QUEUE_BYTES_MAX: usize = 4 << 20;

/// Inputs queued for one packager at most: 5 s of 60 pictures and 47 frames of sound a second is 535.
pub const QUEUE_INPUTS_MAX: usize = 512;

/// The events that are open on this origin.
#[derive(Debug, Default)]
pub struct Stage {
    places: Mutex<HashMap<EventId, Arc<Place>>>,
}

impl Stage {
    /// No event is open.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Opens `event` for hosts until the feed is dropped.
    ///
    /// # Errors
    /// If it is open already.
    pub fn open(self: &Arc<Self>, event: EventId) -> Result<Feed, StageError> {
        let place = Arc::new(Place::default());
        match locked(&self.places).entry(event.clone()) {
            Entry::Occupied(_) => return Err(StageError::Open(event)),
            Entry::Vacant(vacant) => vacant.insert(place.clone()),
        };
        Ok(Feed { stage: Arc::downgrade(self), event, place, current: None })
    }

    /// Takes the host's place of `event`, from whoever has it.
    ///
    /// # Errors
    /// If the event is not open here.
    pub fn publish(&self, event: &EventId) -> Result<Publisher, StageError> {
        let (queue, parcels) = mpsc::channel(QUEUE_INPUTS_MAX);
        // The table stays locked until the host is in its place, or a feed that is dropped meanwhile would
        // not find it there, and the host would wait for ever.
        let places = locked(&self.places);
        let place = places.get(event).cloned().ok_or_else(|| StageError::NotOpen(event.clone()))?;
        *locked(&place.arrived) = Some(parcels);
        drop(places);
        place.bell.notify_one();
        Ok(Publisher { queue, room: Arc::new(Semaphore::new(QUEUE_BYTES_MAX)), place })
    }
}

/// Why an event cannot be opened or published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StageError {
    /// Another part of the origin holds the feed.
    #[error("event {0} is open already")]
    Open(EventId),
    /// Not an event of this origin, or not yet, or no more.
    #[error("event {0} is not open on this origin")]
    NotOpen(EventId),
}

/// One host on the stage. Dropping it says that the host has gone.
#[derive(Debug)]
pub struct Publisher {
    queue: mpsc::Sender<Parcel>,
    room: Arc<Semaphore>,
    place: Arc<Place>,
}

impl Publisher {
    /// Delivers one input; waits while the packager is behind, which is what slows the host down.
    ///
    /// # Errors
    /// If this host has no place any more.
    pub async fn send(&mut self, input: Input) -> Result<(), Gone> {
        // A closed queue drops its parcels, so whoever waits for room is woken and finds it closed.
        let room = self.room.clone().acquire_many_owned(cost(&input)).await.map_err(|_| Gone::Over)?;
        self.queue.send(Parcel { input, _room: room }).await.map_err(|_| self.why())
    }

    /// Waits until this host has no place any more, and says why.
    pub async fn gone(&self) -> Gone {
        self.queue.closed().await;
        self.why()
    }

    fn why(&self) -> Gone {
        if self.place.over.load(Ordering::Acquire) { Gone::Over } else { Gone::Replaced }
    }
}

/// Why a publisher's inputs are no longer taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Gone {
    /// Another publisher took the place.
    #[error("another connection publishes this event now")]
    Replaced,
    /// The origin closed the event.
    #[error("the event is over")]
    Over,
}

/// What hosts deliver for one event, for its packager. Dropping it closes the event.
#[derive(Debug)]
pub struct Feed {
    stage: Weak<Stage>,
    event: EventId,
    place: Arc<Place>,
    current: Option<mpsc::Receiver<Parcel>>,
}

impl Feed {
    /// The next input; waits for a host where there is none. Each host's inputs end with
    /// [`Input::Break`]. Cancelling it loses nothing.
    pub async fn recv(&mut self) -> Input {
        loop {
            if let Some(next) = locked(&self.place.arrived).take()
                && self.current.replace(next).is_some()
            {
                return Input::Break;
            }
            let Some(current) = &mut self.current else {
                self.place.bell.notified().await;
                continue;
            };
            tokio::select! {
                biased;
                () = self.place.bell.notified() => {}
                parcel = current.recv() => {
                    let Some(parcel) = parcel else {
                        self.current = None;
                        return Input::Break;
                    };
                    return parcel.input;
                }
            }
        }
    }

    /// The event this feed belongs to.
    pub fn event(&self) -> &EventId {
        &self.event
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.place.over.store(true, Ordering::Release);
        if let Some(stage) = self.stage.upgrade() {
            locked(&stage.places).remove(&self.event);
        }
        // After the place is out of the table nobody can arrive; whoever did is told here.
        locked(&self.place.arrived).take();
    }
}

/// Where a publisher waits for the feed to notice it.
#[derive(Debug, Default)]
struct Place {
    arrived: Mutex<Option<mpsc::Receiver<Parcel>>>,
    bell: Notify,
    over: AtomicBool,
}

/// An input with the room it takes up in the queue.
#[derive(Debug)]
struct Parcel {
    input: Input,
    _room: OwnedSemaphorePermit,
}

/// What an input takes up, in bytes. One larger than the whole queue waits until it is alone in it.
fn cost(input: &Input) -> u32 {
    let bytes = match input {
        Input::Sample(sample) => sample.data.len(),
        Input::Video(config) => config.avcc.len(),
        Input::Audio(_) | Input::Break => 0,
    };
    bytes.clamp(1, QUEUE_BYTES_MAX) as u32
}

/// No lock here is held while anything can panic, so a poisoned one is still whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const _: () = assert!(QUEUE_BYTES_MAX <= u32::MAX as usize && QUEUE_BYTES_MAX <= Semaphore::MAX_PERMITS);

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::media::{Kind, Sample};

    fn sample(bytes: usize) -> Input {
        let data = Bytes::from(vec![0; bytes]);
        Input::Sample(Sample { kind: Kind::Video, dts: 0, pts: 0, duration: None, key: true, data })
    }

    fn opened() -> (Arc<Stage>, EventId, Feed) {
        let (stage, event) = (Stage::new(), EventId::new("e").unwrap());
        let feed = stage.open(event.clone()).unwrap();
        (stage, event, feed)
    }

    #[tokio::test]
    async fn a_host_that_leaves_and_returns_is_heard_with_a_break_between() {
        let (stage, event, mut feed) = opened();
        for size in [1, 2] {
            let mut host = stage.publish(&event).unwrap();
            host.send(sample(size)).await.unwrap();
            drop(host);
            assert_eq!(feed.recv().await, sample(size));
            assert_eq!(feed.recv().await, Input::Break);
        }
    }

    #[tokio::test]
    async fn a_second_host_takes_the_place_of_the_first() {
        let (stage, event, mut feed) = opened();
        let mut first = stage.publish(&event).unwrap();
        first.send(sample(1)).await.unwrap();
        assert_eq!(feed.recv().await, sample(1));
        first.send(sample(2)).await.unwrap();
        let mut second = stage.publish(&event).unwrap();
        second.send(sample(3)).await.unwrap();
        assert_eq!(feed.recv().await, Input::Break);
        assert_eq!(feed.recv().await, sample(3));
        assert_eq!(first.gone().await, Gone::Replaced);
        assert_eq!(first.send(sample(4)).await, Err(Gone::Replaced));
    }

    #[tokio::test]
    async fn a_full_queue_holds_the_host_back() {
        let (stage, event, mut feed) = opened();
        let mut host = stage.publish(&event).unwrap();
        host.send(sample(QUEUE_BYTES_MAX + 1)).await.unwrap();
        let mut waiting = Box::pin(host.send(sample(1)));
        assert!(futures_pending(&mut waiting).await);
        feed.recv().await;
        waiting.await.unwrap();
        drop(feed);
        assert_eq!(host.send(sample(1)).await, Err(Gone::Over));
        assert_eq!(stage.publish(&event).unwrap_err(), StageError::NotOpen(event));
    }

    async fn futures_pending<F: Future + Unpin>(future: &mut F) -> bool {
        std::future::poll_fn(|cx| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending())
        })
        .await
    }
}
