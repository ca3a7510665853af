//! Which nodes a local system has, where they listen, and what each is told.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::secrets::Secrets;

/// The ports of the first node of each kind; those of node `n` are `n - 1` higher.
const ORIGIN: Ports = Ports { moqt: 4443, ops: 9400, http: Some(8810), rtmp: Some(1935) };
const RELAY: Ports = Ports { moqt: 4451, ops: 9411, http: None, rtmp: None };
const EDGE: Ports = Ports { moqt: 4461, ops: 9431, http: Some(8861), rtmp: None };

/// Nodes of a kind at most, so that no port is another kind's: relays have ten MoQT ports, edges forty.
pub(crate) const RELAYS_MAX: u16 = 9;
pub(crate) const EDGES_MAX: u16 = 39;

/// Where a node listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) moqt: u16,
    pub(crate) ops: u16,
    pub(crate) http: Option<u16>,
    pub(crate) rtmp: Option<u16>,
}

/// How ports are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The defaults, all higher by this.
    Offset(u16),
    /// Whatever is free.
    Any,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Origin,
    Relay,
    Edge,
}

impl Role {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::Relay => "relay",
            Self::Edge => "edge",
        }
    }
}

/// One node of the system.
#[derive(Debug, Clone)]
pub(crate) struct NodePlan {
    pub(crate) role: Role,
    pub(crate) number: u16,
    ports: Ports,
}

/// The MoQT ports of other nodes that a node has to know.
#[derive(Debug, Clone, Default)]
pub(crate) struct Links {
    /// Those that it pulls from, the best first.
    pub(crate) parents: Vec<u16>,
    /// Other edges.
    pub(crate) others: Vec<u16>,
}

impl NodePlan {
    pub(crate) fn new(role: Role, number: u16, choice: Choice) -> Self {
        let first = match role {
            Role::Origin => ORIGIN,
            Role::Relay => RELAY,
            Role::Edge => EDGE,
        };
        let port = |port: u16| match choice {
            Choice::Offset(offset) => port.saturating_add(number - 1).saturating_add(offset),
            Choice::Any => 0,
        };
        let ports = Ports {
            moqt: port(first.moqt),
            ops: port(first.ops),
            http: first.http.map(port),
            rtmp: first.rtmp.map(port),
        };
        Self { role, number, ports }
    }

    /// Its MoQT port, if that is known before it is there.
    pub(crate) fn moqt(&self) -> Option<u16> {
        Some(self.ports.moqt).filter(|port| *port > 0)
    }

    /// `origin`, `relay-1`, …
    pub(crate) fn name(&self) -> String {
        match self.role {
            Role::Origin => "origin".to_owned(),
            role => format!("{}-{}", role.name(), self.number),
        }
    }

    /// Its settings, as they stand in a file.
    pub(crate) fn settings(&self, secrets: &Secrets, event: &str, probe: bool, links: &Links) -> String {
        let Ports { moqt, ops, http, rtmp } = self.ports;
        let mut table = Table::new();
        let mut set = |key: &str, value: Value| drop(table.insert(key.to_owned(), value));
        set("listen", format!("[::]:{moqt}").into());
        set("ops", format!("127.0.0.1:{ops}").into());
        set("certificate", text(&secrets.certificate));
        set("key", text(&secrets.key));
        set("token-key", vec![text(&secrets.token_key)].into());
        if let Some(http) = http {
            set("http", format!("[::]:{http}").into());
        }
        if self.role == Role::Edge {
            set("name", self.name().into());
            // The certificate of a local system is made for it.
            set("pin", true.into());
            let url = |port: &u16| Value::from(format!("https://localhost:{port}"));
            set("other-edge", links.others.iter().map(url).collect::<Vec<_>>().into());
        }
        if let Some(rtmp) = rtmp {
            set("rtmp", format!("[::]:{rtmp}").into());
            set("event", vec![Value::from(format!("{event}={}", secrets.stream_key))].into());
            set("probe", probe.into());
        }
        if !links.parents.is_empty() {
            let url = |port: &u16| Value::from(format!("moqt://localhost:{port}"));
            set("parent", links.parents.iter().map(url).collect::<Vec<_>>().into());
            set("parent-sha256", secrets.sha256.clone().into());
            set("parent-token-file", text(&secrets.node_token));
        }
        table.to_string()
    }
}

fn text(path: &Path) -> Value {
    PathBuf::from(path).to_string_lossy().into_owned().into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_nodes_share_a_port() {
        let choice = Choice::Offset(0);
        let mut nodes = vec![NodePlan::new(Role::Origin, 1, choice)];
        nodes.extend((1..=RELAYS_MAX).map(|number| NodePlan::new(Role::Relay, number, choice)));
        nodes.extend((1..=EDGES_MAX).map(|number| NodePlan::new(Role::Edge, number, choice)));
        let udp: BTreeSet<_> = nodes.iter().map(|node| node.ports.moqt).collect();
        assert_eq!(udp.len(), nodes.len());
        let tcp = nodes.iter().flat_map(|node| [Some(node.ports.ops), node.ports.http, node.ports.rtmp]);
        let tcp: Vec<_> = tcp.flatten().collect();
        assert_eq!(tcp.iter().collect::<BTreeSet<_>>().len(), tcp.len());
    }
}
