//! One member as the table holds it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::status::GossipStatus;
use crate::time::Timestamp;
use crate::wire::gossip::{Accusation, Alive, GossipMember, NodeRecord, NodeState, Packet};

/// What probing and gossip know of a member's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Alive,
    /// It did not answer, or somebody said so.
    Suspect,
    Dead,
    /// It said itself that it goes.
    Left,
    /// Dead or left for so long that its record is not passed on any more.
    /// Whoever shows up under its name is new.
    Forgotten,
}

/// A member: its record, its life, and its status as Serf shows it.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub addr: SocketAddr,
    pub meta: Bytes,
    /// What `meta` decodes to.
    pub tags: BTreeMap<String, String>,
    pub versions: [u8; 6],
    pub incarnation: u32,
    pub life: Life,
    /// When `life` last changed.
    pub since: Timestamp,
    pub status: GossipStatus,
    /// When `status` last changed.
    pub status_since: Timestamp,
    /// Lamport time of the last join or leave.
    pub status_time: u64,
    /// To be erased as soon as it is gone.
    pub prune: bool,
}

impl Member {
    /// Whether it was declared dead or left.
    pub(super) fn gone(&self) -> bool {
        matches!(self.life, Life::Dead | Life::Left | Life::Forgotten)
    }

    /// Whether it can be talked to, as far as gossip and the cluster know.
    pub(super) fn present(&self) -> bool {
        !self.gone() && matches!(self.status, GossipStatus::Alive | GossipStatus::Leaving)
    }

    /// The highest version of the node protocol that it understands.
    fn understands(&self) -> u8 {
        self.versions[1]
    }

    pub(super) fn understands_nacks(&self) -> bool {
        self.understands() >= 4
    }

    pub(super) fn understands_checksums(&self) -> bool {
        self.understands() >= 5
    }

    /// Whether it answers pings on a stream.
    pub(super) fn understands_stream_pings(&self) -> bool {
        self.understands() >= 3
    }

    pub(super) fn set_status(&mut self, now: Timestamp, status: GossipStatus) {
        if self.status != status {
            (self.status, self.status_since) = (status, now);
        }
    }

    pub(super) fn set_life(&mut self, now: Timestamp, life: Life) {
        if self.life != life {
            (self.life, self.since) = (life, now);
        }
    }

    /// The record for a push/pull; `None` if it is not passed on any more.
    pub(super) fn record(&self, name: &[u8]) -> Option<NodeRecord> {
        let state = match self.life {
            Life::Alive => NodeState::Alive,
            Life::Suspect => NodeState::Suspect,
            Life::Dead => NodeState::Dead,
            Life::Left => NodeState::Left,
            Life::Forgotten => return None,
        };
        let vsn = Bytes::copy_from_slice(&self.versions);
        Some(NodeRecord { vsn, ..NodeRecord::new(name, self.addr, self.meta.clone(), self.incarnation, state) })
    }

    /// The message that tells everybody of this member.
    pub(super) fn alive(&self, name: &Bytes) -> Packet {
        Packet::Alive(Alive {
            incarnation: self.incarnation,
            node: name.clone(),
            addr: self.addr,
            meta: self.meta.clone(),
            versions: self.versions,
        })
    }

    /// What tells a member that is held for gone of it; `None` for the others.
    pub(super) fn accusation(&self, name: &Bytes, own: &Bytes) -> Option<Packet> {
        let from = match self.life {
            Life::Dead => own,
            Life::Left => name,
            Life::Alive | Life::Suspect | Life::Forgotten => return None,
        };
        let (node, from) = (name.clone(), from.clone());
        Some(Packet::Dead(Accusation { incarnation: self.incarnation, node, from }))
    }

    pub(super) fn shown(&self, name: &[u8]) -> GossipMember {
        GossipMember {
            name: String::from_utf8_lossy(name).into_owned(),
            addr: self.addr,
            status: self.status,
            tags: self.tags.clone(),
            incarnation: self.incarnation,
        }
    }
}
