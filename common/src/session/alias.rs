//! Track aliases of what we receive: chosen by the peer, looked up for every data stream (draft-18, 11.1).

use std::collections::{HashMap, VecDeque};

use super::limits::RETIRED_ALIASES_MAX;
use super::request::RequestKey;

/// Which subscription an alias stands for, and which stood for one a while ago.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    live: HashMap<u64, RequestKey>,
    /// Oldest first.
    retired: VecDeque<u64>,
}

impl Aliases {
    pub(super) fn find(&self, alias: u64) -> Option<RequestKey> {
        self.live.get(&alias).copied()
    }

    pub(super) fn is_retired(&self, alias: u64) -> bool {
        self.retired.contains(&alias)
    }

    /// From now on the alias stands for `request`, whatever it stood for.
    pub(super) fn insert(&mut self, alias: u64, request: RequestKey) {
        self.retired.retain(|retired| *retired != alias);
        self.live.insert(alias, request);
    }

    /// The request is over. Nothing happens if its alias stands for another by now.
    pub(super) fn retire(&mut self, alias: u64, request: RequestKey) {
        if self.live.get(&alias) != Some(&request) {
            return;
        }
        self.live.remove(&alias);
        if self.retired.len() == RETIRED_ALIASES_MAX {
            self.retired.pop_front();
        }
        self.retired.push_back(alias);
    }
}
