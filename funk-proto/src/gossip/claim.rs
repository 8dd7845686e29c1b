//! How a node presents itself, and how far its incarnation is followed.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;

use super::member::{Life, Member};
use crate::limits::GOSSIP_NAME_BYTES_MAX;
use crate::mutate::{Mutant, planted};
use crate::status::GossipStatus;
use crate::time::Timestamp;
use crate::wire::gossip::{Alive, NodeRecord, decode_tags};

/// Incarnations up to this are counts, and are followed at once.
const INCARNATIONS_COUNTED: u32 = u32::MAX / 2;
/// How far one message may move a known incarnation above that. It takes some
/// 134 million of them, each heard and answered, to use incarnations up.
const INCARNATION_STEP: u32 = 16;

/// How far above them this node itself goes to outbid one lie: more than others follow, since it may have missed many,
/// and so little that whoever follows anything, as agents do, can still be told of changes.
const INCARNATION_OWN_STEP: u32 = 1 << 16;

/// How a node is presented, checked: every part of it can be used.
#[derive(Debug)]
pub(super) struct Claim {
    pub name: Bytes,
    pub addr: SocketAddr,
    pub tags: BTreeMap<String, String>,
    pub incarnation: u32,
    pub meta: Bytes,
    pub versions: [u8; 6],
}

impl Claim {
    /// A record of a push/pull; one that agents would refuse is no claim.
    pub(super) fn of_record(record: &NodeRecord, default_port: u16) -> Option<Self> {
        Self {
            name: record.name.clone(),
            addr: record.address(default_port)?,
            tags: decode_tags(&record.meta)?,
            incarnation: record.incarnation,
            meta: record.meta.clone(),
            versions: record.versions()?,
        }
        .checked()
    }

    /// An alive message of a datagram.
    pub(super) fn of_alive(alive: &Alive, default_port: u16) -> Option<Self> {
        let port = if alive.addr.port() == 0 { default_port } else { alive.addr.port() };
        Self {
            name: alive.node.clone(),
            addr: SocketAddr::new(alive.addr.ip(), port),
            tags: decode_tags(&alive.meta)?,
            incarnation: alive.incarnation,
            meta: alive.meta.clone(),
            versions: alive.versions,
        }
        .checked()
    }

    fn checked(self) -> Option<Self> {
        let named = (1..=GOSSIP_NAME_BYTES_MAX).contains(&self.name.len());
        (named && self.incarnation > 0).then_some(self)
    }

    /// The member that this presents, new and alive.
    pub(super) fn into_member(self, now: Timestamp) -> Member {
        Member {
            addr: self.addr,
            meta: self.meta,
            tags: self.tags,
            versions: self.versions,
            incarnation: follow(0, self.incarnation),
            life: Life::Alive,
            since: now,
            status: GossipStatus::Alive,
            status_since: now,
            status_time: 0,
            prune: false,
        }
    }
}

/// What is held of an incarnation that was heard of, where `known` is the one before: itself, or not far above those
/// that are counted. So nobody but the member itself can run ahead of its answers, and the highest of all numbers
/// leaves room for many.
pub(super) fn follow(known: u32, heard: u32) -> u32 {
    let most = INCARNATIONS_COUNTED.max(known.saturating_add(INCARNATION_STEP));
    if planted(Mutant::AnyIncarnationFollowed) { heard } else { heard.min(most) }
}

/// Whether others may believe in a lower incarnation of this node than its own, though they heard of it: above those
/// that are counted they follow in steps.
pub(super) fn may_be_behind(own: u32) -> bool {
    own > INCARNATIONS_COUNTED
}

/// What this node believes of what is said of itself: it outbids a lie, and moves no further than others can follow it.
pub(super) fn outbid(own: u32, heard: u32) -> u32 {
    let most = INCARNATIONS_COUNTED.max(own).saturating_add(INCARNATION_OWN_STEP);
    if planted(Mutant::AnyIncarnationOutbid) { heard } else { heard.min(most) }
}
