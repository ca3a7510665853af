//! The edge: the node that viewers meet, over WebTransport and raw QUIC, with a little HTTP beside it.

pub mod hls;
mod web;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use clap::Args;
use common::net::config::{Mistakes, NodeSettings, Slot, read_file, write_sha256};
use common::net::node::{Node, NodeConfig};
use common::net::shutdown;
use prometheus::Registry;
use serde_json::json;
use tokio::net::TcpListener;

const MOQT_PORT: u16 = 4460;
const OPS_PORT: u16 = 9430;
const HTTP_PORT: u16 = 8860;

/// What an edge can be told.
#[derive(Debug, Clone, Default, Args)]
pub struct EdgeSettings {
    /// What any node can be told.
    #[command(flatten)]
    pub node: NodeSettings,
    /// Where viewers' browsers ask for the certificate's hash: TCP [default: port 8860 of every address]
    #[arg(long, value_name = "ADDRESS", env = "STENTOR_HTTP")]
    pub http: Option<String>,
}

impl EdgeSettings {
    fn resolve(mut self) -> Result<(NodeConfig, SocketAddr), Mistakes> {
        let mut mistakes = Mistakes::default();
        if let Some(path) = self.node.config.clone() {
            let mut slots = self.node.slots();
            slots.push(("http", Slot::One(&mut self.http)));
            read_file(&path, slots, &mut mistakes);
        }
        self.node.start_log(&mut mistakes);
        if self.node.parent.is_empty() {
            mistakes.note("parent", "an edge needs a node to pull from: moqt://HOST:PORT");
        }
        let everywhere = |port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let http = mistakes.parsed("http", &self.http).unwrap_or_else(|| everywhere(HTTP_PORT));
        let node =
            self.node.resolve(everywhere(MOQT_PORT), (Ipv4Addr::LOCALHOST, OPS_PORT).into(), &mut mistakes);
        mistakes.check()?;
        // Without a mistake there is a node.
        node.map(|node| (node, http)).ok_or_else(Mistakes::default)
    }
}

/// Runs an edge until it is told to end. Writes one line of JSON to standard output once its ports are
/// bound.
///
/// # Errors
/// Everything that is wrong with the settings, or the port that cannot be bound.
pub async fn run(settings: EdgeSettings) -> anyhow::Result<()> {
    let with_parent = settings.node.exit_with_parent;
    let (config, http) = settings.resolve()?;
    let sha256 = write_sha256(&config.identity.sha256());
    let node = Node::bind(config, Registry::new()).await?;
    let listener = TcpListener::bind(http).await;
    let listener = listener.map_err(|error| anyhow::anyhow!("cannot bind TCP {http} for HTTP: {error}"))?;
    let listening = json!({
        "role": "edge",
        "moqt": node.moqt_addr()?.to_string(),
        "ops": node.ops_addr()?.to_string(),
        "http": listener.local_addr()?.to_string(),
        "certificate_sha256": sha256,
    });
    println!("{listening}");
    tokio::select! {
        () = node.run(shutdown::requested(with_parent)) => {}
        () = web::run(listener, sha256) => {}
    }
    Ok(())
}
