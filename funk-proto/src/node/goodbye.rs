//! How a process that ends says so, and what its peers make of it.
//!
//! A goodbye names one boot and is final: that process serves nothing any
//! more, whatever it was granted, so its shards go to others without a wait. It
//! is sealed ahead of time for every peer, since who sends it may be a panic
//! hook, or another process that waited for the death of this one.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;

use super::Node;
use crate::id::{BootId, RaftId};
use crate::limits::RAFT_MEMBERS_MAX;
use crate::mutate::{Mutant, planted};
use crate::shards::Owner;
use crate::time::Timestamp;
use crate::wire::liveness::{self, Body, Header, LAST_COUNTER};

/// What is to be sent to one peer when this process has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastWord {
    /// The peer's liveness socket.
    pub to: SocketAddr,
    /// To be sent by this process, once its gate is closed for good and no guard is left.
    pub goodbye: Bytes,
    /// To be sent by a process that waited for this one's end.
    pub reaped: Bytes,
}

/// The boots that are known to have ended: the latest of each node.
#[derive(Debug, Default)]
pub(super) struct Endings(BTreeMap<RaftId, BootId>);

impl Endings {
    pub(super) fn has_ended(&self, owner: Owner) -> bool {
        self.0.get(&owner.id).is_some_and(|&boot| boot == owner.boot || planted(Mutant::BootNotCompared))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (RaftId, BootId)> + '_ {
        self.0.iter().map(|(&id, &boot)| (id, boot))
    }

    fn insert(&mut self, owner: Owner) {
        if self.0.len() >= RAFT_MEMBERS_MAX && !self.0.contains_key(&owner.id) {
            // What is forgotten is waited for: slower, and as safe.
            self.0.pop_first();
        }
        self.0.insert(owner.id, owner.boot);
    }
}

impl Node {
    /// What tells this boot's peers that it has ended. Once sent, this process
    /// must never serve again, and must soon be gone.
    pub fn last_words(&self) -> Vec<LastWord> {
        let Some(cluster) = self.peers.identity.cluster else { return Vec::new() };
        let (from, boot) = (self.me.id, self.me.boot);
        let words = self.peers.datagram_routes().map(|(to, address, key)| {
            let header = Header { cluster, from, boot, to, counter: LAST_COUNTER, at: Timestamp::ZERO };
            let sealed = |reaped| liveness::seal(&key, &header, &Body::Goodbye { reaped });
            LastWord { to: address, goodbye: sealed(false), reaped: sealed(true) }
        });
        words.collect()
    }

    /// Grows with every change of [`Node::last_words`].
    pub fn last_words_version(&self) -> u64 {
        self.peers.routes_version()
    }

    /// That boot has ended. Each voter keeps it in mind: the next leader may be this node.
    pub(super) fn handle_goodbye(&mut self, now: Timestamp, ended: Owner, reaped: bool) {
        tracing::info!(peer = %ended.id, reaped, "a member's process has ended");
        self.counters.goodbyes += 1;
        self.endings.insert(ended);
        if let Some(leading) = &mut self.leading {
            leading.wake();
        } else if self.consensus.leader() == Some(ended.id) {
            self.give_up_leader(now, ended.id);
        }
    }
}
