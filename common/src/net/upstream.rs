//! The way to the parent: the only reconnect loop there is.
//!
//! While the parent is away its tracks are orphans of the table, and readers stay; when it is back,
//! each is asked for again from where its log ends.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use url::Url;

use super::endpoint::Endpoint;
use super::log::Private;
use super::node::{Link, Shared};
use super::peer::{Peer, Side};
use super::tls::Trust;
use super::tracks::{Entry, TRACKS_MAX};

/// The pause before the first new attempt; doubled with each, half of it at random.
const PAUSE_FIRST: Duration = Duration::from_millis(100);

/// The longest pause: a parent that comes back is noticed within two seconds, and a thousand
/// children that lost the same one knock 500 times a second at most.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A session that held this long was a good one: the next pause is the first again.
const GOOD_SESSION: Duration = Duration::from_secs(5);

/// Between nodes silence is noticed within a second or so, not after the idle time-out.
const KEEP_ALIVE: Duration = Duration::from_millis(250);

/// Where a node pulls from, and as whom.
#[derive(Debug, Clone)]
pub struct Parent {
    /// `moqt://host:port/path` or `https://host:port/path`.
    pub url: Url,
    /// Whom to believe.
    pub trust: Trust,
    /// The token shown in SETUP, where the URL carries none.
    pub token: Option<Private<String>>,
}

/// A node's link to its parents: the next when one does not answer.
#[derive(Debug)]
pub(super) struct Upstream {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    parents: Vec<Parent>,
}

impl Upstream {
    pub(super) fn new(shared: Arc<Shared>, endpoint: Endpoint, parents: Vec<Parent>) -> Self {
        Self { shared, endpoint, parents }
    }

    /// Holds the link until the future is dropped.
    pub(super) async fn run(self) {
        let (asks, mut asked) = mpsc::channel::<Arc<Entry>>(TRACKS_MAX);
        // Fails only where the table is full, and it is empty when a node begins.
        let Ok(_route) = self.shared.tracks.route_to(asks) else { return };
        let mut pause = PAUSE_FIRST;
        for parent in self.parents.iter().cycle() {
            let began = Instant::now();
            let lost = self.attempt(parent, &mut asked).await;
            self.shared.set_link(Link::Down(lost));
            if began.elapsed() >= GOOD_SESSION {
                pause = PAUSE_FIRST;
            }
            let jitter = rand::rng().random_range(0.5..=1.0);
            sleep(pause.mul_f64(jitter)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// One session with a parent; returns why it is over, or did not begin.
    async fn attempt(&self, parent: &Parent, asked: &mut mpsc::Receiver<Arc<Entry>>) -> String {
        let dials = &self.shared.metrics.upstream_dials;
        // The query may hold a token, so the URL is not logged.
        let (host, port) = (parent.url.host_str(), parent.url.port());
        let transport = match self.endpoint.connect(&parent.url, &parent.trust, Some(KEEP_ALIVE)).await {
            Ok(transport) => transport,
            Err(error) => {
                dials.with_label_values(&["failed"]).inc();
                tracing::warn!(host, port, %error, "no parent");
                return error.to_string();
            }
        };
        dials.with_label_values(&["connected"]).inc();
        let side = Side::Client { url: parent.url.clone(), token: parent.token.clone() };
        let ended = match Peer::new(self.shared.clone(), transport, side) {
            Ok(peer) => peer.run(asked).await,
            Err(ended) => ended,
        };
        self.shared.metrics.sessions_ended.with_label_values(&[ended.cause()]).inc();
        tracing::warn!(host, port, %ended, "parent lost");
        ended.to_string()
    }
}
