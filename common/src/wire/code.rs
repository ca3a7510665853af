//! The codes that end sessions, requests, subscriptions and streams (draft-18, 15.10).
//!
//! Each is a number of its own space; one that is not named here is kept as it is.

use std::fmt;

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$code_doc:meta])* $code:ident = $value:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name(pub u64);

        impl $name {
            $($(#[$code_doc])* pub const $code: Self = Self($value);)*

            /// The draft's name for the code, where it has one.
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($code)),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{:#x}", self.0),
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

codes! {
    /// Why a session was closed (3.4).
    SessionCode {
        /// Without an error.
        NO_ERROR = 0x0,
        /// An error of the implementation.
        INTERNAL_ERROR = 0x1,
        /// The client may not have a session.
        UNAUTHORIZED = 0x2,
        /// The peer did what the draft forbids.
        PROTOCOL_VIOLATION = 0x3,
        /// A request id of the wrong parity, or used twice.
        INVALID_REQUEST_ID = 0x4,
        /// A track alias that was in use.
        DUPLICATE_TRACK_ALIAS = 0x5,
        /// A known key with a value that is not of its form.
        KEY_VALUE_FORMATTING_ERROR = 0x6,
        /// A path where none may be, or that is not served.
        INVALID_PATH = 0x8,
        /// A path that is not one.
        MALFORMED_PATH = 0x9,
        /// The peer did not leave after GOAWAY.
        GOAWAY_TIMEOUT = 0x10,
        /// The peer did not answer a control message.
        CONTROL_MESSAGE_TIMEOUT = 0x11,
        /// The peer did not go on with a data stream.
        DATA_STREAM_TIMEOUT = 0x12,
        /// More registered tokens than allowed.
        AUTH_TOKEN_CACHE_OVERFLOW = 0x13,
        /// A token alias that was in use.
        DUPLICATE_AUTH_TOKEN_ALIAS = 0x14,
        /// No common version.
        VERSION_NEGOTIATION_FAILED = 0x15,
        /// A token that cannot be read.
        MALFORMED_AUTH_TOKEN = 0x16,
        /// A token alias that was never registered.
        UNKNOWN_AUTH_TOKEN_ALIAS = 0x17,
        /// A token whose time is over.
        EXPIRED_AUTH_TOKEN = 0x18,
        /// An authority that is not served.
        INVALID_AUTHORITY = 0x19,
        /// An authority that is not one.
        MALFORMED_AUTHORITY = 0x1a,
    }
}

codes! {
    /// Why a request was refused (10.6).
    RequestCode {
        /// An error of the implementation.
        INTERNAL_ERROR = 0x0,
        /// The requester may not.
        UNAUTHORIZED = 0x1,
        /// It took too long.
        TIMEOUT = 0x2,
        /// Requests of this kind are not served.
        NOT_SUPPORTED = 0x3,
        /// The token cannot be read.
        MALFORMED_AUTH_TOKEN = 0x4,
        /// The token's time is over.
        EXPIRED_AUTH_TOKEN = 0x5,
        /// The endpoint is about to leave.
        GOING_AWAY = 0x6,
        /// The endpoint has too much to do.
        EXCESSIVE_LOAD = 0x9,
        /// The track or namespace is not here.
        DOES_NOT_EXIST = 0x10,
        /// The range cannot be served.
        INVALID_RANGE = 0x11,
        /// The track contradicts itself.
        MALFORMED_TRACK = 0x12,
        /// The same track was asked for before.
        DUPLICATE_SUBSCRIPTION = 0x19,
        /// Nobody wants the track.
        UNINTERESTED = 0x20,
        /// The prefix overlaps another request's.
        PREFIX_OVERLAP = 0x30,
        /// The prefix covers too much.
        NAMESPACE_TOO_LARGE = 0x31,
        /// A joining FETCH for a subscription that is not established.
        INVALID_JOINING_REQUEST_ID = 0x32,
        /// The track needs an extension that is not understood.
        UNSUPPORTED_EXTENSION = 0x33,
        /// To be had elsewhere.
        REDIRECT = 0x34,
    }
}

codes! {
    /// Why a subscription ended (10.11).
    DoneCode {
        /// An error of the implementation.
        INTERNAL_ERROR = 0x0,
        /// The subscriber may not any more.
        UNAUTHORIZED = 0x1,
        /// The track is over.
        TRACK_ENDED = 0x2,
        /// The filter's end was reached.
        SUBSCRIPTION_ENDED = 0x3,
        /// One of the two is about to leave.
        GOING_AWAY = 0x4,
        /// The subscriber is too slow.
        TOO_FAR_BEHIND = 0x5,
        /// The subscription's time is over.
        EXPIRED = 0x6,
        /// An update of the subscription failed.
        UPDATE_FAILED = 0x8,
        /// The publisher has too much to do.
        EXCESSIVE_LOAD = 0x9,
        /// The track contradicts itself.
        MALFORMED_TRACK = 0x12,
    }
}

codes! {
    /// Why a stream was reset or stopped (3.3.3).
    ResetCode {
        /// An error of the implementation.
        INTERNAL_ERROR = 0x0,
        /// One of the two does not want it any more.
        CANCELLED = 0x1,
        /// It was too late.
        DELIVERY_TIMEOUT = 0x2,
        /// The session is being closed.
        SESSION_CLOSED = 0x3,
        /// The endpoint is about to leave.
        GOING_AWAY = 0x4,
        /// The subscriber is too slow.
        TOO_FAR_BEHIND = 0x5,
        /// The next object of a FETCH is unknown.
        UNKNOWN_OBJECT_STATUS = 0x6,
        /// The token's time is over.
        EXPIRED_AUTH_TOKEN = 0x7,
        /// The endpoint has too much to do.
        EXCESSIVE_LOAD = 0x9,
        /// The track contradicts itself.
        MALFORMED_TRACK = 0x12,
    }
}
