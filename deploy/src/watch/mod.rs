//! `stentor watch`: a viewer without a screen, who counts.

mod mux;
mod reader;
mod report;

use std::future::poll_fn;
use std::io::Write;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use common::model::{FullTrackName, Namespace, PROPERTY_CAPTURE_TIME, PROPERTY_PAYLOAD_HASH};
use common::net::config::parse_sha256;
use common::net::node::{Bounds, Link};
use common::net::subscriber::Subscriber;
use common::net::tls::Trust;
use common::net::tracks::{Interest, Refusal};
use common::net::upstream::Parent;
use common::net::{log, now, shutdown};
use common::track::Object;
use common::wire::properties::{Properties, Value};
use origin::media::catalog::{self, Catalog};
use tokio::time::{sleep, sleep_until, timeout};
use url::Url;

use self::mux::Muxer;
use self::reader::{Sight, TrackReader};
use self::report::{Report, Tally};

/// How far a viewer that only counts may fall behind: further than any link should make it.
const LATENCY_MAX: Duration = Duration::from_secs(10);

/// How long a first session may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// How long until a track that nobody has is asked for again.
const RETRY: Duration = Duration::from_millis(250);

/// What to watch.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// The link: moqt://HOST:PORT/EVENT?t=TOKEN#sha256:HEX, or with https:// by WebTransport
    #[arg(value_name = "URL")]
    url: Url,
    /// Write what comes as fragmented MP4; - for standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Check order, continuity and hashes; without it only what comes is counted
    #[arg(long)]
    verify: bool,
    /// Watch so long from the first object on; without it, until the event ends
    #[arg(long, value_name = "SECONDS")]
    duration: Option<f64>,
    /// How long to wait for the event to be on air
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    wait: f64,
    /// How to report, on standard error, or on standard output if the picture does not go there
    #[arg(long, value_enum, default_value_t = Format::Text)]
    report: Format,
    /// Roots in a PEM file to believe, in place of the link's hash
    #[arg(long, value_name = "FILE")]
    roots: Option<PathBuf>,
    /// Believe any certificate
    #[arg(long, conflicts_with = "roots")]
    insecure: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Watches, reports, and says by the exit code whether anything was missing or wrong.
///
/// # Errors
/// If there is nothing to watch.
pub(crate) async fn run(args: WatchArgs) -> anyhow::Result<ExitCode> {
    log::init(log::Format::Text, "warn,web_transport_quinn=error").map_err(anyhow::Error::msg)?;
    let parent = parent(&args)?;
    let event = parent.url.path().trim_start_matches('/').to_owned();
    let namespace = Namespace::event(&event).context("the link names no event: moqt://HOST:PORT/EVENT")?;
    let (began, began_at) = (now(), since_epoch());
    let subscriber = connect(parent).await?;
    let wait = Duration::from_secs_f64(args.wait.clamp(0.0, 1e9));
    let mut viewer =
        Viewer { args, began, began_at, joined: None, first_frame: None, reconnects: 0, watched: Vec::new() };
    let outcome = tokio::select! {
        () = shutdown::requested(false) => Ok(()),
        outcome = viewer.watch(&subscriber, &namespace, wait) => outcome,
    };
    subscriber.close().await;
    let report = viewer.report();
    outcome?;
    viewer.tell(&report)?;
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whom to ask, and whom to believe.
fn parent(args: &WatchArgs) -> anyhow::Result<Parent> {
    let mut url = args.url.clone();
    let hash = url.fragment().and_then(|fragment| fragment.strip_prefix("sha256:")).map(str::to_owned);
    url.set_fragment(None);
    let trust = match (hash, &args.roots, args.insecure) {
        (_, _, true) => Trust::Anybody,
        (_, Some(roots), _) => Trust::Roots(roots.clone()),
        (Some(hash), None, _) => {
            Trust::Sha256(parse_sha256(&hash).context("the link's sha256 is not 64 hex digits")?)
        }
        (None, None, _) => bail!(
            "whom to believe? Use the whole link, with #sha256:HEX at its end, or say --roots FILE or --insecure"
        ),
    };
    Ok(Parent { url, trust, token: None })
}

async fn connect(parent: Parent) -> anyhow::Result<Subscriber> {
    let bounds = Bounds { latency_max: LATENCY_MAX, ..Bounds::default() };
    let subscriber = Subscriber::new(parent, &bounds)?;
    let mut link = subscriber.link();
    let decided = timeout(CONNECT_TIMEOUT, link.wait_for(|link| *link != Link::Dialling)).await;
    match decided.ok().and_then(Result::ok).as_deref() {
        Some(Link::Up) => {}
        Some(Link::Down(reason)) => bail!("cannot join: {reason}"),
        _ => bail!("cannot join: no answer within {CONNECT_TIMEOUT:?}"),
    }
    Ok(subscriber)
}

/// Somebody who watches an event.
struct Viewer {
    args: WatchArgs,
    began: Instant,
    /// The same as the time since the Unix epoch, to compare with times of capture.
    began_at: Duration,
    joined: Option<Instant>,
    first_frame: Option<Instant>,
    reconnects: u64,
    watched: Vec<Watched>,
}

/// A track being watched.
struct Watched {
    name: String,
    role: Role,
    reader: TrackReader,
    tally: Tally,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Catalog,
    Picture,
    Other,
}

impl Viewer {
    async fn watch(
        &mut self,
        subscriber: &Subscriber,
        namespace: &Namespace,
        wait: Duration,
    ) -> anyhow::Result<()> {
        let gives_up = now() + wait;
        let on_air = async {
            let interest = find(subscriber, namespace, catalog::TRACK).await?;
            self.joined = Some(now());
            self.begin(catalog::TRACK, Role::Catalog, interest);
            self.first_catalog().await
        };
        let waited = format!("nothing was on air for {wait:?}: is the host sending?");
        let catalog = timeout(wait, on_air).await.context(waited.clone())??;
        let mut inits = Vec::new();
        for track in catalog.cmaf_tracks() {
            let left = gives_up.saturating_duration_since(now());
            let interest =
                timeout(left, find(subscriber, namespace, &track.name)).await.context(waited.clone())??;
            let role = if track.role.as_deref() == Some("video") { Role::Picture } else { Role::Other };
            inits.push(catalog.init(track)?);
            self.begin(&track.name, role, interest);
        }
        if inits.is_empty() {
            bail!("the event has no track that can be watched");
        }
        let mut file = self.open()?;
        let mut muxer = Muxer::default();
        if let Some(file) = &mut file {
            file.write_all(&Muxer::init(&inits)?).context("cannot write on")?;
        }
        let length = self.args.duration.map(|seconds| Duration::from_secs_f64(seconds.clamp(0.0, 1e9)));
        let mut until = None;
        let mut link = subscriber.link();
        loop {
            let seen = tokio::select! {
                seen = self.look() => seen,
                () = wait_until(until) => return Ok(()),
                Ok(()) = link.changed() => {
                    self.reconnects += u64::from(*link.borrow_and_update() == Link::Up);
                    continue;
                }
            };
            let Some((track, chunk)) = seen else { return Ok(()) };
            if until.is_none() {
                until = length.map(|length| now() + length);
            }
            // The first track is the catalog.
            if let (Some(file), Some(track)) = (&mut file, track.checked_sub(1)) {
                file.write_all(&muxer.chunk(track, chunk)?).context("cannot write on")?;
                file.flush().context("cannot write on")?;
            }
        }
    }

    fn begin(&mut self, name: &str, role: Role, interest: Interest) {
        let reader = TrackReader::new(interest, LATENCY_MAX);
        self.watched.push(Watched { name: name.to_owned(), role, reader, tally: Tally::default() });
    }

    async fn first_catalog(&mut self) -> anyhow::Result<Catalog> {
        match self.look().await {
            Some((_, payload)) => Ok(Catalog::read(&payload)?),
            None => bail!("the event is over"),
        }
    }

    /// The next object of any track, with the track's number; `None` when the event is over.
    async fn look(&mut self) -> Option<(usize, Bytes)> {
        let due = self.watched.iter().filter_map(|watched| watched.reader.poll_timeout()).min();
        let mut due = pin!(wait_until(due));
        poll_fn(|cx| {
            // What is late is given up when it is polled.
            let _ = due.as_mut().poll(cx);
            self.poll_look(cx)
        })
        .await
    }

    fn poll_look(&mut self, cx: &Context<'_>) -> Poll<Option<(usize, Bytes)>> {
        for (at, watched) in self.watched.iter_mut().enumerate() {
            while let Poll::Ready(sight) = watched.reader.poll_next(cx) {
                match sight {
                    Sight::Object { starts_group, missing, object } => {
                        watched.count(starts_group, missing, &object, self.args.verify, self.began_at);
                        if watched.role == Role::Picture {
                            self.first_frame.get_or_insert_with(now);
                        }
                        return Poll::Ready(Some((at, object.payload)));
                    }
                    Sight::CutShort => watched.tally.gaps += 1,
                    // The tracks of an event end together.
                    Sight::End => return Poll::Ready(None),
                }
            }
        }
        Poll::Pending
    }

    fn open(&self) -> anyhow::Result<Option<Box<dyn Write + Send>>> {
        let Some(path) = &self.args.output else { return Ok(None) };
        if self.writes_to_stdout() {
            return Ok(Some(Box::new(std::io::stdout())));
        }
        let file = std::fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Some(Box::new(std::io::BufWriter::new(file))))
    }

    fn writes_to_stdout(&self) -> bool {
        self.args.output.as_ref().is_some_and(|path| path.as_os_str() == "-")
    }

    fn report(&self) -> Report {
        let since = |at: Instant| at.duration_since(self.began).as_millis() as u64;
        // The catalog is the viewer's, and not what it came to see.
        let media = || self.watched.iter().filter(|watched| watched.role != Role::Catalog);
        Report {
            join_ms: self.joined.map(since),
            first_frame_ms: self.first_frame.map(since),
            reconnects: self.reconnects,
            total: Tally::sum(media().map(|watched| &watched.tally)).numbers(),
            tracks: self.watched.iter().map(|it| (it.name.clone(), it.tally.numbers())).collect(),
        }
    }

    fn tell(&self, report: &Report) -> anyhow::Result<()> {
        let text = match self.args.report {
            Format::Text => report.to_string(),
            Format::Json => serde_json::to_string(report)?,
        };
        if self.writes_to_stdout() {
            eprintln!("{text}");
        } else {
            println!("{text}");
        }
        Ok(())
    }
}

impl Watched {
    fn count(&mut self, starts_group: bool, missing: u64, object: &Object, verify: bool, began: Duration) {
        let tally = &mut self.tally;
        tally.objects += 1;
        tally.bytes += object.payload.len() as u64;
        tally.groups += u64::from(starts_group);
        if verify {
            tally.gaps += missing;
        }
        // It was checked when it came.
        let Ok(properties) = Properties::decode(object.properties.clone()) else { return };
        if let Some(captured) = properties.number(PROPERTY_CAPTURE_TIME).map(Duration::from_micros)
            // What is older than the viewer waited for it, and not the other way round.
            && captured >= began
        {
            tally.took(since_epoch().saturating_sub(captured));
        }
        if let (true, Some(Value::Bytes(hash))) = (verify, properties.find(PROPERTY_PAYLOAD_HASH)) {
            tally.hashes += 1;
            let is_right = digest(&SHA256, &object.payload).as_ref().starts_with(&hash);
            tally.hash_mismatches += u64::from(!is_right || hash.is_empty());
        }
    }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Wants a track until somebody has it.
async fn find(subscriber: &Subscriber, namespace: &Namespace, name: &str) -> anyhow::Result<Interest> {
    let name = FullTrackName::new(namespace.clone(), name.to_owned())?;
    loop {
        let outcome = match subscriber.tracks().want(&name) {
            Ok(interest) => interest.ready().await.map(|()| interest),
            Err(refusal) => Err(refusal),
        };
        match outcome {
            Ok(interest) => return Ok(interest),
            Err(refusal @ Refusal::Upstream { code: 0x1, .. }) => bail!("{refusal}"),
            Err(_) => sleep(RETRY).await,
        }
    }
}

async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
