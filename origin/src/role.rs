//! The origin as a process.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use clap::Args;
use common::net::config::{Mistakes, NodeSettings, Slot, read_file, write_sha256};
use common::net::door::Door as NodeDoor;
use common::net::log::Private;
use common::net::metrics::IngestMetrics;
use common::net::node::{Node, NodeConfig};
use common::net::shutdown;
use prometheus::Registry;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::broadcast::Broadcast;
use crate::doorkeeper::Doorkeeper;
use crate::ingest::fmp4;
use crate::ingest::http::HttpIngest;
use crate::ingest::rtmp::Rtmp;
use crate::ingest::{EventId, Stage};
use crate::media::packager::Settings;
use crate::observer::Counting;
use crate::web;

const MOQT_PORT: u16 = 4443;
const OPS_PORT: u16 = 9400;
const RTMP_PORT: u16 = 1935;
const HTTP_PORT: u16 = 8810;

/// What an origin can be told.
#[derive(Debug, Clone, Default, Args)]
pub struct OriginSettings {
    /// What any node can be told.
    #[command(flatten)]
    pub node: NodeSettings,
    /// Where hosts publish by RTMP [default: port 1935 of every address]
    #[arg(long, value_name = "ADDRESS", env = "STENTOR_RTMP")]
    pub rtmp: Option<String>,
    /// Where hosts publish fragmented MP4 by HTTP [default: port 8810 of every address]
    #[arg(long, value_name = "ADDRESS", env = "STENTOR_HTTP")]
    pub http: Option<String>,
    /// An event and its stream key: EVENT=KEY, or EVENT alone for hosts with tokens. May be repeated
    #[arg(long, value_name = "EVENT=KEY", env = "STENTOR_EVENT", value_delimiter = ',')]
    pub event: Vec<String>,
    /// Put the time of capture and a hash into every object, for whoever measures
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", env = "STENTOR_PROBE")]
    pub probe: Option<String>,
    /// How much sound goes into an object [default: 100ms]
    #[arg(long, value_name = "TIME", env = "STENTOR_AUDIO_BUNDLE")]
    pub audio_bundle: Option<String>,
    /// The latency that players are told to aim at [default: 1s]
    #[arg(long, value_name = "TIME", env = "STENTOR_TARGET_LATENCY")]
    pub target_latency: Option<String>,
}

/// An origin whose settings hold.
struct Config {
    node: NodeConfig,
    rtmp: SocketAddr,
    http: SocketAddr,
    events: Vec<(EventId, Option<Private<String>>)>,
    probe: bool,
    settings: Settings,
    doorkeeper: Doorkeeper,
}

impl OriginSettings {
    fn resolve(mut self) -> Result<Config, Mistakes> {
        let mut mistakes = Mistakes::default();
        if let Some(path) = self.node.config.clone() {
            let mut slots = self.node.slots();
            slots.extend([
                ("rtmp", Slot::One(&mut self.rtmp)),
                ("http", Slot::One(&mut self.http)),
                ("event", Slot::Many(&mut self.event)),
                ("probe", Slot::One(&mut self.probe)),
                ("audio-bundle", Slot::One(&mut self.audio_bundle)),
                ("target-latency", Slot::One(&mut self.target_latency)),
            ]);
            read_file(&path, slots, &mut mistakes);
        }
        self.node.start_log(&mut mistakes);
        let rtmp = mistakes.parsed("rtmp", &self.rtmp).unwrap_or_else(|| everywhere(RTMP_PORT));
        let http = mistakes.parsed("http", &self.http).unwrap_or_else(|| everywhere(HTTP_PORT));
        let probe = mistakes.parsed("probe", &self.probe).unwrap_or(false);
        let events = self.events(&mut mistakes);
        let settings = self.settings(&mut mistakes);
        let node =
            self.node.resolve(everywhere(MOQT_PORT), (Ipv4Addr::LOCALHOST, OPS_PORT).into(), &mut mistakes);
        mistakes.check()?;
        // Without a mistake there is a node.
        let Some(node) = node else { return Err(Mistakes::default()) };
        let keys = events.iter().filter_map(|(event, key)| key.clone().map(|key| (event.clone(), key)));
        let verifier = match &node.door {
            NodeDoor::Tokens(verifier) => Some(verifier.clone()),
            NodeDoor::Open => None,
        };
        let doorkeeper = Doorkeeper::new(keys.collect(), verifier);
        Ok(Config { node, rtmp, http, events, probe, settings, doorkeeper })
    }

    fn events(&self, mistakes: &mut Mistakes) -> Vec<(EventId, Option<Private<String>>)> {
        let mut events = Vec::new();
        for text in &self.event {
            let (id, key) = match text.split_once('=') {
                Some((id, key)) => (id, Some(Private(key.to_owned()))),
                None => (text.as_str(), None),
            };
            match EventId::new(id) {
                Ok(_) if key.as_ref().is_some_and(|key| key.0.len() < STREAM_KEY_BYTES_MIN) => {
                    let least = STREAM_KEY_BYTES_MIN;
                    mistakes
                        .note("event", format!("the stream key of {id} is shorter than {least} characters"));
                }
                Ok(id) => events.push((id, key)),
                Err(error) => mistakes.note("event", format!("`{id}`: {error}")),
            }
        }
        if self.event.is_empty() {
            mistakes.note("event", "an origin needs an event: say EVENT=KEY");
        }
        events
    }

    fn settings(&self, mistakes: &mut Mistakes) -> Settings {
        let defaults = Settings::default();
        let latency = mistakes.time("target-latency", &self.target_latency);
        Settings {
            audio_bundle: mistakes.time("audio-bundle", &self.audio_bundle).unwrap_or(defaults.audio_bundle),
            target_latency_ms: latency.map_or(defaults.target_latency_ms, |time| time.as_millis() as u64),
            ..defaults
        }
    }
}

/// A key that is guessed in a week at a thousand tries a second has 30 bits; eight letters have 37.
const STREAM_KEY_BYTES_MIN: usize = 8;

fn everywhere(port: u16) -> SocketAddr {
    (Ipv6Addr::UNSPECIFIED, port).into()
}

/// Runs an origin until it is told to end. Writes one line of JSON to standard output once its ports are
/// bound.
///
/// # Errors
/// Everything that is wrong with the settings, or the port that cannot be bound.
pub async fn run(settings: OriginSettings) -> anyhow::Result<()> {
    let with_parent = settings.node.exit_with_parent;
    let config = settings.resolve()?;
    let sha256 = write_sha256(&config.node.identity.sha256());
    let registry = Registry::new();
    let ingest = IngestMetrics::new(&registry)?;
    let node = Node::bind(config.node, registry).await?;
    let bind = async |name: &str, at: SocketAddr| {
        TcpListener::bind(at)
            .await
            .map_err(|error| anyhow::anyhow!("cannot bind TCP {at} for {name}: {error}"))
    };
    let (rtmp, http) = (bind("RTMP", config.rtmp).await?, bind("HTTP", config.http).await?);
    let listening = json!({
        "role": "origin",
        "moqt": node.moqt_addr()?.to_string(),
        "ops": node.ops_addr()?.to_string(),
        "rtmp": rtmp.local_addr()?.to_string(),
        "http": http.local_addr()?.to_string(),
        "certificate_sha256": sha256,
    });

    let (stage, door) = (Stage::new(), Arc::new(config.doorkeeper));
    let observer = Arc::new(Counting(ingest.clone()));
    let mut tasks = JoinSet::new();
    for (event, _) in config.events {
        let feed = stage.open(event)?;
        let (settings, metrics) = (config.settings.clone(), node.metrics().clone());
        let broadcast =
            Broadcast::open(feed, settings, config.probe, node.tracks(), metrics, ingest.clone())?;
        tracing::info!(event = %broadcast.event(), "open");
        tasks.spawn(broadcast.run());
    }
    let demux = || -> Box<dyn crate::ingest::http::Demux> { Box::new(fmp4::Reader::new()) };
    let uploads = HttpIngest::new(door.clone(), stage.clone(), observer.clone(), demux);
    tasks.spawn(Rtmp::new(door, stage, observer).run(rtmp, std::future::pending()));
    tasks.spawn(web::run(http, Arc::new(uploads)));
    println!("{listening}");
    node.run(shutdown::requested(with_parent)).await;
    Ok(())
}
