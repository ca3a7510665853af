//! Whose stream key or token opens which event.

use std::time::SystemTime;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use common::net::log::Private;
use common::net::token::{Role, TokenError, Verifier};

use crate::ingest::{Door, EventId, Refusal};

/// Knows the stream keys of this origin's events, and who signs hosts' tokens.
#[derive(Debug)]
pub(crate) struct Doorkeeper {
    keys: Vec<(EventId, Private<String>)>,
    verifier: Option<Verifier>,
}

impl Doorkeeper {
    pub(crate) fn new(keys: Vec<(EventId, Private<String>)>, verifier: Option<Verifier>) -> Self {
        Self { keys, verifier }
    }
}

impl Door for Doorkeeper {
    fn admit(&self, key: &str) -> Result<EventId, Refusal> {
        let same =
            |known: &Private<String>| verify_slices_are_equal(known.0.as_bytes(), key.as_bytes()).is_ok();
        if let Some((event, _)) = self.keys.iter().find(|(_, known)| same(known)) {
            return Ok(event.clone());
        }
        let verifier = self.verifier.as_ref().ok_or(Refusal::Unknown)?;
        let claims = verifier.verify(SystemTime::now(), key).map_err(|error| match error {
            TokenError::Expired { .. } => Refusal::Expired,
            _ => Refusal::Unknown,
        })?;
        match claims.role {
            Role::Host => EventId::new(&claims.event).map_err(|_| Refusal::Unknown),
            Role::Viewer | Role::Node => Err(Refusal::NotHost),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use common::net::token::{Claims, Signer, generate_keys};

    use super::*;

    #[test]
    fn a_stream_key_or_a_hosts_token_opens_its_event_and_nothing_else_does() {
        let (private, public) = generate_keys().unwrap();
        let signer = Signer::from_pem(private.as_bytes()).unwrap();
        let exp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 60;
        let token = |role, exp| signer.sign(&Claims { event: "hall".into(), role, exp }).unwrap();
        let keys = vec![(EventId::new("gala").unwrap(), Private("secret".to_owned()))];
        let door = Doorkeeper::new(keys, Some(Verifier::from_pems([public]).unwrap()));
        assert_eq!(door.admit("secret").unwrap().as_str(), "gala");
        assert_eq!(door.admit(&token(Role::Host, exp)).unwrap().as_str(), "hall");
        assert_eq!(door.admit(&token(Role::Viewer, exp)), Err(Refusal::NotHost));
        assert_eq!(door.admit(&token(Role::Host, 1)), Err(Refusal::Expired));
        for wrong in ["", "secre", "secret2"] {
            assert_eq!(door.admit(wrong), Err(Refusal::Unknown));
        }
    }
}
