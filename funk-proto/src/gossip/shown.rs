//! What the rest of the node sees of gossip.

use super::member::Member;
use super::{Gossip, GossipMember};
use crate::id::NodeName;
use crate::status::{GossipCounters, GossipStatus};

impl Gossip {
    /// All known members by name, this node among them.
    pub fn members(&self) -> impl Iterator<Item = GossipMember> + '_ {
        self.table.members.iter().map(|(name, member)| member.shown(name))
    }

    /// The live members whose tag has this value.
    pub fn alive_with<'a>(&'a self, tag: &'a str, value: &'a str) -> impl Iterator<Item = GossipMember> + 'a {
        let fits = move |member: &Member| member.tags.get(tag).is_some_and(|shown| shown == value);
        let alive = self.table.members.iter().filter(|(_, member)| member.status == GossipStatus::Alive);
        alive.filter(move |(_, member)| fits(member)).map(|(name, member)| member.shown(name))
    }

    /// One of a member's tags.
    pub fn tag(&self, member: &NodeName, tag: &str) -> Option<&str> {
        self.table.get(member.as_str().as_bytes())?.tags.get(tag).map(String::as_str)
    }

    /// The member of this name; one whose name is no UTF-8 has none.
    pub fn member(&self, name: &str) -> Option<GossipMember> {
        self.table.get(name.as_bytes()).map(|member| member.shown(name.as_bytes()))
    }

    /// What gossip did so far.
    pub fn counters(&self) -> GossipCounters {
        GossipCounters {
            health: self.health.score(),
            queued: u32::try_from(self.broadcasts.len()).unwrap_or(u32::MAX),
            no_room: self.counters.no_room + self.broadcasts.pruned,
            ..self.counters
        }
    }
}
