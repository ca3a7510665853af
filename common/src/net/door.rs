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

    /// The label under which it is counted.
    pub fn role(&self) -> &'static str {
        match self {
            Self::Anybody => "anybody",
            Self::Claims(claims) => match claims.role {
                Role::Host => "host",
                Role::Viewer => "viewer",
                Role::Node => "node",
            },
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

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(role: Role, event: &str) -> Pass {
        Pass::Claims(Claims { event: event.into(), role, exp: 0 })
    }

    #[test]
    fn each_role_may_do_its_own_at_its_own_event() {
        let (hall, other) = (Namespace::event("hall").unwrap(), Namespace::event("other").unwrap());
        let everything = Namespace::default();
        // (pass, may read its event, another, may publish its event, another)
        let table = [
            (pass(Role::Viewer, "hall"), [true, false, false, false]),
            (pass(Role::Host, "hall"), [true, false, true, false]),
            (pass(Role::Node, "*"), [true, true, false, false]),
            (Pass::Anybody, [true, true, true, true]),
        ];
        for (pass, wanted) in table {
            let reads = [&hall, &other].map(|namespace| pass.may_read(namespace));
            let publishes = [&hall, &other].map(|namespace| pass.may_publish(namespace));
            assert_eq!([reads, publishes].concat(), wanted, "{pass:?}");
        }
        assert!(!pass(Role::Viewer, "hall").may_read(&everything));
    }

    #[test]
    fn an_open_door_asks_for_nothing() {
        let pass = Door::Open.admit(SystemTime::UNIX_EPOCH, None).unwrap();
        assert!(pass.carries_objects());
        let closed = Door::Tokens(Verifier::from_pems::<&[u8]>([]).unwrap());
        assert_eq!(closed.admit(SystemTime::UNIX_EPOCH, None).unwrap_err(), TokenError::Missing);
    }
}
