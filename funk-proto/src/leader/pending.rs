//! What a leader remembers of what is under way.

use crate::id::RaftId;
use crate::state::Member;
use crate::time::Timestamp;

/// A node that asked to be made a member.
#[derive(Clone, Debug)]
pub(super) struct PendingJoin {
    pub(super) member: Member,
    /// Heartbeats that this process has answered, by its own word.
    pub(super) answered: u64,
    /// Since when a live member of that name stands in its way.
    pub(super) conflict_since: Option<Timestamp>,
    pub(super) expires: Timestamp,
}

/// What an entry about the map entails once it has an index.
#[derive(Debug)]
pub(super) struct Proposing {
    /// They lose shards by it: no lease that does not know of it.
    pub(super) losers: Vec<RaftId>,
    /// They begin to give shards up by it: no lease past the grace that does not know of it.
    pub(super) movers: Vec<RaftId>,
    pub(super) grace_ends: Timestamp,
    /// More is due than fits into one entry.
    pub(super) is_incomplete: bool,
}
