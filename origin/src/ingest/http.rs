//! Fragmented MP4 in the body of `PUT` or `POST /ingest/EVENT`, for encoders that speak HTTP.
//!
//! The token comes as `Authorization: Bearer TOKEN` or as `?t=TOKEN`. The answer comes at the end of the
//! body, or as soon as it is clear that it cannot be used: one line that says what to do.
//!
//! | status | why |
//! | --- | --- |
//! | 200 | the body ended; a [`Summary`] as JSON |
//! | 400, 404, 405 | not an address or a method of this handler, or the event is not open here |
//! | 401, 403 | no token, a bad one; one for another event or not a host's |
//! | 408 | too little arrived for too long |
//! | 409 | another connection publishes now; expected when a host comes back |
//! | 413, 415, 422 | a box larger than allowed; a codec or type that viewers cannot play; no fragmented MP4 |
//! | 503 | all places for hosts are taken, or the event ended |

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Body,
    header::{ALLOW, AUTHORIZATION, CONNECTION, CONTENT_TYPE},
};
use serde::Serialize;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use super::{Door, EventId, IngestFault, Observer, Protocol, Publisher, Refusal, Stage, fault::Counted};
use crate::media::{Input, Kind};

/// Bodies at a time at most; each may hold a fragment of the reader's limit and 4 MiB of queue.
pub const SESSIONS_MAX: usize = 64;

/// An encoder that fragments at key frames is silent for a whole GOP, which x264 lets grow to 8.3 s; with
/// three of them it is gone.
pub const WINDOW: Duration = Duration::from_secs(30);

/// Bytes that must arrive within [`WINDOW`]: an eighth of a 12 kb/s voice.
pub const WINDOW_BYTES_MIN: u64 = 5 << 10;

/// Reads a body: bytes in any pieces become inputs. Sans-IO; the media form's fMP4 reader is one.
pub trait Demux: Send {
    /// Takes the next bytes. Then [`poll`](Self::poll) until it gives `None`.
    ///
    /// # Errors
    /// If the body cannot be used from here on.
    fn push(&mut self, bytes: Bytes) -> Result<(), DemuxError>;
    /// The next input that is whole.
    fn poll(&mut self) -> Option<Input>;
    /// The body ended.
    ///
    /// # Errors
    /// If it ended inside something, or never began.
    fn finish(&mut self) -> Result<(), DemuxError>;
}

/// Why a body cannot be used. The text is for the host and says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DemuxError {
    /// Something in it is larger than allowed.
    #[error("{0}")]
    TooLarge(String),
    /// Well-formed, but nothing that viewers can play.
    #[error("{0}")]
    Unsupported(String),
    /// Not what it should be, or cut off.
    #[error("{0}")]
    Malformed(String),
}

/// What is wrong with a request before its body is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not a method that carries a stream.
    #[error("publish with PUT or POST")]
    Method,
    /// The path does not name an event.
    #[error("publish to /ingest/EVENT, EVENT being the event's id")]
    Address,
    /// The body is declared to be something else.
    #[error("send fragmented MP4 (Content-Type: video/mp4)")]
    Type,
}

/// What a whole body brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The event it was published to.
    pub event: String,
    /// Bytes of the body.
    pub bytes: u64,
    /// Pictures delivered.
    pub video_samples: u64,
    /// Frames of sound delivered.
    pub audio_samples: u64,
}

/// The HTTP ingest of one origin.
pub struct HttpIngest {
    door: Arc<dyn Door>,
    stage: Arc<Stage>,
    observer: Arc<dyn Observer>,
    demux: Box<dyn Fn() -> Box<dyn Demux> + Send + Sync>,
    places: Semaphore,
}

impl HttpIngest {
    /// Hosts that `door` admits go to `stage`, each body read by a fresh `demux()`; `observer` counts.
    pub fn new(
        door: Arc<dyn Door>,
        stage: Arc<Stage>,
        observer: Arc<dyn Observer>,
        demux: impl Fn() -> Box<dyn Demux> + Send + Sync + 'static,
    ) -> Self {
        Self { door, stage, observer, demux: Box::new(demux), places: Semaphore::new(SESSIONS_MAX) }
    }

    /// Answers one request, at the end of its body. Dropping the future drops the host.
    ///
    /// Generic over the body, which for the origin is hyper's `Incoming`. A client that waits for
    /// `100 Continue` is sent it by hyper at the first read, which is after the token was checked.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: fmt::Display,
    {
        let _counted = Counted::new(&*self.observer, Protocol::Http);
        match self.ingest(request).await {
            Ok(summary) => answer(&summary),
            Err(fault) => {
                tracing::info!(fault = fault.label(), "HTTP host: {fault}");
                self.observer.fault(Protocol::Http, &fault);
                refusal(&fault)
            }
        }
    }

    async fn ingest<B>(&self, request: Request<B>) -> Result<Summary, IngestFault>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: fmt::Display,
    {
        let event = self.admit(&request)?;
        let _place = self.places.try_acquire().map_err(|_| IngestFault::TooMany)?;
        let publisher = self.stage.publish(&event)?;
        tracing::info!(%event, "a host publishes over HTTP");
        let mut upload = Upload {
            shell: self,
            publisher,
            demux: (self.demux)(),
            summary: Summary { event: event.to_string(), bytes: 0, video_samples: 0, audio_samples: 0 },
        };
        upload.run(request.into_body()).await?;
        Ok(upload.summary)
    }

    fn admit<B>(&self, request: &Request<B>) -> Result<EventId, IngestFault> {
        if ![Method::PUT, Method::POST].contains(request.method()) {
            return Err(RequestError::Method.into());
        }
        let claimed = request.uri().path().strip_prefix("/ingest/").unwrap_or_default();
        let claimed = EventId::new(claimed).map_err(|_| RequestError::Address)?;
        let event = super::admit(&*self.door, Some(claimed.as_str()), token(request).unwrap_or_default())?;
        let plain = request.headers().get(CONTENT_TYPE).is_none_or(|kind| is_accepted(kind.as_bytes()));
        if plain { Ok(event) } else { Err(RequestError::Type.into()) }
    }
}

impl fmt::Debug for HttpIngest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpIngest").field("stage", &self.stage).finish_non_exhaustive()
    }
}

/// One body on its way to the stage.
struct Upload<'a> {
    shell: &'a HttpIngest,
    publisher: Publisher,
    demux: Box<dyn Demux>,
    summary: Summary,
}

impl Upload<'_> {
    async fn run<B>(&mut self, mut body: B) -> Result<(), IngestFault>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: fmt::Display,
    {
        let mut window = Window::new(Instant::now());
        loop {
            let frame = tokio::select! {
                biased;
                gone = self.publisher.gone() => return Err(gone.into()),
                frame = timeout_at(window.end, body.frame()) => match frame {
                    Ok(frame) => frame,
                    Err(_) => return Err(IngestFault::TooSlow(WINDOW.as_secs())),
                },
            };
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|error| std::io::Error::other(error.to_string()))?;
            // Trailers say nothing here.
            let Ok(bytes) = frame.into_data() else { continue };
            self.shell.observer.bytes(Protocol::Http, bytes.len());
            self.summary.bytes += bytes.len() as u64;
            self.demux.push(bytes)?;
            self.deliver().await?;
            window.received(Instant::now(), self.summary.bytes);
        }
        self.demux.finish()?;
        self.deliver().await
    }

    async fn deliver(&mut self) -> Result<(), IngestFault> {
        while let Some(input) = self.demux.poll() {
            let kind = if let Input::Sample(sample) = &input { Some(sample.kind) } else { None };
            self.publisher.send(input).await?;
            match kind {
                Some(Kind::Video) => self.summary.video_samples += 1,
                Some(Kind::Audio) => self.summary.audio_samples += 1,
                None => continue,
            }
            kind.into_iter().for_each(|kind| self.shell.observer.sample(kind));
        }
        Ok(())
    }
}

/// A minimum rate: each time enough bytes have arrived, the time to the next begins.
struct Window {
    end: Instant,
    from: u64,
}

impl Window {
    fn new(now: Instant) -> Self {
        Self { end: now + WINDOW, from: 0 }
    }

    fn received(&mut self, now: Instant, bytes: u64) {
        // Also when the packager held us back past the end: what a host has sent is not late.
        if bytes - self.from >= WINDOW_BYTES_MIN {
            *self = Self { end: now + WINDOW, from: bytes };
        }
    }
}

fn token<B>(request: &Request<B>) -> Option<&str> {
    let bearer = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    bearer
        .and_then(|value| value.strip_prefix("Bearer "))
        .or_else(|| request.uri().query().and_then(super::token_in_query))
}

/// What encoders call an fMP4 body when nobody tells them; curl has no opinion and sends none of it.
fn is_accepted(kind: &[u8]) -> bool {
    let kind = kind.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    ["video/mp4", "audio/mp4", "application/mp4", "application/octet-stream"]
        .iter()
        .any(|accepted| kind.eq_ignore_ascii_case(accepted.as_bytes()))
}

fn answer(summary: &Summary) -> Response<Full<Bytes>> {
    let body = serde_json::to_string(summary).expect("names and numbers are always JSON");
    let mut response = Response::new(Full::new(Bytes::from(body + "\n")));
    response.headers_mut().insert(CONTENT_TYPE, "application/json".parse().expect("a valid header"));
    response
}

fn refusal(fault: &IngestFault) -> Response<Full<Bytes>> {
    let status = status(fault);
    let mut response = Response::new(Full::new(Bytes::from(format!("{fault}\n"))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, "text/plain; charset=utf-8".parse().expect("a valid header"));
    // The rest of the body is not read, so the connection cannot carry another request.
    headers.insert(CONNECTION, "close".parse().expect("a valid header"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, "PUT, POST".parse().expect("a valid header"));
    }
    response
}

fn status(fault: &IngestFault) -> StatusCode {
    match fault {
        IngestFault::Refused(Refusal::Missing | Refusal::Unknown | Refusal::Expired) => {
            StatusCode::UNAUTHORIZED
        }
        IngestFault::Refused(Refusal::NotHost | Refusal::WrongEvent) => StatusCode::FORBIDDEN,
        IngestFault::Stage(_) => StatusCode::NOT_FOUND,
        IngestFault::TooMany | IngestFault::Over => StatusCode::SERVICE_UNAVAILABLE,
        IngestFault::Replaced => StatusCode::CONFLICT,
        IngestFault::Body(DemuxError::TooLarge(_)) => StatusCode::PAYLOAD_TOO_LARGE,
        IngestFault::Body(DemuxError::Unsupported(_)) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        IngestFault::Body(DemuxError::Malformed(_)) => StatusCode::UNPROCESSABLE_ENTITY,
        IngestFault::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
        IngestFault::Request(RequestError::Method) => StatusCode::METHOD_NOT_ALLOWED,
        IngestFault::Request(RequestError::Type) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        IngestFault::Request(RequestError::Address) => StatusCode::NOT_FOUND,
        IngestFault::Rtmp(_) | IngestFault::Flv(_) | IngestFault::Io(_) => StatusCode::BAD_REQUEST,
        IngestFault::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
