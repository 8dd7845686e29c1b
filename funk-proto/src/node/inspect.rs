//! What a simulator's checkers may look at and no application needs.

use std::collections::BTreeSet;

use super::Node;
use crate::consensus::RaftRole;
use crate::gossip::GossipLife;
use crate::id::{BootId, ClusterId, LogIndex, RaftId, Term, WorkerId};
use crate::time::Timestamp;
use crate::wire::gossip::{KeyId, Keyring};

/// A look inside a node, for checkers. No stable interface.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Inspect<'a>(&'a Node);

impl Node {
    /// A look inside, for checkers. No stable interface.
    #[doc(hidden)]
    pub fn inspect(&self) -> Inspect<'_> {
        Inspect(self)
    }
}

impl<'a> Inspect<'a> {
    /// This node's Raft id.
    pub fn id(&self) -> RaftId {
        self.0.me.id
    }

    /// This node's boot.
    pub fn boot(&self) -> BootId {
        self.0.me.boot
    }

    /// Of the gossip keys, the version and ids in the replicated state, and the ids of this node's own.
    pub fn ring(&self) -> (u64, Vec<KeyId>, Vec<KeyId>) {
        let mark = self.0.state.as_ref().map(|state| state.ring.clone()).unwrap_or_default();
        (mark.version, mark.keys, self.0.gossip.ring().map(Keyring::ids).unwrap_or_default())
    }

    /// Its part in the term.
    pub fn role(&self) -> RaftRole {
        self.0.consensus.role()
    }

    /// The newest term, perhaps not stable yet.
    pub fn term(&self) -> Term {
        self.0.consensus.term()
    }

    /// The leader that it knows.
    pub fn leader(&self) -> Option<RaftId> {
        self.0.consensus.leader()
    }

    /// The last entry that it knows to be committed.
    pub fn commit(&self) -> LogIndex {
        self.0.consensus.commit()
    }

    /// The last entry that it applied.
    pub fn applied(&self) -> LogIndex {
        self.0.consensus.applied()
    }

    /// Whether the snapshot with which its log begins is not stable yet.
    pub fn is_beginning(&self) -> bool {
        self.0.consensus.is_beginning()
    }

    /// The last entry of its log.
    pub fn last_index(&self) -> LogIndex {
        self.0.consensus.last_index()
    }

    /// The term of an entry; `None` outside of its log.
    pub fn term_at(&self, index: LogIndex) -> Option<Term> {
        self.0.consensus.term_at(index)
    }

    /// A digest of an entry's kind and bytes; `None` outside of its log.
    pub fn entry_digest(&self, index: LogIndex) -> Option<u64> {
        self.0.consensus.entry_digest(index)
    }

    /// Voters; in a joint change those that it leads to.
    pub fn voters(&self) -> BTreeSet<RaftId> {
        self.0.consensus.voters()
    }

    /// Voters that a joint change retires.
    pub fn outgoing_voters(&self) -> BTreeSet<RaftId> {
        self.0.consensus.outgoing_voters()
    }

    /// Whether its log holds a change of voters that it has not applied yet.
    pub fn conf_change_ahead(&self) -> bool {
        self.0.consensus.conf_change_ahead()
    }

    /// The cluster that it is in.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.0.state.as_ref().map(|state| state.cluster.id).or(self.0.peers.identity.cluster)
    }

    /// End of its lease, on its own clock.
    pub fn lease_until(&self) -> Timestamp {
        self.0.liveness.lease_until()
    }

    /// End of its promise as a voter, on its own clock.
    pub fn promise_until(&self) -> Timestamp {
        self.0.liveness.promise_until()
    }

    /// End of its authority as leader, on its own clock.
    pub fn authority_until(&self) -> Timestamp {
        self.0.liveness.authority_until()
    }

    /// The worker id that it may use while its lease holds.
    pub fn worker_id(&self) -> Option<WorkerId> {
        self.0.view.routes().worker()
    }

    /// Goodbyes that it took for true.
    pub fn goodbyes(&self) -> u64 {
        self.0.view.counters.goodbyes
    }

    /// The boots that it knows to have ended, the latest of each node.
    pub fn ended(&self) -> Vec<(RaftId, BootId)> {
        self.0.evidence.endings.all().collect()
    }

    /// What gossip holds of lives, and a number that grows when that changes.
    pub fn gossip_lives(&self) -> (u64, impl Iterator<Item = GossipLife> + use<'a>) {
        (self.0.gossip.changes(), self.0.gossip.lives())
    }

    /// The bytes of its replicated state; `None` before it has any.
    pub fn state_bytes(&self) -> Option<bytes::Bytes> {
        self.0.state.as_ref().map(crate::state::snapshot::encode)
    }

    /// Members that are up in the applied table, with their boots.
    pub fn up(&self) -> Vec<(RaftId, BootId)> {
        let members = self.0.state.iter().flat_map(|state| state.members.iter());
        members.filter_map(|member| Some((member.id, member.boot?))).collect()
    }
}
