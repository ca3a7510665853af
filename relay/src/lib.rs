//! The relay: pulls each track once from its parent and fans it out to its children.
//!
//! Everything a relay does, an edge does too, so it is in [`common::net`]; what is here is the process.

use std::net::{Ipv4Addr, Ipv6Addr};

use clap::Args;
use common::net::config::{Mistakes, NodeSettings, read_file, write_sha256};
use common::net::node::{Node, NodeConfig};
use common::net::shutdown;
use prometheus::Registry;
use serde_json::json;

const MOQT_PORT: u16 = 4450;
const OPS_PORT: u16 = 9410;

/// What a relay can be told.
#[derive(Debug, Clone, Default, Args)]
pub struct RelaySettings {
    /// What any node can be told.
    #[command(flatten)]
    pub node: NodeSettings,
}

impl RelaySettings {
    fn resolve(mut self) -> Result<NodeConfig, Mistakes> {
        let mut mistakes = Mistakes::default();
        if let Some(path) = self.node.config.clone() {
            read_file(&path, self.node.slots(), &mut mistakes);
        }
        self.node.start_log(&mut mistakes);
        if self.node.parent.is_empty() {
            mistakes.note("parent", "a relay needs a node to pull from: moqt://HOST:PORT");
        }
        let (listen, ops) =
            ((Ipv6Addr::UNSPECIFIED, MOQT_PORT).into(), (Ipv4Addr::LOCALHOST, OPS_PORT).into());
        let node = self.node.resolve(listen, ops, &mut mistakes);
        mistakes.check()?;
        // Without a mistake there is a node.
        node.ok_or_else(Mistakes::default)
    }
}

/// Runs a relay until it is told to end. Writes one line of JSON to standard output once its ports are
/// bound.
///
/// # Errors
/// Everything that is wrong with the settings, or the port that cannot be bound.
pub async fn run(settings: RelaySettings) -> anyhow::Result<()> {
    let with_parent = settings.node.exit_with_parent;
    let config = settings.resolve()?;
    let sha256 = write_sha256(&config.identity.sha256());
    let node = Node::bind(config, Registry::new()).await?;
    let listening = json!({
        "role": "relay",
        "moqt": node.moqt_addr()?.to_string(),
        "ops": node.ops_addr()?.to_string(),
        "certificate_sha256": sha256,
    });
    println!("{listening}");
    node.run(shutdown::requested(with_parent)).await;
    Ok(())
}
