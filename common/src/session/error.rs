//! Who broke a session, and with which code it is closed; and what is wrong with a command.

use std::time::Duration;

use super::request::RequestKey;
use crate::model::{FullTrackName, NameError};
use crate::wire::DecodeError;
use crate::wire::code::SessionCode;

/// Why a session cannot go on. Close it with [`SessionError::code`] and [`SessionError::reason`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The peer sent a message that cannot be read.
    #[error("the peer sent a malformed message: {0}")]
    Malformed(#[from] DecodeError),
    /// The peer sent a message that may not come now, or not at all.
    #[error("the peer {0}")]
    PeerMisbehaved(#[from] PeerMisbehaved),
    /// The peer let us wait.
    #[error("the peer {0}")]
    TimedOut(#[from] TimedOut),
}

/// What a peer did that the draft forbids.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerMisbehaved {
    /// Control streams live as long as the session (draft-18, 3.3).
    #[error("closed its control stream")]
    ControlClosed,
    /// There is one control stream in each direction (3.3).
    #[error("opened a second control stream")]
    SecondControlStream,
    /// Only GOAWAY may follow SETUP on the control stream (10).
    #[error("sent message {0:#x} on its control stream")]
    OnControlStream(u64),
    /// A request stream begins with one of seven messages (3.3).
    #[error("began a request stream with message {0:#x}")]
    FirstMessage(u64),
    /// The message does not belong to this request, or not now (10).
    #[error("sent message {kind:#x} on a request stream where {expected}")]
    Unexpected {
        /// The message's type.
        kind: u64,
        /// What could have come.
        expected: &'static str,
    },
    /// A request stream ended inside a message.
    #[error("ended a request stream inside a message")]
    EndedInside,
    /// A request id that its side does not use (10.1).
    #[error("used request id {0}, which is not of its parity")]
    RequestIdParity(u64),
    /// A request id that was used before (10.1).
    #[error("used request id {0} twice")]
    DuplicateRequestId(u64),
    /// One alias for two tracks at once (11.1).
    #[error("used the alias {alias} for {new} and for {old}")]
    DuplicateAlias {
        /// The alias.
        alias: u64,
        /// What it stood for.
        old: FullTrackName,
        /// What it was to stand for.
        new: FullTrackName,
    },
    /// Only one GOAWAY on each stream (10.4).
    #[error("sent a second GOAWAY on a stream")]
    SecondGoAway,
    /// Only the control stream's GOAWAY has a request id, and it has to have one (10.4).
    #[error("sent a GOAWAY of the other kind of stream")]
    GoAwayForm,
    /// A client cannot tell a server where to connect to (10.4 and 10.6.1).
    #[error("is a client and told us where to connect to")]
    AddressForServer,
    /// PATH from a server, or over WebTransport (10.3.1.2).
    #[error("sent a PATH where none may be")]
    Path,
    /// A PATH that is not the path of a URI.
    #[error("sent a PATH that is none")]
    MalformedPath,
    /// AUTHORITY from a server, or over WebTransport (10.3.1.1).
    #[error("sent an AUTHORITY where none may be")]
    Authority,
    /// An AUTHORITY that is not one of a URI.
    #[error("sent an AUTHORITY that is none")]
    MalformedAuthority,
    /// SETUP may not delete tokens, nor use any that were registered before (10.2.2).
    #[error("refers to a registered token in SETUP")]
    TokenAliasInSetup,
    /// An alias that stands for another token (10.2.2).
    #[error("registered two tokens under the alias {0}")]
    DuplicateTokenAlias(u64),
    /// An alias that stands for no token (10.2.2).
    #[error("refers to a token alias that it never registered: {0}")]
    UnknownTokenAlias(u64),
    /// More tokens than we said we would keep (10.3.1.3).
    #[error("registered {bytes} bytes of tokens; at most {max} are allowed")]
    TokenCacheOverflow {
        /// With the new token.
        bytes: usize,
        /// As we told it in SETUP.
        max: usize,
    },
    /// The same token twice in one message, where the message cannot be refused alone (10.2.2).
    #[error("sent the same token twice in one message")]
    DuplicateToken,
    /// A parameter that is defined for this message, but not for what it answers or updates (10.2).
    #[error("sent a parameter that does not go with {0}")]
    Parameter(&'static str),
    /// Only the answer to TRACK_STATUS has properties (10.5).
    #[error("sent track properties in an answer that has none")]
    Properties,
    /// A redirect of a namespace names no track (10.6.1).
    #[error("redirected a request for a namespace to a track")]
    RedirectName,
    /// More updates without waiting for an answer than anybody needs.
    #[error("sent more than {0} updates without waiting for an answer")]
    TooManyUpdates(usize),
    /// The end of a FETCH before its start (10.13).
    #[error("ended a FETCH before its start")]
    FetchEnd,
    /// NAMESPACE_DONE for what was never announced (10.18).
    #[error("withdrew a namespace that it had not announced")]
    UnknownNamespace,
    /// A suffix that makes a namespace too long.
    #[error("announced a namespace that cannot be: {0}")]
    Namespace(#[from] NameError),
}

/// What a peer did not do in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimedOut {
    /// Its SETUP is missing.
    #[error("sent no SETUP within {0:?}")]
    Setup(Duration),
    /// An answer is missing.
    #[error("did not answer {0} in time")]
    Answer(&'static str),
    /// It did not leave after our GOAWAY.
    #[error("had {0} requests open when the time after GOAWAY was over")]
    GoAway(usize),
}

impl SessionError {
    /// The code to close the session with.
    pub fn code(&self) -> SessionCode {
        match self {
            Self::Malformed(error) => error.code(),
            Self::PeerMisbehaved(error) => error.code(),
            Self::TimedOut(TimedOut::GoAway(_)) => SessionCode::GOAWAY_TIMEOUT,
            Self::TimedOut(_) => SessionCode::CONTROL_MESSAGE_TIMEOUT,
        }
    }

    /// The reason to close the session with, for people.
    pub fn reason(&self) -> String {
        self.to_string()
    }
}

impl PeerMisbehaved {
    /// The code to close the session with.
    pub fn code(&self) -> SessionCode {
        match self {
            Self::RequestIdParity(_) | Self::DuplicateRequestId(_) => SessionCode::INVALID_REQUEST_ID,
            Self::DuplicateAlias { .. } => SessionCode::DUPLICATE_TRACK_ALIAS,
            Self::Path => SessionCode::INVALID_PATH,
            Self::MalformedPath => SessionCode::MALFORMED_PATH,
            Self::Authority => SessionCode::INVALID_AUTHORITY,
            Self::MalformedAuthority => SessionCode::MALFORMED_AUTHORITY,
            Self::DuplicateTokenAlias(_) => SessionCode::DUPLICATE_AUTH_TOKEN_ALIAS,
            Self::UnknownTokenAlias(_) => SessionCode::UNKNOWN_AUTH_TOKEN_ALIAS,
            Self::TokenCacheOverflow { .. } => SessionCode::AUTH_TOKEN_CACHE_OVERFLOW,
            Self::DuplicateToken => SessionCode::MALFORMED_AUTH_TOKEN,
            _ => SessionCode::PROTOCOL_VIOLATION,
        }
    }
}

/// Why a command was not carried out. Nothing was sent, and nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The request is over: the peer, a limit or an earlier command ended it.
    #[error("{0:?} is over")]
    Over(RequestKey),
    /// The command is for requests of another kind, or in another state.
    #[error("{request:?} is not {expected}")]
    Unfit {
        /// The request.
        request: RequestKey,
        /// What it would have to be.
        expected: &'static str,
    },
    /// As many requests are open as [`Limits::own_requests_max`](super::Limits) allows.
    #[error("{0} requests are open")]
    TooManyRequests(usize),
    /// The peer has not answered as many updates of this request as may wait.
    #[error("{0} updates are not answered")]
    TooManyUpdates(usize),
    /// The track is subscribed to, or published, on this session already (5.1).
    #[error("{0} has a subscription on this session")]
    DuplicateSubscription(FullTrackName),
    /// The alias stands for another track that the peer receives from us (11.1).
    #[error("the alias {0} stands for another track")]
    AliasInUse(u64),
    /// Namespaces that begin with `.` or `.session` are not the application's (3.2.1 and 3.2.2).
    #[error("the namespace is reserved")]
    ReservedNamespace,
    /// The end of a range before its start.
    #[error("the range ends before it starts")]
    Backwards,
    /// The peer is about to leave and takes no new requests (10.4).
    #[error("the peer is leaving")]
    PeerLeaves,
    /// GOAWAY is sent once.
    #[error("GOAWAY was sent")]
    Leaving,
    /// A client cannot tell a server where to connect to (10.4).
    #[error("a client cannot send a server elsewhere")]
    AddressForServer,
    /// The message would be too long.
    #[error(transparent)]
    TooLong(#[from] DecodeError),
}
