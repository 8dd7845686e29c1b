//! One member as the table holds it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::status::GossipStatus;
use crate::time::Timestamp;
use crate::wire::gossip::{GossipMember, NodeRecord, NodeState};

/// A member: what push/pulls pass on of it, and its status.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub addr: SocketAddr,
    pub meta: Bytes,
    /// What `meta` decodes to.
    pub tags: BTreeMap<String, String>,
    pub versions: [u8; 6],
    pub incarnation: u32,
    pub state: NodeState,
    pub status: GossipStatus,
    /// Lamport time of the last join or leave.
    pub status_time: u64,
    /// When its state last changed.
    pub since: Timestamp,
}

impl Member {
    /// Whether it was declared dead or left.
    pub(super) fn gone(&self) -> bool {
        matches!(self.state, NodeState::Dead | NodeState::Left)
    }

    pub(super) fn record(&self, name: &[u8]) -> NodeRecord {
        let vsn = Bytes::copy_from_slice(&self.versions);
        NodeRecord { vsn, ..NodeRecord::new(name, self.addr, self.meta.clone(), self.incarnation, self.state) }
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
