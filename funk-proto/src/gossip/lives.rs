//! What gossip holds of lives, for who checks it.

use std::net::SocketAddr;

use bytes::Bytes;

use super::Gossip;
use super::member::Life;
use crate::status::Seen;

/// What probing and gossip hold of one member's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GossipLife {
    /// Its name.
    pub name: Bytes,
    /// Where its gossip socket is.
    pub address: SocketAddr,
    /// Its newest incarnation that was heard of.
    pub incarnation: u32,
    /// Whether it is held for dead, or left.
    pub gone: bool,
}

impl Gossip {
    /// The members as they show themselves.
    pub(crate) fn seen(&self) -> impl Iterator<Item = Seen> + '_ {
        self.table.members.iter().map(|(name, member)| Seen {
            name: name.clone(),
            address: member.addr,
            gossip: member.status,
            meta: member.meta.clone(),
        })
    }

    /// The lives that are known, by name; those that ended long ago are left out.
    pub fn lives(&self) -> impl Iterator<Item = GossipLife> + '_ {
        let known = self.table.members.iter().filter(|(_, member)| member.life != Life::Forgotten);
        known.map(|(name, member)| GossipLife {
            name: name.clone(),
            address: member.addr,
            incarnation: member.incarnation,
            gone: member.gone(),
        })
    }

    /// Grows with each change of a member's address, tags or status, and with the end of a life.
    pub fn changes(&self) -> u64 {
        self.changes
    }
}
