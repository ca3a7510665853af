//! TRACK_STATUS: what a track is like, without receiving it (draft-18, 10.14).

use std::time::Instant;

use super::Session;
use super::error::CommandError;
use super::event::{Event, TrackInfo};
use super::name::detached_track;
use super::request::{Owner, Request, RequestKey, StreamKey};
use super::token::Credential;
use crate::model::FullTrackName;
use crate::wire::message::{Message, RequestOk, Subscribe};
use crate::wire::parameter::Parameters;

impl Session {
    /// Asks what a track is like: TRACK_STATUS. [`Event::StatusKnown`] or [`Event::Rejected`] follows.
    ///
    /// # Errors
    /// Whatever stands in the way of any request.
    pub fn track_status(
        &mut self,
        now: Instant,
        track: FullTrackName,
        credentials: &[Credential],
    ) -> Result<RequestKey, CommandError> {
        self.check_request(track.namespace())?;
        let request_id = self.own_ids.next();
        let parameters = Parameters { tokens: Credential::tokens(credentials), ..Parameters::default() };
        let message = Message::TrackStatus(Subscribe { request_id, track, parameters });
        let by = self.answer_by(now, None);
        self.open_stream(Request::Status, request_id, by, &message)
    }

    /// Answers the peer's TRACK_STATUS: REQUEST_OK. The request is over.
    ///
    /// # Errors
    /// [`CommandError::Over`] if it was cancelled; [`CommandError::Unfit`] if it is no TRACK_STATUS.
    pub fn accept_track_status(
        &mut self,
        now: Instant,
        request: RequestKey,
        track: &TrackInfo,
    ) -> Result<(), CommandError> {
        let stream = self.open(request)?;
        if !matches!((&stream.request, stream.owner), (Request::Status, Owner::Peer)) {
            return Err(CommandError::Unfit { request, expected: "a TRACK_STATUS of the peer" });
        }
        let ok = RequestOk { parameters: track.parameters(), properties: track.properties.clone() };
        self.send_last(now, request.stream(), &Message::RequestOk(ok))
    }

    pub(super) fn on_track_status(
        &mut self,
        key: StreamKey,
        message: &Subscribe,
        credentials: Vec<Credential>,
    ) {
        let name = detached_track(&message.track);
        self.set_request(key, Request::Status);
        self.emit(Event::TrackStatus { request: RequestKey(key), name, credentials });
    }

    pub(super) fn on_track_status_ok(&mut self, now: Instant, key: StreamKey, ok: RequestOk) {
        let track = TrackInfo::read(&ok.parameters, ok.properties);
        self.send_bytes(key, bytes::Bytes::new(), true);
        self.finish(now, key);
        self.emit(Event::StatusKnown { request: RequestKey(key), track });
    }
}
