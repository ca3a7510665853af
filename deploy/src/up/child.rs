//! A node of the local system: a process of its own, so that killing one is a real kill.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, sleep, timeout};

/// From the start of a process to its being ready: certificates and a session with the parent, which is
/// redialled at most every two seconds.
const READY_TIMEOUT: Duration = Duration::from_secs(20);

/// How often readiness is asked for.
const POLL: Duration = Duration::from_millis(50);

/// From the word to end until it is ended.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// A scrape of a node on the same machine.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes of an answer to a scrape at most: a node shows some hundred series of a hundred bytes.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// Lines of a log that an error shows.
const LOG_LINES: usize = 10;

/// A running process of ours.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) pid: u32,
    child: Child,
    // It ends when this is closed.
    lifeline: Option<ChildStdin>,
    log: PathBuf,
}

/// Where a node listens, as it says itself.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Listening {
    moqt: String,
    ops: String,
    #[serde(default)]
    http: Option<String>,
    #[serde(default)]
    rtmp: Option<String>,
}

impl Listening {
    pub(crate) fn moqt(&self) -> u16 {
        port(&self.moqt)
    }

    pub(crate) fn ops(&self) -> u16 {
        port(&self.ops)
    }

    pub(crate) fn http(&self) -> u16 {
        self.http.as_deref().map_or(0, port)
    }

    pub(crate) fn rtmp(&self) -> u16 {
        self.rtmp.as_deref().map_or(0, port)
    }
}

fn port(address: &str) -> u16 {
    address.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(0)
}

impl Process {
    /// Starts `stentor` with these arguments; what it logs goes to a file in `logs`.
    pub(crate) fn start(name: &str, args: &[&str], logs: &Path) -> anyhow::Result<Self> {
        let log = logs.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let program = std::env::current_exe().context("cannot find the program itself")?;
        let mut child = Command::new(program)
            .args(args)
            .arg("--exit-with-parent")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let pid = child.id().unwrap_or_default();
        let lifeline = child.stdin.take();
        Ok(Self { name: name.to_owned(), pid, child, lifeline, log })
    }

    /// Waits until a node is ready; returns where it listens.
    pub(crate) async fn ready(&mut self) -> anyhow::Result<Listening> {
        let stdout = self.child.stdout.take().context("a process without output")?;
        let mut lines = BufReader::new(stdout).lines();
        let deadline = Instant::now() + READY_TIMEOUT;
        let line = timeout(READY_TIMEOUT, lines.next_line()).await;
        let Ok(Ok(Some(line))) = line else { return Err(self.failed().await) };
        let listening: Listening =
            serde_json::from_str(&line).context("a node said what nobody understands")?;
        // Nothing more is said there, but a full pipe would stop whoever said it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        while get(listening.ops(), "/readyz").await.is_err() {
            if self.has_ended().is_some() || Instant::now() >= deadline {
                return Err(self.failed().await);
            }
            sleep(POLL).await;
        }
        Ok(listening)
    }

    /// How it ended, if it did.
    pub(crate) fn has_ended(&mut self) -> Option<String> {
        match self.child.try_wait() {
            Ok(Some(status)) => Some(status.to_string()),
            _ => None,
        }
    }

    async fn failed(&mut self) -> anyhow::Error {
        let ended = timeout(Duration::from_millis(500), self.child.wait()).await;
        let what = match ended {
            Ok(Ok(status)) => format!("ended with {status}"),
            _ => format!("was not ready within {READY_TIMEOUT:?}"),
        };
        anyhow!("{} {what}; the end of {}:\n{}", self.name, self.log.display(), self.last_lines())
    }

    /// The end of its log.
    pub(crate) fn last_lines(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    /// Tells it to end, and waits; kills it if it takes too long.
    pub(crate) async fn end(mut self) {
        drop(self.lifeline.take());
        if timeout(END_TIMEOUT, self.child.wait()).await.is_err() {
            tracing::warn!(name = self.name, "does not end, and is killed");
            let _ = self.child.kill().await;
        }
    }
}

/// The body of an answer of a node's private port, if it is good.
pub(crate) async fn get(port: u16, path: &str) -> anyhow::Result<String> {
    let exchange = async {
        let mut tcp = TcpStream::connect(("127.0.0.1", port)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        tcp.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        tcp.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = timeout(SCRAPE_TIMEOUT, exchange).await??;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    if !head.starts_with("HTTP/1.1 200") {
        bail!("{}", head.lines().next().unwrap_or_default());
    }
    Ok(body.to_owned())
}
