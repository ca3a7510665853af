//! `stentor up`: the whole system on one machine, each node a process.

mod child;
mod layout;
mod secrets;
mod table;

use std::fs;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use common::net::{log, shutdown};
use origin::ingest::EventId;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use self::child::{Listening, Process};
use self::layout::{Choice, EDGES_MAX, Links, NodePlan, RELAYS_MAX, Role};
use self::secrets::Secrets;
use self::table::Row;

/// What to bring up.
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Relays between the origin and the edges; without one the edges pull from the origin
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u16).range(0..=i64::from(RELAYS_MAX)))]
    relays: u16,
    /// Edges, which viewers connect to
    #[arg(long, value_name = "NUMBER", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=i64::from(EDGES_MAX)))]
    edges: u16,
    /// Put a clip on air that comes with stentor, again and again
    #[arg(long)]
    demo: bool,
    /// The event's id [default: demo with --demo, else live]
    #[arg(long, value_name = "EVENT")]
    event: Option<String>,
    /// Where keys, settings and logs are kept
    #[arg(long, value_name = "DIRECTORY", default_value = "stentor-data", env = "STENTOR_DATA")]
    data: PathBuf,
    /// How to tell what is running: for people, or as one line of JSON
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Add this to every port
    #[arg(long, value_name = "NUMBER", default_value_t = 0, conflicts_with = "any_port")]
    port_offset: u16,
    /// Take whatever ports are free
    #[arg(long)]
    any_port: bool,
    /// Do not put capture times and hashes into objects; `watch` then cannot check them
    #[arg(long)]
    no_probe: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// How often nodes are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Runs the system until it is told to end.
///
/// # Errors
/// The node that cannot begin, with the end of its log; or that a node has ended by itself.
pub(crate) async fn run(args: UpArgs) -> anyhow::Result<()> {
    log::init(log::Format::Text, "warn").map_err(anyhow::Error::msg)?;
    let mut system = tokio::select! {
        system = System::start(&args) => system?,
        () = shutdown::requested(false) => return Ok(()),
    };
    match args.output {
        Output::Json => println!("{}", system.json()),
        Output::Text => println!("{}", system.text()),
    }
    let outcome = tokio::select! {
        () = shutdown::requested(false) => Ok(()),
        outcome = system.watch(args.output) => outcome,
    };
    system.end().await;
    outcome
}

/// A local system that is running.
struct System {
    event: String,
    secrets: Secrets,
    /// The origin first, then relays, then edges.
    nodes: Vec<(NodePlan, Process, Listening)>,
    host: Option<Process>,
    /// Processes that were found to have ended, so that each is told of once.
    lost: Vec<String>,
}

impl System {
    async fn start(args: &UpArgs) -> anyhow::Result<Self> {
        let event = args.event.clone().unwrap_or_else(|| if args.demo { "demo" } else { "live" }.to_owned());
        EventId::new(&event).with_context(|| format!("--event `{event}`"))?;
        // Settings name files by whole paths, so that they hold wherever a node is started.
        let data = std::path::absolute(&args.data).context("--data")?;
        let (settings, logs) = (data.join("settings"), data.join("logs"));
        for dir in [&settings, &logs] {
            fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        let secrets = Secrets::make(&data, &event)?;
        let choice = if args.any_port { Choice::Any } else { Choice::Offset(args.port_offset) };
        let mut system = Self { event, secrets, nodes: Vec::new(), host: None, lost: Vec::new() };
        let relays = (1..=args.relays).map(|number| (Role::Relay, number));
        let edges = (1..=args.edges).map(|number| (Role::Edge, number));
        for (role, number) in [(Role::Origin, 1)].into_iter().chain(relays).chain(edges) {
            let plan = NodePlan::new(role, number, choice);
            let links =
                Links { parents: system.parents(role, number), others: system.other_edges(&plan, args) };
            let text = plan.settings(&system.secrets, &system.event, !args.no_probe, &links);
            let path = settings.join(format!("{}.toml", plan.name()));
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            let path = path.to_string_lossy();
            let mut process = Process::start(&plan.name(), &[role.name(), "--config", &path], &logs)?;
            let listening = process.ready().await.context(
                "the system could not be brought up (if a port is taken: --port-offset NUMBER or --any-port)",
            )?;
            system.nodes.push((plan, process, listening));
        }
        if args.demo {
            let (to, token) = (system.ingest(), system.secrets.host_token.to_string_lossy().into_owned());
            let publish = ["publish", "--demo", "--realtime", "--loop", "--to", &to, "--token-file", &token];
            system.host = Some(Process::start("host", &publish, &logs)?);
        }
        Ok(system)
    }

    /// The ports of those that a node pulls from, the best first: relays from the origin; edges from the
    /// relays, each beginning with another one.
    fn parents(&self, role: Role, number: u16) -> Vec<u16> {
        let of = |wanted: Role| self.nodes.iter().filter(move |(plan, ..)| plan.role == wanted);
        let ports = |wanted: Role| of(wanted).map(|(.., listening)| listening.moqt()).collect::<Vec<_>>();
        match role {
            Role::Origin => Vec::new(),
            Role::Relay => ports(Role::Origin),
            Role::Edge => {
                let mut relays = ports(Role::Relay);
                if relays.is_empty() {
                    return ports(Role::Origin);
                }
                let first = usize::from(number - 1) % relays.len();
                relays.rotate_left(first);
                relays
            }
        }
    }

    /// Edges that browsers may go to from this one: all others, or those that are up, where ports are not known
    /// before.
    fn other_edges(&self, plan: &NodePlan, args: &UpArgs) -> Vec<u16> {
        match (plan.role, plan.moqt()) {
            (Role::Edge, None) => self.of(Role::Edge).map(|(_, listening)| listening.moqt()).collect(),
            (Role::Edge, Some(own)) => {
                let choice = Choice::Offset(args.port_offset);
                let all =
                    (1..=args.edges).filter_map(|number| NodePlan::new(Role::Edge, number, choice).moqt());
                all.filter(|port| *port != own).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Looks after the processes, and shows what they do. Ends when one of them has.
    async fn watch(&mut self, output: Output) -> anyhow::Result<()> {
        let shows = output == Output::Text && std::io::stdout().is_terminal();
        let mut rows: Vec<_> = self
            .nodes
            .iter()
            .map(|(plan, _, it)| Row::new(plan.name(), format!("localhost:{}/udp", it.moqt()), it.ops()))
            .collect();
        let mut drawn = false;
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            for (name, status, last) in self.newly_lost() {
                // Nothing is restarted silently: whoever reads this decides.
                eprintln!("{name} has ended: {status}; the end of its log:\n{last}");
                drawn = false;
            }
            if self.nodes.iter_mut().all(|(_, process, _)| process.has_ended().is_some()) {
                bail!("all nodes have ended");
            }
            if shows {
                table::draw(&mut rows, &mut drawn).await;
            }
        }
    }

    fn newly_lost(&mut self) -> Vec<(String, String, String)> {
        let nodes = self.nodes.iter_mut().map(|(_, process, _)| process);
        let mut found = Vec::new();
        for process in nodes.chain(&mut self.host) {
            if !self.lost.contains(&process.name)
                && let Some(status) = process.has_ended()
            {
                self.lost.push(process.name.clone());
                found.push((process.name.clone(), status, process.last_lines()));
            }
        }
        found
    }

    /// Ends the host, then edges, relays and the origin.
    async fn end(self) {
        if let Some(host) = self.host {
            host.end().await;
        }
        for (_, process, _) in self.nodes.into_iter().rev() {
            process.end().await;
        }
    }

    fn of(&self, role: Role) -> impl Iterator<Item = (&Process, &Listening)> {
        let nodes = self.nodes.iter().filter(move |(plan, ..)| plan.role == role);
        nodes.map(|(_, process, listening)| (process, listening))
    }

    fn origin(&self) -> Option<&Listening> {
        self.of(Role::Origin).next().map(|(_, listening)| listening)
    }

    fn ingest(&self) -> String {
        format!("http://localhost:{}/ingest/{}", self.origin().map_or(0, Listening::http), self.event)
    }

    fn rtmp(&self) -> String {
        format!("rtmp://localhost:{}/live", self.origin().map_or(0, Listening::rtmp))
    }

    fn watch_url(&self) -> String {
        let port = self.of(Role::Edge).next().map_or(0, |(_, listening)| listening.moqt());
        let Self { event, secrets: Secrets { viewer, sha256, .. }, .. } = self;
        format!("moqt://localhost:{port}/{event}?t={viewer}#sha256:{sha256}")
    }

    fn page_url(&self) -> String {
        let port = self.of(Role::Edge).next().map_or(0, |(_, listening)| listening.http());
        format!("http://localhost:{port}/e/{}?t={}", self.event, self.secrets.viewer)
    }

    fn json(&self) -> Value {
        let node = |(process, it): (&Process, &Listening)| {
            json!({
                "moqt": format!("moqt://localhost:{}", it.moqt()),
                "ops": format!("http://127.0.0.1:{}", it.ops()),
                "pid": process.pid,
            })
        };
        let mut origin: Vec<_> = self.of(Role::Origin).map(node).collect();
        let mut origin = origin.pop().unwrap_or_default();
        origin["rtmp"] = self.rtmp().into();
        origin["stream_key"] = self.secrets.stream_key.clone().into();
        origin["http"] = self.ingest().into();
        origin["token"] = self.secrets.host.clone().into();
        let edge = |(process, it): (&Process, &Listening)| {
            let mut edge = node((process, it));
            edge["webtransport"] = format!("https://localhost:{}/{}", it.moqt(), self.event).into();
            edge["http"] = format!("http://localhost:{}", it.http()).into();
            edge
        };
        json!({
            "event": self.event,
            "watch_url": self.watch_url(),
            "page_url": self.page_url(),
            "origin": origin,
            "relays": self.of(Role::Relay).map(node).collect::<Vec<_>>(),
            "edges": self.of(Role::Edge).map(edge).collect::<Vec<_>>(),
            "certificate_sha256": self.secrets.sha256,
        })
    }

    fn text(&self) -> String {
        let (rtmp, key) = (self.rtmp(), &self.secrets.stream_key);
        let on_air = match self.host {
            Some(_) => "The demo is on air.".to_owned(),
            None => format!(
                "Go on air:\n  OBS      Settings > Stream > Custom: server {rtmp}, stream key {key}\n  \
                 ffmpeg   ffmpeg -re -i FILE -c:v libx264 -g 60 -c:a aac -f flv {rtmp}/{key}\n  \
                 stentor  stentor publish FILE --realtime --to {} --token {key}",
                self.ingest()
            ),
        };
        let count = |role: Role| match self.of(role).count() {
            1 => format!("1 {}", role.name()),
            count => format!("{count} {}s", role.name()),
        };
        format!(
            "Event {} is open: {}, {}, {}.\n{on_air}\nWatch:\n  {}\n  stentor watch '{}'\nCtrl-C ends everything.\n",
            self.event,
            count(Role::Origin),
            count(Role::Relay),
            count(Role::Edge),
            self.page_url(),
            self.watch_url()
        )
    }
}
