//! The ingest of one origin with one open event, "show", and the hosts that come to it.

use std::{
    net::SocketAddr,
    process::{Output, Stdio},
    sync::Arc,
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use origin::{
    ingest::{
        Door, EventId, Feed, IngestFault, Observer, Protocol, Refusal, Stage,
        http::{Demux, HttpIngest},
        rtmp::Rtmp,
    },
    media::{Input, Kind, Sample},
};
use tokio::{net::TcpListener, process::Command, sync::mpsc, task::JoinSet, time::timeout};

/// No test should come near it; a machine under load may.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

pub(crate) struct Origin {
    pub(crate) rtmp: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) feed: Feed,
    faults: mpsc::UnboundedReceiver<String>,
    _tasks: JoinSet<()>,
}

impl Origin {
    pub(crate) async fn start(demux: impl Fn() -> Box<dyn Demux> + Send + Sync + 'static) -> Self {
        let stage = Stage::new();
        let feed = stage.open(EventId::new("show").unwrap()).unwrap();
        let (counter, faults) = mpsc::unbounded_channel();
        let observer = Arc::new(Faults(counter));
        let mut tasks = JoinSet::new();
        let (rtmp, http) = (listener().await, listener().await);
        let (rtmp_address, http_address) = (rtmp.local_addr().unwrap(), http.local_addr().unwrap());
        let shell = Rtmp::new(Arc::new(Keys), stage.clone(), observer.clone());
        tasks.spawn(shell.run(rtmp, std::future::pending()));
        tasks.spawn(serve(http, Arc::new(HttpIngest::new(Arc::new(Keys), stage, observer, demux))));
        Self { rtmp: rtmp_address, http: http_address, feed, faults, _tasks: tasks }
    }

    pub(crate) async fn next(&mut self) -> Input {
        timeout(DEADLINE, self.feed.recv()).await.expect("a host sends in time")
    }

    /// Everything up to the next break.
    pub(crate) async fn until_break(&mut self) -> Vec<Input> {
        let mut inputs = Vec::new();
        loop {
            match self.next().await {
                Input::Break => return inputs,
                input => inputs.push(input),
            }
        }
    }

    /// Waits for the next fault and gives its protocol and label.
    pub(crate) async fn fault(&mut self) -> String {
        timeout(DEADLINE, self.faults.recv()).await.expect("a fault is counted in time").unwrap()
    }

    pub(crate) fn rtmp_url(&self, key: &str) -> String {
        format!("rtmp://{}/live/{key}", self.rtmp)
    }

    pub(crate) fn http_url(&self, rest: &str) -> String {
        format!("http://{}/ingest/{rest}", self.http)
    }
}

pub(crate) fn samples(inputs: &[Input], kind: Kind) -> Vec<&Sample> {
    let all =
        inputs.iter().filter_map(|input| if let Input::Sample(sample) = input { Some(sample) } else { None });
    all.filter(|sample| sample.kind == kind).collect()
}

/// An encoder of four seconds of moving picture with B-frames and a key frame a second, and a tone.
pub(crate) fn encoder(pace: &[&str], output: &[&str]) -> Command {
    const SOURCE: &str = "-f lavfi -i testsrc2=size=320x180:rate=30 -f lavfi -i sine=sample_rate=48000 -t 4 \
        -c:v libx264 -preset veryfast -bf 3 -b_strategy 0 -g 30 -sc_threshold 0 -pix_fmt yuv420p -c:a aac";
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y"]).args(pace);
    ffmpeg.args(SOURCE.split_whitespace()).args(output);
    ffmpeg.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    ffmpeg
}

pub(crate) async fn finish(mut command: Command) -> (Output, String) {
    let program = command.as_std().get_program().to_owned();
    let running = command.output();
    let output = timeout(DEADLINE, running).await.expect("it ends in time");
    let output = output.unwrap_or_else(|error| panic!("install {program:?}: {error}"));
    let text = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    (output, text)
}

struct Keys;

impl Door for Keys {
    fn admit(&self, key: &str) -> Result<EventId, Refusal> {
        match key {
            "good" => Ok(EventId::new("show").unwrap()),
            "other" => Ok(EventId::new("elsewhere").unwrap()),
            "viewer" => Err(Refusal::NotHost),
            _ => Err(Refusal::Unknown),
        }
    }
}

struct Faults(mpsc::UnboundedSender<String>);

impl Observer for Faults {
    fn session_started(&self, _: Protocol) {}
    fn session_ended(&self, _: Protocol) {}
    fn bytes(&self, _: Protocol, _: usize) {}
    fn sample(&self, _: Kind) {}
    fn fault(&self, protocol: Protocol, fault: &IngestFault) {
        let _ = self.0.send(format!("{} {}", protocol.label(), fault.label()));
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

async fn serve(listener: TcpListener, ingest: Arc<HttpIngest>) {
    let mut connections = JoinSet::new();
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let ingest = ingest.clone();
        connections.spawn(async move {
            let handler = service_fn(|request| async {
                Ok::<_, std::convert::Infallible>(ingest.handle(request).await)
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(tcp), handler).await;
        });
    }
}
