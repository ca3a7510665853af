//! `stentor publish`: fragmented MP4 to an origin, over HTTP.

mod clip;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use common::net::shutdown;
use futures_util::stream::poll_fn;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use self::clip::Clip;
use crate::fragments::{Piece, Splitter};

/// The clip that is always there.
const DEMO: &[u8] = include_bytes!("../../demo/demo.mp4");

/// Pieces on their way to the origin: it is the origin that sets the pace, not this queue.
const QUEUE: usize = 4;

/// Bytes read from a file at once.
const READ_BYTES: usize = 64 << 10;

/// What to publish, and where.
#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    /// Fragmented MP4 with H.264 and AAC; - for standard input
    #[arg(value_name = "FILE", required_unless_present = "demo")]
    file: Option<PathBuf>,
    /// Publish the clip that comes with stentor
    #[arg(long, conflicts_with = "file")]
    demo: bool,
    /// Where to: http://HOST:PORT/ingest/EVENT
    #[arg(long, value_name = "URL")]
    to: Uri,
    /// A host's token, or the event's stream key
    #[arg(long, value_name = "TOKEN", env = "STENTOR_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// A file with the token
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
    /// Send as fast as it is shown, not as fast as it can be read
    #[arg(long)]
    realtime: bool,
    /// Begin again at the end, without a seam. Needs a file, not standard input
    #[arg(long = "loop")]
    looped: bool,
    /// End when standard input does: for supervisors
    #[arg(long, hide = true)]
    exit_with_parent: bool,
}

/// Publishes until the file ends, or until it is told to.
///
/// # Errors
/// What is wrong with the file, or what the origin said.
pub(crate) async fn run(args: PublishArgs) -> anyhow::Result<()> {
    let token = match (&args.token, &args.token_file) {
        (Some(token), _) => token.clone(),
        (None, Some(path)) => std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?
            .trim()
            .to_owned(),
        (None, None) => bail!("show a host's token: --token, --token-file or STENTOR_TOKEN"),
    };
    let source = Source::open(&args).await?;
    let (pieces, queue) = mpsc::channel(QUEUE);
    let end = shutdown::requested(args.exit_with_parent);
    let put = put(&args.to, &token, queue);
    tokio::select! {
        () = end => Ok(()),
        outcome = async {
            let (sent, answer) = tokio::join!(source.send(&args, pieces), put);
            // The origin's word is worth more: if it hung up, sending failed for that.
            let answer = answer?;
            sent.map(|()| answer)
        } => {
            println!("{}", outcome?.trim_end());
            Ok(())
        }
    }
}

/// Where the bytes come from.
enum Source {
    /// In memory, to be sent again and again.
    Clip(Clip),
    /// As they come.
    Stream(Box<dyn AsyncRead + Send + Unpin>),
}

impl Source {
    async fn open(args: &PublishArgs) -> anyhow::Result<Self> {
        let Some(path) = &args.file else { return Ok(Self::Clip(Clip::read(DEMO)?)) };
        let unreadable = || format!("cannot read {}", path.display());
        if path.as_os_str() == "-" {
            anyhow::ensure!(!args.looped, "standard input cannot be looped");
            return Ok(Self::Stream(Box::new(tokio::io::stdin())));
        }
        if args.looped {
            let bytes = tokio::fs::read(path).await.with_context(unreadable)?;
            return Ok(Self::Clip(Clip::read(&bytes).with_context(unreadable)?));
        }
        Ok(Self::Stream(Box::new(File::open(path).await.with_context(unreadable)?)))
    }

    /// Reads, paces and queues. Ends early, without an error, when nobody takes any more.
    async fn send(self, args: &PublishArgs, pieces: mpsc::Sender<Bytes>) -> anyhow::Result<()> {
        match self {
            Self::Clip(clip) => send_clip(&clip, args, pieces).await,
            Self::Stream(stream) => send_stream(stream, args.realtime, pieces).await,
        }
    }
}

async fn send_clip(clip: &Clip, args: &PublishArgs, pieces: mpsc::Sender<Bytes>) -> anyhow::Result<()> {
    let start = Instant::now();
    if pieces.send(clip.init()).await.is_err() {
        return Ok(());
    }
    for round in 0.. {
        for fragment in clip.round(round) {
            let (due, bytes) = fragment?;
            if args.realtime {
                sleep_until(start + due).await;
            }
            if pieces.send(bytes).await.is_err() {
                return Ok(());
            }
        }
        if !args.looped {
            break;
        }
    }
    Ok(())
}

async fn send_stream(
    mut file: impl AsyncRead + Unpin,
    realtime: bool,
    pieces: mpsc::Sender<Bytes>,
) -> anyhow::Result<()> {
    let start = Instant::now();
    let (mut splitter, mut buffer) = (Splitter::default(), vec![0; READ_BYTES]);
    let mut timescales = Default::default();
    let mut first = None;
    loop {
        let read = file.read(&mut buffer).await.context("cannot read on")?;
        if read == 0 {
            if realtime && !splitter.is_whole() {
                bail!("the file ends inside a fragment");
            }
            return Ok(());
        }
        if !realtime {
            // As it is: the origin says what is wrong with it.
            if pieces.send(Bytes::copy_from_slice(&buffer[..read])).await.is_err() {
                return Ok(());
            }
            continue;
        }
        splitter.push(&buffer[..read]);
        while let Some(piece) = splitter.next()? {
            let bytes = match piece {
                Piece::Init { moov, bytes } => {
                    let timescale = |it: &mp4_atom::Trak| (it.tkhd.track_id, it.mdia.mdhd.timescale);
                    timescales =
                        moov.trak.iter().map(timescale).collect::<std::collections::BTreeMap<_, _>>();
                    bytes
                }
                Piece::Fragment(fragment) => {
                    let times = fragment.starts().map(|(track, at)| clip::time(at, timescales.get(&track)));
                    let at = times.min().unwrap_or_default();
                    let first = *first.get_or_insert(at);
                    sleep_until(start + at.saturating_sub(first)).await;
                    fragment.write()?
                }
            };
            if pieces.send(bytes).await.is_err() {
                return Ok(());
            }
        }
    }
}

/// Puts what is queued; returns what the origin answers.
async fn put(to: &Uri, token: &str, mut queue: mpsc::Receiver<Bytes>) -> anyhow::Result<String> {
    let host = to.host().context("the URL names no host: write http://HOST:PORT/ingest/EVENT")?;
    if to.scheme_str() != Some("http") {
        bail!("only http:// is spoken to an origin; put a TLS proxy before it for https://");
    }
    let port = to.port_u16().unwrap_or(80);
    let tcp = TcpStream::connect((host.trim_matches(['[', ']']), port)).await;
    let tcp = tcp.with_context(|| format!("cannot connect to the origin at {host}:{port}"))?;
    let body = StreamBody::new(poll_fn(move |cx| {
        queue
            .poll_recv(cx)
            .map(|bytes| bytes.map(|bytes| Ok::<_, std::convert::Infallible>(Frame::data(bytes))))
    }));
    let request = Request::put(to.path_and_query().map_or("/", |path| path.as_str()))
        .header(HOST, to.authority().map_or(host, |authority| authority.as_str()))
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .header(CONTENT_TYPE, "video/mp4")
        .body(body)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await?;
    // An origin that refuses answers and hangs up, while we are sending: its answer is what counts, and it is
    // handed over before the connection ends.
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let answer = sender.send_request(request).await.context("the origin hung up without an answer")?;
    read(answer).await
}

async fn read(answer: Response<Incoming>) -> anyhow::Result<String> {
    let status = answer.status();
    let body = tokio::time::timeout(Duration::from_secs(5), answer.into_body().collect()).await;
    let bytes = body.ok().and_then(Result::ok).map(|body| body.to_bytes()).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if !status.is_success() {
        bail!("the origin refused: {} ({status})", text.trim());
    }
    Ok(text)
}
