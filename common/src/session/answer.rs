//! What the peer answers to requests and updates of ours (draft-18, 10.5 and 10.6).

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Session;
use super::error::{PeerMisbehaved, SessionError};
use super::event::{Event, expires};
use super::request::{GoAwayHeard, Owner, Request, RequestKey, StreamKey, To};
use crate::wire::message::{GoAway, Message, RequestError, RequestOk};
use crate::wire::parameter::Parameters;

impl Session {
    pub(super) fn on_request_ok(
        &mut self,
        now: Instant,
        key: StreamKey,
        ok: RequestOk,
    ) -> Result<(), SessionError> {
        let Some(stream) = self.streams.get(&key) else { return Ok(()) };
        let to = stream.awaited.front().map(|awaited| awaited.to);
        let is_status = matches!(stream.request, Request::Status);
        if !is_status && !ok.properties.is_empty() {
            return Err(PeerMisbehaved::Properties.into());
        }
        let answers = match (&stream.request, to) {
            (_, Some(To::Update)) => true,
            // SUBSCRIBE and FETCH have answers of their own.
            (Request::Pull(_) | Request::Fetch(_), _) => false,
            (_, to) => stream.owner == Owner::Us && to == Some(To::Request),
        };
        if !answers {
            return Err(self.unexpected(key, &Message::RequestOk(ok)).into());
        }
        let is_subscription = matches!(stream.request, Request::Pull(_) | Request::Serve(_));
        if !is_status && !is_subscription && ok.parameters != Parameters::default() {
            return Err(PeerMisbehaved::Parameter(stream.request.what()).into());
        }
        match (self.take_awaited(key, &Message::RequestOk(ok.clone()))?, is_status, is_subscription) {
            (To::Update, ..) => {
                let (request, largest) = (RequestKey(key), ok.parameters.largest);
                self.emit(Event::Updated { request, largest, expires: expires(&ok.parameters) });
            }
            (To::Request, true, _) => self.on_track_status_ok(now, key, ok),
            (To::Request, _, true) => self.on_publish_ok(now, key, &ok.parameters)?,
            (To::Request, ..) => self.on_namespace_ok(key),
        }
        Ok(())
    }

    pub(super) fn on_request_error(
        &mut self,
        now: Instant,
        key: StreamKey,
        error: RequestError,
    ) -> Result<(), SessionError> {
        let to = self.take_awaited(key, &Message::RequestError(error.clone()))?;
        let Some(stream) = self.streams.get(&key) else { return Ok(()) };
        let is_subscription = matches!(stream.request, Request::Pull(_) | Request::Serve(_));
        let of_namespace =
            matches!(stream.request, Request::Announcement(_) | Request::Namespaces(_) | Request::Tracks(_));
        if of_namespace && error.redirect.as_ref().is_some_and(|redirect| !redirect.name.is_empty()) {
            return Err(PeerMisbehaved::RedirectName.into());
        }
        let request = RequestKey(key);
        let RequestError { code, reason, redirect, retry_interval } = error;
        match to {
            To::Update => {
                self.emit(Event::UpdateRejected { request, code, reason });
                // A subscription ends with PUBLISH_DONE, everything else with the update (10.9).
                if !is_subscription {
                    self.send_bytes(key, Bytes::new(), true);
                    self.finish(now, key);
                    self.emit(Event::Closed { request, code: None });
                }
            }
            To::Request => {
                self.send_bytes(key, Bytes::new(), true);
                self.finish(now, key);
                let retry = retry_interval.checked_sub(1).map(Duration::from_millis);
                self.emit(Event::Rejected { request, code, reason, retry, redirect });
            }
        }
        Ok(())
    }

    pub(super) fn on_request_goaway(&mut self, key: StreamKey, goaway: GoAway) -> Result<(), SessionError> {
        if goaway.request_id.is_some() {
            return Err(PeerMisbehaved::GoAwayForm.into());
        }
        let timeout = self.check_goaway(&goaway)?;
        let Some(stream) = self.streams.get_mut(&key) else { return Ok(()) };
        if stream.goaway == GoAwayHeard::Yes {
            return Err(PeerMisbehaved::SecondGoAway.into());
        }
        stream.goaway = GoAwayHeard::Yes;
        self.emit(Event::RequestGoAway { request: RequestKey(key), uri: goaway.uri, timeout });
        Ok(())
    }
}
