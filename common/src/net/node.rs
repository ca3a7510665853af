//! A node of the tree: what origin, relay and edge have in common.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::door::Door;
use super::endpoint::{self, Endpoint, EndpointError};
use super::metrics::Metrics;
use super::now;
use super::ops::{Ops, Readiness};
use super::peer::{Peer, Side};
use super::tls::Identity;
use super::tracks::Tracks;
use super::upstream::{Parent, Upstream};
use crate::track::{self, Budget};

/// How often the table of tracks is swept, and the gauges are set.
const SWEEP: Duration = Duration::from_secs(1);

/// Everything a node has to be told.
#[derive(Debug)]
pub struct NodeConfig {
    /// Where MoQT is served: UDP, raw QUIC and WebTransport.
    pub listen: SocketAddr,
    /// The private port: TCP.
    pub ops: SocketAddr,
    /// Who this node is.
    pub identity: Identity,
    /// Who may come in.
    pub door: Door,
    /// Where tracks come from: none for an origin.
    pub parents: Vec<Parent>,
    /// Where it is bounded.
    pub bounds: Bounds,
}

/// What a node may spend, and how long it waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// How far a viewer may fall behind before groups are dropped for it.
    pub latency_max: Duration,
    /// How long a track is kept up that nobody wants.
    pub linger: Duration,
    /// Bytes of all tracks together: the default holds 10 s of 64 events of 5 Mb/s twice.
    pub cache_bytes_max: usize,
    /// Connections at once. A viewer of 1.4 Mb/s was measured to take 105 KiB, so the default is 1.7 GiB.
    pub connections_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            latency_max: Duration::from_secs(2),
            linger: Duration::from_secs(10),
            cache_bytes_max: 1 << 30,
            connections_max: 16_000,
        }
    }
}

/// What all that happens on a node shares.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) tracks: Tracks,
    pub(super) metrics: Metrics,
    pub(super) door: Door,
    pub(super) latency_max: Duration,
    pub(super) linger: Duration,
    link: watch::Sender<Link>,
}

/// How it stands between a node and its parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// The first attempt is under way.
    Dialling,
    /// There is a session.
    Up,
    /// There is none, for this reason; the next attempt comes.
    Down(String),
}

impl Shared {
    pub(super) fn new(door: Door, bounds: &Bounds, registry: &Registry) -> Result<Self, prometheus::Error> {
        let tracks = Tracks::new(track::Limits::default(), Budget::new(bounds.cache_bytes_max));
        Ok(Self {
            tracks,
            metrics: Metrics::new(registry)?,
            door,
            latency_max: bounds.latency_max,
            linger: bounds.linger,
            link: watch::Sender::new(Link::Dialling),
        })
    }

    pub(super) fn set_link(&self, link: Link) {
        self.metrics.upstream_up.set((link == Link::Up).into());
        self.link.send_replace(link);
    }

    pub(super) fn link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    /// What has to be looked after once a second.
    pub(super) fn sweep(&self) {
        let Self { tracks, metrics, .. } = self;
        tracks.sweep(now());
        metrics.tracks.set(tracks.len() as i64);
        metrics.namespaces.set(tracks.namespaces().borrow().len() as i64);
        metrics.cache_bytes.set(tracks.budget().used() as i64);
    }
}

/// A node whose ports are bound.
#[derive(Debug)]
pub struct Node {
    endpoint: Endpoint,
    ops: TcpListener,
    parents: Vec<Parent>,
    connections_max: usize,
    shared: Arc<Shared>,
    registry: Registry,
    readiness: Readiness,
}

impl Node {
    /// Binds the node's ports. What it counts is declared in `registry`, where its role may have declared
    /// more.
    ///
    /// # Errors
    /// If a port cannot be bound, or the certificate cannot be used.
    pub async fn bind(config: NodeConfig, registry: Registry) -> Result<Self, NodeError> {
        let NodeConfig { listen, ops, identity, door, parents, bounds } = config;
        let endpoint = Endpoint::serve(listen, &identity)?;
        let bind = |source| NodeError::Ops { listen: ops, source };
        let ops = TcpListener::bind(ops).await.map_err(bind)?;
        let readiness = Readiness::default();
        if !parents.is_empty() {
            readiness.set("parent", false);
        }
        let shared = Arc::new(Shared::new(door, &bounds, &registry)?);
        let connections_max = bounds.connections_max;
        Ok(Self { endpoint, ops, parents, connections_max, shared, registry, readiness })
    }

    /// The tracks of the node.
    pub fn tracks(&self) -> &Tracks {
        &self.shared.tracks
    }

    /// What must hold for it to be given work.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Its counters of objects taken in, for roles that take them in by other ways.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// The address of its MoQT port.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn moqt_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// The address of its private port.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn ops_addr(&self) -> io::Result<SocketAddr> {
        self.ops.local_addr()
    }

    /// Serves until `shutdown` is ready, then tells everybody and ends.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { endpoint, ops, parents, connections_max, shared, registry, readiness } = self;
        let (mut background, mut upstream) = (JoinSet::new(), JoinSet::new());
        background.spawn(Ops::new(registry, readiness.clone()).run(ops));
        if !parents.is_empty() {
            background.spawn(watch_link(shared.link(), readiness));
            upstream.spawn(Upstream::new(shared.clone(), endpoint.clone(), parents).run());
        }
        let mut peers = JoinSet::new();
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                incoming = endpoint.knock() => match incoming {
                    Some(incoming) if peers.len() < connections_max => {
                        drop(peers.spawn(serve(shared.clone(), incoming)));
                    }
                    Some(incoming) => {
                        shared.metrics.arrivals_refused.with_label_values(&["full"]).inc();
                        incoming.refuse();
                    }
                    None => break,
                },
                Some(_) = peers.join_next(), if !peers.is_empty() => {}
                _ = sweep.tick() => shared.sweep(),
            }
        }
        // A parent that is left is not lost.
        upstream.shutdown().await;
        endpoint.close().await;
    }
}

/// One peer, from its first packet to its last.
async fn serve(shared: Arc<Shared>, incoming: quinn::Incoming) {
    let from = incoming.remote_address();
    let arrival = match endpoint::greet(incoming).await {
        Ok(arrival) => arrival,
        Err(error) => {
            shared.metrics.arrivals_refused.with_label_values(&[error.reason()]).inc();
            tracing::debug!(%from, %error, "peer turned away");
            return;
        }
    };
    let side = Side::Server { path: arrival.path };
    let ended = match Peer::new(shared.clone(), arrival.transport, side) {
        Ok(peer) => peer.serve().await,
        Err(ended) => ended,
    };
    shared.metrics.sessions_ended.with_label_values(&[ended.cause()]).inc();
    if let super::peer::Ended::Refused(error) = &ended {
        shared.metrics.arrivals_refused.with_label_values(&[error.reason()]).inc();
    }
    tracing::debug!(%from, %ended, "session over");
}

async fn watch_link(mut link: watch::Receiver<Link>, readiness: Readiness) {
    loop {
        readiness.set("parent", *link.borrow_and_update() == Link::Up);
        if link.changed().await.is_err() {
            return;
        }
    }
}

/// Why a node cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The MoQT port.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The private port.
    #[error("cannot bind TCP {listen} for metrics: {source}")]
    Ops {
        /// The address wanted.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A name is declared twice: a bug.
    #[error("cannot declare metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}
