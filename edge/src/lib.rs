//! The edge: the node that viewers meet, over WebTransport and raw QUIC, with a little HTTP beside it.

pub mod hls;
mod web;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use common::net::config::{Mistakes, NodeSettings, Slot, read_file, write_sha256};
use common::net::http::Server;
use common::net::node::{Node, NodeConfig};
use common::net::shutdown;
use common::net::tls::web_config;
use prometheus::Registry;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use self::hls::Settings;
use self::web::{Addresses, Web};

const MOQT_PORT: u16 = 4460;
const OPS_PORT: u16 = 9430;
const HTTP_PORT: u16 = 8860;

/// Connections of browsers at once, on each of the two ports; 16 KiB each are 64 MiB.
const CONNECTIONS_MAX: usize = 4_096;

/// What an edge can be told.
#[derive(Debug, Clone, Default, Args)]
pub struct EdgeSettings {
    /// What any node can be told.
    #[command(flatten)]
    pub node: NodeSettings,
    /// Where the viewer page is served by plain HTTP, which browsers take from localhost and proxies: TCP
    /// [default: port 8860 of every address]
    #[arg(long, value_name = "ADDRESS", env = "STENTOR_HTTP")]
    pub http: Option<String>,
    /// Where the viewer page is served by HTTPS, with the same certificate: TCP [default: not]
    #[arg(long, value_name = "ADDRESS", env = "STENTOR_HTTPS")]
    pub https: Option<String>,
    /// What this edge is called in the page's statistics [default: edge]
    #[arg(long, value_name = "NAME", env = "STENTOR_NAME")]
    pub name: Option<String>,
    /// Where browsers reach this edge by WebTransport: https://HOST:PORT [default: the host that the page was
    /// asked of, and the MoQT port]
    #[arg(long, value_name = "URL", env = "STENTOR_MOQT_URL")]
    pub moqt_url: Option<String>,
    /// Where browsers reach another edge, should this one go: https://HOST:PORT. May be repeated
    #[arg(long, value_name = "URL", env = "STENTOR_OTHER_EDGE", value_delimiter = ',')]
    pub other_edge: Vec<String>,
    /// Tell browsers the certificate's hash, which they believe for at most 14 days [default: for a certificate
    /// that was made, and not for one from a file]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", env = "STENTOR_PIN")]
    pub pin: Option<String>,
    /// What is offered to what has no WebTransport: low-latency, plain or off [default: low-latency]
    #[arg(long, value_name = "HLS", env = "STENTOR_HLS")]
    pub hls: Option<String>,
    /// How long a segment of HLS is, in whole seconds [default: 4s]
    #[arg(long, value_name = "TIME", env = "STENTOR_HLS_SEGMENT")]
    pub hls_segment: Option<String>,
    /// How long a part of a segment is [default: 1s]
    #[arg(long, value_name = "TIME", env = "STENTOR_HLS_PART")]
    pub hls_part: Option<String>,
    /// A site that may show the page in a frame: https://HOST. May be repeated
    #[arg(long, value_name = "ORIGIN", env = "STENTOR_FRAME_ANCESTOR", value_delimiter = ',')]
    pub frame_ancestor: Vec<String>,
}

/// An edge whose settings hold.
struct Config {
    node: NodeConfig,
    http: SocketAddr,
    https: Option<SocketAddr>,
    name: String,
    moqt: Option<String>,
    others: Vec<String>,
    pin: bool,
    frame_ancestors: Vec<String>,
    hls: Option<Settings>,
}

impl EdgeSettings {
    fn resolve(mut self) -> Result<Config, Mistakes> {
        let mut mistakes = Mistakes::default();
        if let Some(path) = self.node.config.clone() {
            let mut slots = self.node.slots();
            slots.extend([
                ("http", Slot::One(&mut self.http)),
                ("https", Slot::One(&mut self.https)),
                ("name", Slot::One(&mut self.name)),
                ("moqt-url", Slot::One(&mut self.moqt_url)),
                ("other-edge", Slot::Many(&mut self.other_edge)),
                ("pin", Slot::One(&mut self.pin)),
                ("hls", Slot::One(&mut self.hls)),
                ("hls-segment", Slot::One(&mut self.hls_segment)),
                ("hls-part", Slot::One(&mut self.hls_part)),
                ("frame-ancestor", Slot::Many(&mut self.frame_ancestor)),
            ]);
            read_file(&path, slots, &mut mistakes);
        }
        self.node.start_log(&mut mistakes);
        if self.node.parent.is_empty() {
            mistakes.note("parent", "an edge needs a node to pull from: moqt://HOST:PORT");
        }
        let everywhere = |port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let http = mistakes.parsed("http", &self.http).unwrap_or_else(|| everywhere(HTTP_PORT));
        let https = mistakes.parsed("https", &self.https);
        let pin = mistakes.parsed("pin", &self.pin).unwrap_or_else(|| self.node.certificate.is_none());
        let hls = self.hls_settings(&mut mistakes);
        let own = self.moqt_url.iter().map(|url| ("moqt-url", url));
        let others = self.other_edge.iter().map(|url| ("other-edge", url));
        let frames = self.frame_ancestor.iter().map(|url| ("frame-ancestor", url));
        for (setting, url) in own.chain(others).chain(frames).filter(|(_, url)| !is_origin(url)) {
            mistakes.note(setting, format!("`{url}` is not https://HOST or https://HOST:PORT"));
        }
        let node =
            self.node.resolve(everywhere(MOQT_PORT), (Ipv4Addr::LOCALHOST, OPS_PORT).into(), &mut mistakes);
        mistakes.check()?;
        // Without a mistake there is a node.
        let Some(node) = node else { return Err(Mistakes::default()) };
        let name = self.name.unwrap_or_else(|| "edge".to_owned());
        let (moqt, others, frame_ancestors) = (self.moqt_url, self.other_edge, self.frame_ancestor);
        Ok(Config { node, http, https, name, moqt, others, pin, frame_ancestors, hls })
    }

    fn hls_settings(&self, mistakes: &mut Mistakes) -> Option<Settings> {
        let defaults = Settings::default();
        let target_duration =
            mistakes.time("hls-segment", &self.hls_segment).unwrap_or(defaults.target_duration);
        let part = mistakes.time("hls-part", &self.hls_part).unwrap_or(defaults.part);
        if target_duration.subsec_nanos() != 0 || !SEGMENT_SECONDS.contains(&target_duration.as_secs()) {
            mistakes.note("hls-segment", "a segment has 1 to 10 whole seconds");
        }
        if part < PART_MIN || part > target_duration / 2 {
            mistakes.note("hls-part", "a part has at least 200ms, and at most half a segment");
        }
        let low_latency = match self.hls.as_deref() {
            None | Some("low-latency") => true,
            Some("plain") => false,
            Some("off") => return None,
            Some(other) => {
                mistakes.note("hls", format!("`{other}`: say low-latency, plain or off"));
                return None;
            }
        };
        Some(Settings { target_duration, part, low_latency, ..defaults })
    }
}

/// Longer segments are longer to wait for, and shorter ones more requests than seconds.
const SEGMENT_SECONDS: std::ops::RangeInclusive<u64> = 1..=10;

/// Five requests a second and viewer are enough.
const PART_MIN: Duration = Duration::from_millis(200);

/// Whether this is a scheme, a host, and perhaps a port: nothing that could end a header or a policy.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]*".contains(&byte);
    host.is_some_and(|host| !host.is_empty() && host.bytes().all(allowed))
}

/// Runs an edge until it is told to end. Writes one line of JSON to standard output once its ports are
/// bound.
///
/// # Errors
/// Everything that is wrong with the settings, or the port that cannot be bound.
pub async fn run(settings: EdgeSettings) -> anyhow::Result<()> {
    let with_parent = settings.node.exit_with_parent;
    let Config { node, http, https, name, moqt, others, pin, frame_ancestors, hls } = settings.resolve()?;
    let sha256 = write_sha256(&node.identity.sha256());
    let (door, tls) = (node.door.clone(), Arc::new(web_config(&node.identity)?));
    let node = Node::bind(node, Registry::new()).await?;
    let moqt_addr = node.moqt_addr()?;
    let plain = bind(http).await?;
    let secure = match https {
        Some(https) => Some(bind(https).await?),
        None => None,
    };
    let listening = json!({
        "role": "edge",
        "moqt": moqt_addr.to_string(),
        "ops": node.ops_addr()?.to_string(),
        "http": plain.local_addr()?.to_string(),
        "https": secure.as_ref().and_then(|listener| listener.local_addr().ok()).map(|addr| addr.to_string()),
        "certificate_sha256": sha256,
    });
    let addresses = Addresses { name, moqt, moqt_port: moqt_addr.port(), others, pin };
    let web = Arc::new(Web::new(door, node.tracks().clone(), addresses, sha256, &frame_ancestors, hls));
    let mut tasks = JoinSet::new();
    tasks.spawn(web.clone().run(Server::plain(CONNECTIONS_MAX), plain));
    if let Some(secure) = secure {
        tasks.spawn(web.run(Server { connections_max: CONNECTIONS_MAX, tls: Some(tls) }, secure));
    }
    println!("{listening}");
    node.run(shutdown::requested(with_parent)).await;
    Ok(())
}

async fn bind(at: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(at).await.map_err(|error| anyhow::anyhow!("cannot bind TCP {at} for the page: {error}"))
}
