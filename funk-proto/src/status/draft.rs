//! A status that whoever asked for it writes out.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use bytes::Bytes;

use super::{GossipStatus, MemberStatus, RaftStatus, Status};
use crate::config::is_endpoint_name;
use crate::wire::gossip::decode_tags;

/// A [`Status`] without the members that only gossip knows. There may be thousands of those, and what they show is
/// theirs to choose: [`StatusDraft::finish`] writes them out, on the thread of whoever asks and not on the node's.
#[derive(Clone, Debug)]
pub struct StatusDraft {
    pub(crate) status: Status,
    pub(crate) seen: Vec<Seen>,
}

/// A member of gossip, as it shows itself.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) name: Bytes,
    pub(crate) address: SocketAddr,
    pub(crate) gossip: GossipStatus,
    pub(crate) meta: Bytes,
}

impl Seen {
    fn write_out(self, name: String) -> MemberStatus {
        let tags = decode_tags(&self.meta).unwrap_or_default().into_iter();
        let endpoints = tags.filter(|(tag, _)| is_endpoint_name(tag));
        MemberStatus {
            name,
            id: None,
            boot: None,
            gossip: self.gossip,
            gossip_address: Some(self.address),
            raft: RaftStatus::None,
            leader: false,
            reached: false,
            shards: 0,
            drained: false,
            endpoints: endpoints.filter_map(|(tag, at)| Some((tag, at.parse().ok()?))).collect(),
        }
    }
}

impl StatusDraft {
    /// The whole status: the members of the table and of gossip, by name.
    pub fn finish(self) -> Status {
        let Self { mut status, seen } = self;
        let listed: BTreeSet<String> = status.members.iter().map(|member| member.name.clone()).collect();
        status.members.reserve(seen.len());
        for seen in seen {
            let name = String::from_utf8_lossy(&seen.name).into_owned();
            if !listed.contains(&name) {
                status.members.push(seen.write_out(name));
            }
        }
        status.members.sort_by(|one, other| one.name.cmp(&other.name));
        status.members.dedup_by(|one, other| one.name == other.name);
        status
    }
}
