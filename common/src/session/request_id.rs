//! Request ids: even ones are the client's, odd ones the server's, each used once (draft-18, 10.1).

use std::collections::BTreeMap;

use super::Role;
use super::error::PeerMisbehaved;
use super::limits::REQUEST_ID_GAPS_MAX;

/// The ids that we use: one after the other.
#[derive(Debug)]
pub(super) struct OwnIds(u64);

impl OwnIds {
    pub(super) fn new(role: Role) -> Self {
        Self(first(role))
    }

    pub(super) fn next(&mut self) -> u64 {
        let id = self.0;
        self.0 += 2;
        id
    }

    /// Whether an id is one of ours, used or not.
    pub(super) fn may_be(&self, id: u64) -> bool {
        id % 2 == self.0 % 2
    }
}

/// The ids that the peer has used. Streams overtake each other, and some are reset before we read their
/// id, so there are gaps.
#[derive(Debug)]
pub(super) struct PeerIds {
    parity: u64,
    /// Of halved ids: the first of each run, and the one after its last.
    runs: BTreeMap<u64, u64>,
}

impl PeerIds {
    pub(super) fn new(peer: Role) -> Self {
        Self { parity: first(peer), runs: BTreeMap::new() }
    }

    /// The peer uses `id`.
    pub(super) fn consume(&mut self, id: u64) -> Result<(), PeerMisbehaved> {
        if id % 2 != self.parity {
            return Err(PeerMisbehaved::RequestIdParity(id));
        }
        let at = id / 2;
        let before = self.runs.range(..=at).next_back().map(|(first, end)| (*first, *end));
        if before.is_some_and(|(_, end)| at < end) {
            return Err(PeerMisbehaved::DuplicateRequestId(id));
        }
        let first = before.filter(|(_, end)| *end == at).map_or(at, |(first, _)| first);
        let end = self.runs.remove(&(at + 1)).unwrap_or(at + 1);
        self.runs.insert(first, end);
        self.forget_a_gap();
        Ok(())
    }

    /// The smallest id that the peer has not used, and no greater one either.
    pub(super) fn next(&self) -> u64 {
        // Of a peer that has used 2^64 - 1, there will be no other.
        let end = self.runs.last_key_value().map_or(0, |(_, end)| *end);
        end.checked_mul(2).unwrap_or(u64::MAX - 1) | self.parity
    }

    fn forget_a_gap(&mut self) {
        if self.runs.len() <= REQUEST_ID_GAPS_MAX {
            return;
        }
        if let (Some((first, _)), Some((_, end))) = (self.runs.pop_first(), self.runs.pop_first()) {
            self.runs.insert(first, end);
        }
    }
}

fn first(role: Role) -> u64 {
    match role {
        Role::Client => 0,
        Role::Server => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_may_come_once_in_any_order() {
        let mut ids = PeerIds::new(Role::Server);
        assert_eq!(ids.next(), 1);
        for id in [5, 1, 9, 3, u64::MAX, 7] {
            assert_eq!(ids.consume(id), Ok(()), "{id}");
        }
        for id in [1, 3, 5, 7, 9, u64::MAX] {
            assert_eq!(ids.consume(id), Err(PeerMisbehaved::DuplicateRequestId(id)));
        }
        assert_eq!(ids.runs.len(), 2);
        assert_eq!(ids.consume(12), Err(PeerMisbehaved::RequestIdParity(12)));
    }

    #[test]
    fn gaps_are_forgotten_from_below() {
        let mut ids = PeerIds::new(Role::Client);
        for at in 0..=REQUEST_ID_GAPS_MAX as u64 {
            ids.consume(at * 4).unwrap();
        }
        assert_eq!(ids.runs.len(), REQUEST_ID_GAPS_MAX);
        assert_eq!(ids.consume(2), Err(PeerMisbehaved::DuplicateRequestId(2)));
        assert_eq!(ids.consume(6), Ok(()));
        assert_eq!(ids.next(), REQUEST_ID_GAPS_MAX as u64 * 4 + 2);
    }
}
