//! Who may watch: said by the token, and remembered, because a player of HLS shows it some times a second.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use common::model::Namespace;
use common::net::door::{Door, Pass};
use common::net::token::TokenError;

/// Tokens remembered at most: 8,000 viewers by HTTP, of 400 bytes each, are 3 MiB. A signature takes some 0.1 ms
/// to check, so to forget them all now and then costs little.
const TOKENS_MAX: usize = 8_000;

/// Lets viewers in.
#[derive(Debug)]
pub(super) struct Admission {
    door: Door,
    known: Mutex<HashMap<String, Pass>>,
}

/// Why somebody may not watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// No link of this event.
    WrongLink,
    /// It was good once.
    Expired,
}

impl Admission {
    pub(super) fn new(door: Door) -> Self {
        Self { door, known: Mutex::default() }
    }

    /// The event's namespace, for whoever may read it.
    pub(super) fn admit(&self, event: &str, token: Option<&str>) -> Result<Namespace, Refused> {
        let namespace = Namespace::event(event).map_err(|_| Refused::WrongLink)?;
        let pass = self.pass(token)?;
        pass.may_read(&namespace).then_some(namespace).ok_or(Refused::WrongLink)
    }

    fn pass(&self, token: Option<&str>) -> Result<Pass, Refused> {
        let now = SystemTime::now();
        let remembered = token.and_then(|token| self.known().get(token).cloned());
        match remembered {
            Some(Pass::Claims(claims)) if is_over(claims.exp, now) => return Err(Refused::Expired),
            Some(pass) => return Ok(pass),
            None => {}
        }
        let pass = self.door.admit(now, token).map_err(|error| match error {
            TokenError::Expired { .. } => Refused::Expired,
            _ => Refused::WrongLink,
        })?;
        if let Some(token) = token {
            let mut known = self.known();
            if known.len() >= TOKENS_MAX {
                known.clear();
            }
            known.insert(token.to_owned(), pass.clone());
        }
        Ok(pass)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, Pass>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_over(exp: u64, now: SystemTime) -> bool {
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() >= exp
}
