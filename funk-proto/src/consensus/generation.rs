//! A log that is given up, and the one that begins in its place: what a
//! survivor does when the majority is lost for good.

use bytes::Bytes;
use raft::GetEntriesContext;
use raft::eraftpb::{ConfState, EntryType};

use super::{Consensus, Mirror, convert};
use crate::id::LogIndex;
use crate::rng::Seed;
use crate::time::Timestamp;

impl Consensus {
    /// The entries after the last applied one, without changes of voters.
    /// Nobody can say which of them were committed: all are kept, so that what
    /// was acknowledged is not lost where this node has it.
    pub fn unapplied(&self) -> Vec<(LogIndex, Bytes)> {
        let log = &self.raw.raft.raft_log;
        let from = (self.polled.0 + 1).max(log.first_index());
        if from > log.last_index() {
            return Vec::new();
        }
        let entries = log.slice(from, log.last_index() + 1, None, GetEntriesContext::empty(false));
        let entries = entries.expect("the log holds what is between its first and last index");
        let data = entries.into_iter().filter(|entry| entry.get_entry_type() == EntryType::EntryNormal);
        data.map(|entry| (LogIndex(entry.index), entry.data)).collect()
    }

    /// A log that begins with `state` at `index`, in the next term, with this
    /// node as its only voter. Nothing happens before that is stable; in the
    /// store it takes the place of all before it.
    #[must_use]
    pub fn begin_again(&self, index: LogIndex, state: Bytes, seed: Seed, now: Timestamp) -> Consensus {
        let mut conf = ConfState::default();
        conf.voters.push(self.id.get());
        let snapshot = convert::snapshot((index.0, self.raw.raft.term + 1), conf, state);
        // Writes of the former log may still be under way: their tokens stay theirs.
        let next = Consensus::over(self.id, Mirror::starting_from(snapshot.clone()), seed, now);
        let mut next = next.beginning_with(&snapshot, self.next_token, self.kept_lease);
        next.durable = self.durable;
        // The first write of the new log settles these too.
        next.leases_in_flight.clone_from(&self.leases_in_flight);
        next
    }
}
