//! What a session tells the application, and the plain values that it and the application exchange.

use std::time::Duration;

use super::request::RequestKey;
use super::token::Credential;
use crate::model::{FullTrackName, GroupOrder, Location, Namespace};
use crate::wire::code::{DoneCode, RequestCode};
use crate::wire::message::{Filter, Redirect};
use crate::wire::parameter::Parameters;
use crate::wire::properties::Properties;

/// Something that the application has to know or decide.
///
/// Times that come from the peer may be any number of milliseconds: bound them before adding them to a
/// clock.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The peer's SETUP has come. The first event.
    Ready(PeerSetup),

    // Requests of the peer. Each is to be answered once.
    /// The peer asks for a track. Answer with [`Session::accept_subscribe`](super::Session) or `reject`.
    Subscribe {
        /// The request.
        request: RequestKey,
        /// The track.
        name: FullTrackName,
        /// How it wants it.
        options: SubscribeOptions,
        /// What it may, it says.
        credentials: Vec<Credential>,
    },
    /// The peer offers a track. Answer with `accept_publish` or `reject`. Its objects may come before.
    Publish {
        /// The request.
        request: RequestKey,
        /// The track.
        name: FullTrackName,
        /// What the track is called in data streams.
        alias: u64,
        /// Whether objects come before we ask for them.
        forward: bool,
        /// What the track is like.
        track: TrackInfo,
        /// What the peer may, it says.
        credentials: Vec<Credential>,
    },
    /// The peer wants objects of the past. Answer with `accept_fetch` or `reject`.
    Fetch {
        /// The request.
        request: RequestKey,
        /// Which objects, and how.
        offer: FetchOffer,
        /// What the peer may, it says.
        credentials: Vec<Credential>,
    },
    /// The peer asks what a track is like. Answer with `accept_track_status` or `reject`.
    TrackStatus {
        /// The request.
        request: RequestKey,
        /// The track.
        name: FullTrackName,
        /// What the peer may, it says.
        credentials: Vec<Credential>,
    },
    /// The peer has tracks in a namespace. Answer with `accept_request` or `reject`.
    PublishNamespace {
        /// The request.
        request: RequestKey,
        /// The namespace.
        namespace: Namespace,
        /// What the peer may, it says.
        credentials: Vec<Credential>,
    },
    /// The peer wants to hear of namespaces. Answer with `accept_request`, then `namespace` and
    /// `namespace_done`, or with `reject`.
    SubscribeNamespace {
        /// The request.
        request: RequestKey,
        /// Those below this one.
        prefix: Namespace,
        /// What the peer may, it says.
        credentials: Vec<Credential>,
    },
    /// The peer wants a PUBLISH for every track of some namespaces. Answer with `accept_request`, then
    /// `publish`, or with `reject`.
    SubscribeTracks {
        /// The request.
        request: RequestKey,
        /// Those below this one.
        prefix: Namespace,
        /// What each PUBLISH is to say of forwarding.
        forward: bool,
        /// What the peer may, it says.
        credentials: Vec<Credential>,
    },

    // What becomes of the peer's requests. Updates are to be answered once, with `accept_update` or
    // `reject_update`.
    /// The peer wants a track of ours otherwise.
    SubscribeUpdated {
        /// The request: its SUBSCRIBE, or our PUBLISH.
        request: RequestKey,
        /// All that it wants now.
        options: SubscribeOptions,
        /// New ones only.
        credentials: Vec<Credential>,
    },
    /// The peer does not want a track of ours any more. Reset its data streams. The request is over.
    Unsubscribed {
        /// The request: its SUBSCRIBE, or our PUBLISH.
        request: RequestKey,
    },
    /// The peer changes what it said with PUBLISH.
    PublishUpdated {
        /// The request.
        request: RequestKey,
        /// New ones only.
        credentials: Vec<Credential>,
    },
    /// The peer wants a FETCH otherwise.
    FetchUpdated {
        /// The request.
        request: RequestKey,
        /// The new priority, if it changes.
        priority: Option<u8>,
        /// New ones only.
        credentials: Vec<Credential>,
    },
    /// The peer does not want a FETCH any more. Reset its data stream. The request is over.
    FetchCancelled {
        /// The request.
        request: RequestKey,
    },
    /// The peer changes what it said with PUBLISH_NAMESPACE.
    PublishNamespaceUpdated {
        /// The request.
        request: RequestKey,
        /// New ones only.
        credentials: Vec<Credential>,
    },
    /// The peer has tracks in a namespace no more; or it does not want to hear of ours, if the request is
    /// ours. The request is over.
    PublishNamespaceEnded {
        /// The request.
        request: RequestKey,
    },
    /// The peer wants to hear of other namespaces.
    SubscribeNamespaceUpdated {
        /// The request.
        request: RequestKey,
        /// Those below this one; suffixes are relative to it from `accept_update` on.
        prefix: Namespace,
        /// New ones only.
        credentials: Vec<Credential>,
    },
    /// The peer does not want to hear of namespaces any more. The request is over.
    SubscribeNamespaceEnded {
        /// The request.
        request: RequestKey,
    },
    /// The peer wants other tracks.
    SubscribeTracksUpdated {
        /// The request.
        request: RequestKey,
        /// Those of the namespaces below this one.
        prefix: Namespace,
        /// New ones only.
        credentials: Vec<Credential>,
    },
    /// The peer does not want to be sent PUBLISH any more. The request is over.
    SubscribeTracksEnded {
        /// The request.
        request: RequestKey,
    },

    // What becomes of our requests.
    /// Our SUBSCRIBE is accepted.
    Subscribed {
        /// The request.
        request: RequestKey,
        /// What the track is called in data streams.
        alias: u64,
        /// What it is like.
        track: TrackInfo,
    },
    /// Our PUBLISH is accepted.
    PublishAccepted {
        /// The request.
        request: RequestKey,
        /// How the peer wants the track.
        options: SubscribeOptions,
        /// When the peer will end the subscription.
        expires: Option<Duration>,
    },
    /// Our FETCH is accepted. Its objects may have come before.
    FetchAccepted {
        /// The request.
        request: RequestKey,
        /// The last object.
        last: Location,
        /// Whether the track has no later one.
        end_of_track: bool,
        /// The track's.
        properties: Properties,
    },
    /// Our TRACK_STATUS is answered. The request is over.
    StatusKnown {
        /// The request.
        request: RequestKey,
        /// What the track is like.
        track: TrackInfo,
    },
    /// Our PUBLISH_NAMESPACE, SUBSCRIBE_NAMESPACE or SUBSCRIBE_TRACKS is accepted.
    Accepted {
        /// The request.
        request: RequestKey,
    },
    /// A request of ours is refused. The request is over.
    Rejected {
        /// The request.
        request: RequestKey,
        /// Why.
        code: RequestCode,
        /// Why, for people.
        reason: String,
        /// After how long it may be tried again, if it may.
        retry: Option<Duration>,
        /// Where else to ask.
        redirect: Option<Redirect>,
    },
    /// Our update is accepted.
    Updated {
        /// The request.
        request: RequestKey,
        /// The largest object of the track.
        largest: Option<Location>,
        /// When the peer will end the subscription.
        expires: Option<Duration>,
    },
    /// Our update is refused. For a subscription, [`Event::Done`] follows.
    UpdateRejected {
        /// The request.
        request: RequestKey,
        /// Why.
        code: RequestCode,
        /// Why, for people.
        reason: String,
    },
    /// The publisher of a track is done. Data streams may still come until [`Event::Closed`].
    Done {
        /// The request: our SUBSCRIBE, or the peer's PUBLISH.
        request: RequestKey,
        /// Why.
        code: DoneCode,
        /// How many data streams there are in all, if the publisher knows.
        streams: Option<u64>,
        /// Why, for people.
        reason: String,
    },
    /// There is a namespace.
    NamespaceAnnounced {
        /// Our SUBSCRIBE_NAMESPACE.
        request: RequestKey,
        /// The whole namespace.
        namespace: Namespace,
    },
    /// There is a namespace no more.
    NamespaceWithdrawn {
        /// Our SUBSCRIBE_NAMESPACE.
        request: RequestKey,
        /// The whole namespace.
        namespace: Namespace,
    },
    /// The peer has a track for which it cannot send PUBLISH: SUBSCRIBE instead.
    PublishBlocked {
        /// Our SUBSCRIBE_TRACKS.
        request: RequestKey,
        /// The track.
        name: FullTrackName,
    },
    /// A request of ours, a PUBLISH or a TRACK_STATUS of the peer's is over, and nothing more comes of it.
    Closed {
        /// The request.
        request: RequestKey,
        /// The code of the peer's reset, or of the limit that was passed.
        code: Option<u64>,
    },

    // The session.
    /// The peer will leave. New requests of ours are a [`CommandError`](super::CommandError) from now on.
    GoAway {
        /// Where to go on; empty for the same place.
        uri: String,
        /// How long it waits, if it said.
        timeout: Option<Duration>,
        /// It has not looked at our requests from this id on, and will refuse them.
        request_id: u64,
    },
    /// The peer wants one request to be made elsewhere.
    RequestGoAway {
        /// The request.
        request: RequestKey,
        /// Where; empty for the same place.
        uri: String,
        /// How long it waits, if it said.
        timeout: Option<Duration>,
    },
    /// We have sent GOAWAY, and no request is open: the session can be closed without an error.
    Drained,
}

/// What a peer said of itself in SETUP (draft-18, 10.3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerSetup {
    /// Path and query of the URL, from a client over raw QUIC.
    pub path: Option<String>,
    /// Authority of the URL, from a client over raw QUIC.
    pub authority: Option<String>,
    /// What it may, it says.
    pub credentials: Vec<Credential>,
    /// Name and version of its software; any text.
    pub implementation: Option<String>,
}

/// What a track is like, for who begins to receive it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrackInfo {
    /// The largest object that there is; `None` if there is none.
    pub largest: Option<Location>,
    /// When who says this will end the subscription, if it will.
    pub expires: Option<Duration>,
    /// The track's properties, verbatim.
    pub properties: Properties,
}

/// How a subscriber wants a track (draft-18, 10.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// Which objects; `None` for all.
    pub filter: Option<Filter>,
    /// Against other subscriptions of this session: lower is sent first.
    pub priority: u8,
    /// Which group first; `None` for what the publisher likes.
    pub order: Option<GroupOrder>,
    /// Whether objects are sent at all.
    pub forward: bool,
    /// How late an object may be sent.
    pub object_timeout: Option<Duration>,
    /// How late the rest of a subgroup may be sent.
    pub subgroup_timeout: Option<Duration>,
    /// How long to wait for a publisher; for SUBSCRIBE only.
    pub rendezvous_timeout: Option<Duration>,
    /// Ask the publisher to begin a group: the largest known plus one, or 0.
    pub new_group: Option<u64>,
}

/// Changes to [`SubscribeOptions`]: what is `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubscribeUpdate {
    /// Which objects.
    pub filter: Option<Filter>,
    /// Against other subscriptions of this session.
    pub priority: Option<u8>,
    /// Whether objects are sent at all.
    pub forward: Option<bool>,
    /// How late an object may be sent.
    pub object_timeout: Option<Duration>,
    /// How late the rest of a subgroup may be sent.
    pub subgroup_timeout: Option<Duration>,
    /// Ask the publisher to begin a group.
    pub new_group: Option<u64>,
    /// What we may, in place of what has expired.
    pub credentials: Vec<Credential>,
}

/// A track that we offer with PUBLISH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Which.
    pub name: FullTrackName,
    /// What it is called in data streams; the same for no other track of this session.
    pub alias: u64,
    /// What it is like.
    pub track: TrackInfo,
    /// Whether objects are sent before the peer asks for them.
    pub forward: bool,
    /// What we may.
    pub credentials: Vec<Credential>,
}

/// A FETCH of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRequest {
    /// Which objects.
    pub span: Span,
    /// Against subscriptions and other FETCHes: lower is sent first.
    pub priority: u8,
    /// Which group first.
    pub order: GroupOrder,
    /// How long a relay may look for objects that it does not have; `None` for what it likes.
    pub fill_timeout: Option<Duration>,
    /// What we may.
    pub credentials: Vec<Credential>,
}

/// Objects to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Span {
    /// Of a track, both ends inclusive.
    Track {
        /// The track.
        name: FullTrackName,
        /// The first object.
        start: Location,
        /// The last object; [`u64::MAX`] for all of the group.
        last: Location,
    },
    /// What came before a subscription of ours, from so many groups before its first on.
    Before {
        /// The subscription.
        subscription: RequestKey,
        /// How many groups.
        groups: u64,
    },
    /// What came before a subscription of ours, from this group on.
    Since {
        /// The subscription.
        subscription: RequestKey,
        /// The first group.
        group: u64,
    },
}

/// A FETCH of the peer, whatever it joins resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchOffer {
    /// The request id that the data stream's header carries.
    pub request_id: u64,
    /// The track.
    pub name: FullTrackName,
    /// The first object.
    pub start: Location,
    /// The last object, inclusive; object [`u64::MAX`] for all of the group.
    pub last: Location,
    /// Against subscriptions and other FETCHes: lower is sent first.
    pub priority: u8,
    /// Which group first.
    pub order: GroupOrder,
    /// How long to look for objects that are not here; `None` for as long as we like.
    pub fill_timeout: Option<Duration>,
}

/// The priority of who does not say one (draft-18, 10.2.7).
pub const PRIORITY_DEFAULT: u8 = 128;

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self {
            filter: None,
            priority: PRIORITY_DEFAULT,
            order: None,
            forward: true,
            object_timeout: None,
            subgroup_timeout: None,
            rendezvous_timeout: None,
            new_group: None,
        }
    }
}

impl SubscribeOptions {
    pub(super) fn from_parameters(parameters: &Parameters) -> Self {
        let mut options = Self {
            order: parameters.order,
            rendezvous_timeout: parameters.rendezvous_timeout.map(Duration::from_millis),
            ..Self::default()
        };
        options.merge(parameters);
        options
    }

    /// Applies what an update says.
    pub(super) fn merge(&mut self, update: &Parameters) {
        self.filter = update.filter.or(self.filter);
        self.priority = update.priority.unwrap_or(self.priority);
        self.forward = update.forward.unwrap_or(self.forward);
        self.object_timeout =
            update.object_delivery_timeout.map(Duration::from_millis).or(self.object_timeout);
        self.subgroup_timeout =
            update.subgroup_delivery_timeout.map(Duration::from_millis).or(self.subgroup_timeout);
        // A wish, not a state: it is over once it was heard.
        self.new_group = update.new_group;
    }

    /// What differs from what the peer assumes of who says nothing.
    pub(super) fn parameters(&self) -> Parameters {
        Parameters {
            filter: self.filter,
            priority: (self.priority != PRIORITY_DEFAULT).then_some(self.priority),
            order: self.order,
            forward: (!self.forward).then_some(false),
            object_delivery_timeout: self.object_timeout.map(millis),
            subgroup_delivery_timeout: self.subgroup_timeout.map(millis),
            rendezvous_timeout: self.rendezvous_timeout.map(millis),
            new_group: self.new_group,
            ..Parameters::default()
        }
    }
}

impl SubscribeUpdate {
    pub(super) fn parameters(&self) -> Parameters {
        Parameters {
            filter: self.filter,
            priority: self.priority,
            forward: self.forward,
            object_delivery_timeout: self.object_timeout.map(millis),
            subgroup_delivery_timeout: self.subgroup_timeout.map(millis),
            new_group: self.new_group,
            tokens: Credential::tokens(&self.credentials),
            ..Parameters::default()
        }
    }
}

impl TrackInfo {
    pub(super) fn read(parameters: &Parameters, properties: Properties) -> Self {
        Self { largest: parameters.largest, expires: expires(parameters), properties }
    }

    pub(super) fn parameters(&self) -> Parameters {
        Parameters { largest: self.largest, expires: self.expires.map(millis), ..Parameters::default() }
    }
}

/// EXPIRES; 0 is "never, or nobody knows".
pub(super) fn expires(parameters: &Parameters) -> Option<Duration> {
    parameters.expires.filter(|&ms| ms > 0).map(Duration::from_millis)
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
