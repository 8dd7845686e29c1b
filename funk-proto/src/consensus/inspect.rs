//! What a simulator's checkers look at in the log.

use raft::GetEntriesContext;
use raft::eraftpb::EntryType;
use std::hash::Hasher;

use super::Consensus;
use crate::id::{LogIndex, Term};

impl Consensus {
    /// The term of an entry; `None` outside of the log.
    pub(crate) fn term_at(&self, index: LogIndex) -> Option<Term> {
        self.raw.raft.raft_log.term(index.0).ok().filter(|term| *term > 0).map(Term)
    }

    /// A digest of an entry's kind and bytes; `None` outside of the log.
    pub(crate) fn entry_digest(&self, index: LogIndex) -> Option<u64> {
        let context = GetEntriesContext::empty(false);
        let log = &self.raw.raft.raft_log;
        if index.0 < log.first_index() || index.0 > log.last_index() {
            return None;
        }
        let entry = log.slice(index.0, index.0 + 1, None, context).ok()?.pop()?;
        let mut hasher = siphasher::sip::SipHasher13::new();
        hasher.write_u8(u8::from(entry.get_entry_type() == EntryType::EntryNormal));
        hasher.write(&entry.data);
        Some(hasher.finish())
    }

    /// Whether the log holds a change of voters that is not applied yet.
    pub(crate) fn conf_change_ahead(&self) -> bool {
        let log = &self.raw.raft.raft_log;
        let context = GetEntriesContext::empty(false);
        let from = (log.applied + 1).max(log.first_index());
        if from > log.last_index() {
            return false;
        }
        let entries = log.slice(from, log.last_index() + 1, None, context).unwrap_or_default();
        entries.iter().any(|entry| entry.get_entry_type() != EntryType::EntryNormal)
    }
}
