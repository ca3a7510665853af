//! How a session begins: what we say in SETUP, and what we accept of the peer's (draft-18, 10.3).

use super::error::PeerMisbehaved;
use super::event::PeerSetup;
use super::limits::Limits;
use super::token::{Credential, TokenCache};
use crate::wire::Version;
use crate::wire::message::Setup;

/// How a session is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Which end we are.
    pub role: Role,
    /// What carries the session.
    pub carrier: Carrier,
    /// Which draft was negotiated.
    pub version: Version,
    /// What we say of ourselves.
    pub setup: SetupOptions,
    /// How much the peer may cost.
    pub limits: Limits,
}

/// Which end of a session somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Who opened the connection.
    Client,
    /// Who accepted it.
    Server,
}

/// What carries a session: over WebTransport, the URL was in the HTTP request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// QUIC alone.
    Quic,
    /// WebTransport over HTTP/3.
    WebTransport,
}

/// What we say of ourselves in SETUP.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SetupOptions {
    /// Path and query of the URL; for a client over raw QUIC, and ignored otherwise.
    pub path: Option<String>,
    /// Authority of the URL; for a client over raw QUIC, and ignored otherwise.
    pub authority: Option<String>,
    /// What we may.
    pub credentials: Vec<Credential>,
    /// Name and version of our software.
    pub implementation: Option<String>,
}

impl Role {
    /// The other end.
    pub fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

impl Config {
    /// Our SETUP.
    pub(super) fn message(&self) -> Setup {
        let addressed = self.role == Role::Client && self.carrier == Carrier::Quic;
        let Limits { token_cache_bytes_max, .. } = self.limits;
        Setup {
            path: self.setup.path.clone().filter(|_| addressed),
            authority: self.setup.authority.clone().filter(|_| addressed),
            tokens: Credential::tokens(&self.setup.credentials),
            token_cache_bytes_max: (token_cache_bytes_max > 0).then_some(token_cache_bytes_max as u64),
            implementation: self.setup.implementation.clone(),
        }
    }

    /// The peer's SETUP, checked.
    pub(super) fn accept(&self, setup: Setup, tokens: &mut TokenCache) -> Result<PeerSetup, PeerMisbehaved> {
        let addressed = self.role == Role::Server && self.carrier == Carrier::Quic;
        match &setup.path {
            Some(_) if !addressed => return Err(PeerMisbehaved::Path),
            Some(path) if !is_path(path) => return Err(PeerMisbehaved::MalformedPath),
            _ => {}
        }
        match &setup.authority {
            Some(_) if !addressed => return Err(PeerMisbehaved::Authority),
            Some(authority) if !is_authority(authority) => return Err(PeerMisbehaved::MalformedAuthority),
            _ => {}
        }
        Ok(PeerSetup {
            path: setup.path,
            authority: setup.authority,
            credentials: tokens.setup(setup.tokens)?,
            implementation: setup.implementation,
        })
    }
}

/// Whether this is `path-abempty [ "?" query ]` of RFC 3986.
fn is_path(text: &str) -> bool {
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    (path.is_empty() || path.starts_with('/')) && is_made_of(path, "/:@") && is_made_of(query, "/:@?")
}

/// Whether this is an `authority` of RFC 3986 with a host: `[user@]host[:port]`.
fn is_authority(text: &str) -> bool {
    let (user, rest) = text.rsplit_once('@').unwrap_or(("", text));
    // Only what stands in brackets has colons of its own.
    let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest),
        None => rest.find(':').map_or((rest, ""), |at| rest.split_at(at)),
    };
    let bracketed = rest.starts_with('[');
    let port_is_one = port.is_empty()
        || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|it| it.is_ascii_digit()));
    !host.is_empty()
        && is_made_of(user, ":")
        && is_made_of(host, if bracketed { ":" } else { "" })
        && port_is_one
}

/// Whether `text` has only unreserved characters, sub-delimiters, percent-encoded bytes, and `others`.
fn is_made_of(text: &str, others: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let fits = match byte {
            b'%' => (0..2).all(|_| bytes.next().is_some_and(|digit| digit.is_ascii_hexdigit())),
            byte if byte.is_ascii_alphanumeric() => true,
            byte => b"-._~!$&'()*+,;=".contains(&byte) || others.as_bytes().contains(&byte),
        };
        if !fits {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_uris() {
        for good in ["", "/", "/live/e1?t=a.b-c&x=%20", "?t=1", "/a//b"] {
            assert!(is_path(good), "{good}");
        }
        for bad in ["live", "/a b", "/a#b", "/%2", "/%zz", "/ä", "/a?b#c"] {
            assert!(!is_path(bad), "{bad}");
        }
    }

    #[test]
    fn authorities_have_a_host() {
        for good in ["example.com", "example.com:4443", "127.0.0.1:1", "[::1]:4443", "[::1]", "u:p@h"] {
            assert!(is_authority(good), "{good}");
        }
        for bad in ["", ":443", "a/b", "a:b", "[]:1", "[::1", "::1", "a b", "u@", "[::1]x"] {
            assert!(!is_authority(bad), "{bad}");
        }
    }
}
