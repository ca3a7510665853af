//! A tree: one origin that is written by hand, a relay, edges, and viewers.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use common::model::{FullTrackName, Location, Namespace, ObjectStatus};
use common::net::door::Door;
use common::net::node::{Bounds, Link, Node, NodeConfig};
use common::net::subscriber::Subscriber;
use common::net::tls::{Identity, Trust};
use common::net::tracks::{Announcement, Entry, Interest, Tracks};
use common::net::upstream::Parent;
use common::net::{framing, now};
use common::track::{End, Header, Reader, Start, Step, SubgroupEnd};
use common::wire::properties::{Properties, Value};
use prometheus::Registry;
use time::OffsetDateTime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Nothing in these stories takes this long, unless it never happens.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: never happened"))
}

pub(crate) fn track(name: &'static str) -> FullTrackName {
    FullTrackName::new(Namespace::event("hall").unwrap(), name).unwrap()
}

/// A node of the tree, which runs until it is stopped.
pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    pub(crate) trust: Trust,
    pub(crate) tracks: Tracks,
    registry: Registry,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// A relay and its edges below an origin.
pub(crate) struct Tree {
    pub(crate) origin: Running,
    pub(crate) relay: Running,
    pub(crate) edges: Vec<Running>,
}

impl Running {
    pub(crate) async fn start(parent: Option<&Self>) -> Self {
        Self::at("[::]:0", Door::Open, parent).await
    }

    pub(crate) async fn at(listen: &str, door: Door, parent: Option<&Self>) -> Self {
        let identity = Identity::generate(OffsetDateTime::now_utc(), &["localhost".to_owned()]).unwrap();
        let trust = Trust::Sha256(identity.sha256());
        let (listen, ops) = (listen.parse().unwrap(), "127.0.0.1:0".parse().unwrap());
        let parents = parent.map(Self::as_parent).into_iter().collect();
        let bounds = Bounds { linger: Duration::from_secs(1), ..Bounds::default() };
        let registry = Registry::new();
        let config = NodeConfig { listen, ops, identity, door, parents, bounds };
        let node = Node::bind(config, registry.clone()).await.unwrap();
        let (addr, tracks) = (node.moqt_addr().unwrap(), node.tracks().clone());
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move { drop(stopped.await) };
        let task = tokio::spawn(node.run(shutdown));
        Self { addr, trust, tracks, registry, stop, task }
    }

    pub(crate) fn as_parent(&self) -> Parent {
        let url = format!("moqt://localhost:{}/hall", self.addr.port()).parse().unwrap();
        Parent { url, trust: self.trust.clone(), token: None }
    }

    /// The sum of a metric over its labels.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        let metrics = family.map(|family| family.get_metric()).unwrap_or_default();
        metrics
            .iter()
            .map(|metric| (metric.get_counter().get_value() + metric.get_gauge().get_value()) as u64)
            .sum()
    }

    pub(crate) async fn stop(self) {
        drop(self.stop);
        self.task.await.unwrap();
    }
}

impl Tree {
    pub(crate) async fn grow(edges: usize) -> Self {
        let origin = Running::start(None).await;
        let relay = Running::start(Some(&origin)).await;
        let mut tree = Self { origin, relay, edges: Vec::new() };
        for _ in 0..edges {
            let edge = Running::start(Some(&tree.relay)).await;
            tree.edges.push(edge);
        }
        tree
    }
}

/// Who writes the origin's track.
pub(crate) struct Host {
    entry: Arc<Entry>,
    _announcement: Announcement,
}

impl Host {
    pub(crate) fn on_air(origin: &Running, name: &'static str) -> Self {
        let properties = Properties::new([(0x0e, Value::Number(77)), (0x1234, Value::Number(5))]).unwrap();
        let entry = origin.tracks.publish(&track(name), properties).unwrap();
        let announcement = origin.tracks.announce(Namespace::event("hall").unwrap(), None).unwrap();
        Self { entry, _announcement: announcement }
    }

    /// A group of objects, each with a property that nobody here knows.
    pub(crate) fn group(&self, group: u64, objects: u64) {
        self.part(group, 0..objects, true);
    }

    pub(crate) fn part(&self, group: u64, objects: std::ops::Range<u64>, whole: bool) {
        let header = Header {
            group,
            has_properties: true,
            first_object: true,
            end_of_group: true,
            ..Header::default()
        };
        let header = framing::header(self.entry.alias(), header);
        let mut subgroup = self.entry.writer().as_mut().unwrap().open(now(), header).unwrap();
        for id in objects {
            let properties = Properties::new([(0x1234_5678, Value::Number(id))]).unwrap();
            let (previous, bytes) = (subgroup.last_id(), properties.bytes().clone());
            let object = framing::object(previous, id, true, bytes, ObjectStatus::Normal, payload(group, id));
            subgroup.push(now(), object).unwrap();
        }
        if whole {
            subgroup.finish();
        }
    }

    pub(crate) fn leaves(self, origin: &Running) {
        origin.tracks.end(&self.entry, End::Finished);
    }
}

pub(crate) fn payload(group: u64, id: u64) -> Bytes {
    let byte = (group * 31 + id) as u8;
    // The first of a group is a key frame: larger than any window of a stream at its start.
    let len = if id == 0 { 300_000 } else { 3_000 + id as usize };
    Bytes::from(vec![byte; len])
}

/// Who reads a track at an edge, and what came.
pub(crate) struct Viewer {
    pub(crate) subscriber: Subscriber,
    pub(crate) interest: Interest,
    cursor: common::track::Cursor,
    readers: Vec<Reader>,
    pub(crate) objects: BTreeMap<Location, (Bytes, Bytes)>,
    pub(crate) finished: Vec<u64>,
    pub(crate) ended: Option<End>,
}

impl Viewer {
    pub(crate) async fn joins(edge: &Running, name: &'static str) -> Self {
        Self::by(edge.as_parent(), name).await
    }

    pub(crate) async fn by(parent: Parent, name: &'static str) -> Self {
        let bounds = Bounds { latency_max: Duration::from_secs(60), ..Bounds::default() };
        let subscriber = Subscriber::new(parent, &bounds).unwrap();
        let mut link = subscriber.link();
        soon("a session", link.wait_for(|link| *link == Link::Up)).await.unwrap();
        let interest = subscriber.tracks().want(&track(name)).unwrap();
        soon("an answer", interest.ready()).await.unwrap();
        let cursor = interest.entry().track().cursor(Start::Newest, None, Duration::from_secs(60));
        let (readers, objects, finished) = Default::default();
        Self { subscriber, interest, cursor, readers, objects, finished, ended: None }
    }

    /// Reads until something holds.
    pub(crate) async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let reading = poll_fn(|cx| {
            while let Poll::Ready(step) = self.cursor.poll_next(cx) {
                match step {
                    Step::Open(reader) => self.readers.push(reader),
                    Step::Datagram(_) => {}
                    Step::End(end) => {
                        self.ended = Some(end);
                        break;
                    }
                }
            }
            let Self { readers, objects, finished, .. } = self;
            readers.retain_mut(|reader| {
                let group = reader.header().group;
                loop {
                    match reader.poll_next(cx) {
                        Poll::Ready(Ok(object)) => {
                            let at = Location::new(group, object.id);
                            objects.insert(at, (object.properties.clone(), object.payload.clone()));
                        }
                        Poll::Ready(Err(SubgroupEnd::Finished)) => {
                            finished.push(group);
                            return false;
                        }
                        Poll::Ready(Err(end)) => panic!("group {group} ended with {end:?}"),
                        Poll::Pending => return true,
                    }
                }
            });
            if holds(self) { Poll::Ready(()) } else { Poll::Pending }
        });
        soon(what, reading).await;
    }

    /// Checks that all objects from the first to the last are there, as they were written.
    pub(crate) fn saw_all(&self, groups: std::ops::Range<u64>, objects: u64) {
        let expected: Vec<_> =
            groups.flat_map(|group| (0..objects).map(move |id| Location::new(group, id))).collect();
        assert_eq!(self.objects.keys().copied().collect::<Vec<_>>(), expected);
        for (at, (properties, payload_seen)) in &self.objects {
            assert_eq!(*payload_seen, payload(at.group, at.object), "{at:?}");
            let properties = Properties::decode(properties.clone()).unwrap();
            assert_eq!(properties.number(0x1234_5678), Some(at.object));
        }
    }
}
