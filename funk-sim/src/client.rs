//! Those who use the cluster: what they asked, and what became of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use funk_proto::Timestamp;
use funk_proto::id::ShardId;

/// One request.
#[derive(Clone, Debug)]
pub struct Asked {
    /// When it was sent, in true time.
    pub at: Timestamp,
    /// For which shard.
    pub shard: ShardId,
    /// What was asked.
    pub bytes: Bytes,
}

/// All clients together.
#[derive(Debug, Default)]
pub struct Client {
    last: u64,
    open: BTreeMap<u64, Asked>,
    /// Requests that were answered.
    pub answered: u64,
    /// Requests that were refused or lost.
    pub failed: u64,
}

impl Client {
    pub(crate) fn begin(&mut self, asked: Asked) -> u64 {
        self.last += 1;
        self.open.insert(self.last, asked);
        self.last
    }

    pub(crate) fn end(&mut self, id: u64, answered: bool) -> Option<Asked> {
        let asked = self.open.remove(&id)?;
        if answered {
            self.answered += 1;
        } else {
            self.failed += 1;
        }
        Some(asked)
    }

    /// Requests without an answer so far, oldest first.
    pub fn open(&self) -> impl Iterator<Item = (u64, &Asked)> {
        self.open.iter().map(|(&id, asked)| (id, asked))
    }
}
