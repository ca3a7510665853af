//! Who may come in, and what they may do here.

use std::time::SystemTime;

use super::token::{Claims, Role, TokenError, Verifier};
use crate::model::Namespace;

/// A node's door.
#[derive(Debug, Clone)]
pub enum Door {
    /// Anybody may do anything: for tests and closed networks, and never by default.
    Open,
    /// Whoever shows a join token signed by one of these keys.
    Tokens(Verifier),
}

impl Door {
    /// Lets in whoever shows this token.
    ///
    /// # Errors
    /// Says what is wrong with the token.
    pub fn admit(&self, now: SystemTime, token: Option<&str>) -> Result<Pass, TokenError> {
        match self {
            Self::Open => Ok(Pass::Anybody),
            Self::Tokens(verifier) => {
                let claims = verifier.verify(now, token.ok_or(TokenError::Missing)?)?;
                Ok(Pass::Claims(claims))
            }
        }
    }
}

/// What a peer that was let in may do.
#[derive(Debug, Clone)]
pub enum Pass {
    /// Everything.
    Anybody,
    /// What its token says.
    Claims(Claims),
}

impl Pass {
    /// Whether it may read tracks of `namespace`.
    pub fn may_read(&self, namespace: &Namespace) -> bool {
        match self {
            Self::Anybody => true,
            Self::Claims(claims) => claims.role == Role::Node || covers(claims, namespace),
        }
    }

    /// Whether it may publish tracks of `namespace`.
    pub fn may_publish(&self, namespace: &Namespace) -> bool {
        match self {
            Self::Anybody => true,
            Self::Claims(claims) => claims.role == Role::Host && covers(claims, namespace),
        }
    }

    /// Whether it may open many streams and send much: hosts and nodes.
    pub fn carries_objects(&self) -> bool {
        match self {
            Self::Anybody => true,
            Self::Claims(claims) => matches!(claims.role, Role::Host | Role::Node),
        }
    }
}

/// An event's namespace has the event's id as its first field.
fn covers(claims: &Claims, namespace: &Namespace) -> bool {
    namespace.fields().first().is_some_and(|field| *field == claims.event.as_bytes())
}
