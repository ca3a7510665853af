//! A node without children: a viewer, or whatever else reads tracks.

use std::sync::Arc;

use prometheus::Registry;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::door::Door;
use super::endpoint::Endpoint;
use super::node::{Bounds, Link, NodeError, Shared};
use super::tracks::Tracks;
use super::upstream::{Parent, Upstream};

/// Reads tracks from a parent, for as long as it is held; a parent that is lost is redialled.
#[derive(Debug)]
pub struct Subscriber {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    /// Dials for as long as the subscriber lives.
    link: JoinSet<()>,
}

impl Subscriber {
    /// Begins to dial.
    ///
    /// # Errors
    /// If there is no port to be had.
    pub fn new(parent: Parent, bounds: &Bounds) -> Result<Self, NodeError> {
        // Nobody knocks here.
        let shared = Arc::new(Shared::new(Door::Open, bounds, &Registry::new())?);
        let endpoint = Endpoint::client()?;
        let mut link = JoinSet::new();
        link.spawn(Upstream::new(shared.clone(), endpoint.clone(), vec![parent]).run());
        Ok(Self { shared, endpoint, link })
    }

    /// The tracks: want one, and read its log.
    pub fn tracks(&self) -> &Tracks {
        &self.shared.tracks
    }

    /// How it stands with the parent.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.shared.link()
    }

    /// Says goodbye.
    pub async fn close(mut self) {
        self.link.shutdown().await;
        self.endpoint.close().await;
    }
}
