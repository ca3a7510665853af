//! The shell: who asks is answered, at once or when what was asked for is there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use common::model::Namespace;
use common::net::tracks::Tracks;
use hyper::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER, VARY};
use hyper::{Response, StatusCode};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::Settings;
use super::body::Body;
use super::channel::Answer;
use super::event::Event;
use super::request::{Request, RequestError};

/// Events that one edge offers at a time: 16 of 120 MB are 2 GB. An edge is planned for a few.
const EVENTS_MAX: usize = 16;

/// The events of a node as HLS. A cheap handle; what it reads ends with the last.
#[derive(Debug, Clone)]
pub struct Hls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    tracks: Tracks,
    settings: Settings,
    events: Mutex<Events>,
}

#[derive(Debug, Default)]
struct Events {
    known: HashMap<String, Arc<Event>>,
    tasks: JoinSet<()>,
}

impl Hls {
    /// Offers the events whose tracks can be had here.
    pub fn new(tracks: Tracks, settings: Settings) -> Self {
        Self(Arc::new(Shared { tracks, settings, events: Mutex::default() }))
    }

    /// Begins to read an event that players may be about to ask for: who comes first waits less.
    pub fn begin(&self, event: &str) {
        if let Ok(namespace) = Namespace::event(event) {
            self.event(event, namespace);
        }
    }

    /// Answers a GET for a path below an event, without a leading slash: once what it asks for is there, or
    /// 3 target durations have passed (6.2.5.2). Dropping the future gives the request up.
    ///
    /// `gzip` says that the player accepts it; playlists are sent so, media is not.
    /// 400, 404 and 503 are not to be cached. Whether somebody may ask is decided by whoever calls.
    pub async fn answer(&self, event: &str, path: &str, query: Option<&str>, gzip: bool) -> Response<Body> {
        let request = match Request::parse(path, query) {
            Ok(request) => request,
            Err(RequestError::Path) => return refuse(StatusCode::NOT_FOUND),
            Err(RequestError::Directive) => return refuse(StatusCode::BAD_REQUEST),
        };
        let Ok(namespace) = Namespace::event(event) else { return refuse(StatusCode::NOT_FOUND) };
        let Some(event) = self.event(event, namespace) else {
            return refuse(StatusCode::SERVICE_UNAVAILABLE);
        };
        let deadline = Instant::now() + self.0.settings.patience();
        loop {
            match event.ask(&request) {
                Ok(Answer::Found { body, gzip: Some(zipped), content_type, max_age }) => {
                    let mut response = found(if gzip { zipped.into() } else { body }, content_type, max_age);
                    response.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
                    if gzip {
                        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                    }
                    return response;
                }
                Ok(Answer::Found { body, content_type, max_age, .. }) => {
                    return found(body, content_type, max_age);
                }
                Ok(Answer::Bad) => return refuse(StatusCode::BAD_REQUEST),
                Ok(Answer::Missing | Answer::Wait(_)) => return refuse(StatusCode::NOT_FOUND),
                Err(mut change) => {
                    // It is lost when there is a change, which is one too.
                    if timeout_at(deadline, change.changed()).await.is_err() {
                        return refuse(StatusCode::SERVICE_UNAVAILABLE);
                    }
                }
            }
        }
    }

    /// The event, which is read from now on; `None` where there are too many.
    fn event(&self, name: &str, namespace: Namespace) -> Option<Arc<Event>> {
        let Shared { tracks, settings, .. } = &*self.0;
        let mut events = self.events();
        if let Some(event) = events.known.get(name).filter(|event| !event.is_closed()) {
            return Some(event.clone());
        }
        while events.tasks.try_join_next().is_some() {}
        events.known.retain(|_, event| !event.is_closed());
        if events.known.len() >= EVENTS_MAX {
            // Names that nobody has must not keep out those that somebody has.
            let absent =
                events.known.iter().find(|(_, event)| event.is_absent()).map(|(name, _)| name.clone());
            events.known.remove(&absent?)?.close();
        }
        let event = Arc::new(Event::new(settings.clone()));
        events.known.insert(name.to_owned(), event.clone());
        events.tasks.spawn(event.clone().run(tracks.clone(), namespace));
        Some(event)
    }

    fn events(&self) -> MutexGuard<'_, Events> {
        self.0.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn found(body: Body, content_type: &'static str, max_age: u64) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Ok(cache) = HeaderValue::try_from(format!("max-age={max_age}")) {
        headers.insert(CACHE_CONTROL, cache);
    }
    response
}

fn refuse(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Bytes::from(format!("{status}\n")).into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
