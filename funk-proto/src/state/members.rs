//! The replicated member table.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;

use crate::config::{NodeConfig, Participation};
use crate::id::{BootId, Incarnation, LogIndex, NodeName, RaftId};
use crate::limits::{ENDPOINTS_MAX, RAFT_MEMBERS_MAX, WEIGHT_MAX};
use crate::wire::cluster::MemberRecord;

/// One member of the replicated table.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its Raft id.
    pub id: RaftId,
    /// Its name.
    pub name: NodeName,
    /// The boot that is up; `None` when the cluster holds it for dead.
    pub boot: Option<BootId>,
    /// Index of the entry that made this boot a member.
    pub up_index: LogIndex,
    /// Index of the last entry that took a shard from it.
    pub taken_index: LogIndex,
    /// It leaves: its shards move away.
    pub leaving: bool,
    /// An operator wants this boot to own nothing; it stays a member.
    pub cordoned: bool,
    /// Address of its gossip socket.
    pub serf: SocketAddr,
    /// Address of its cluster stream.
    pub raft: SocketAddr,
    /// Address of its liveness socket.
    pub liveness: SocketAddr,
    /// Its service's endpoints by name.
    pub endpoints: BTreeMap<String, SocketAddr>,
    /// Its weight.
    pub weight: u32,
    /// It is to own no more shards than this.
    pub capacity: Option<NonZeroU32>,
    /// Its failure zone.
    pub zone: String,
    /// Never to be made a voter.
    pub never_votes: bool,
    /// Owns no shard.
    pub non_member: bool,
    /// Has a data directory: it stays a member while it is down.
    pub durable: bool,
}

impl Member {
    /// The node with this configuration, as this process enters it in the table.
    pub(crate) fn own(config: &NodeConfig, me: Incarnation) -> Self {
        Self {
            id: me.id,
            name: config.name.clone(),
            boot: Some(me.boot),
            up_index: LogIndex(0),
            taken_index: LogIndex(0),
            leaving: false,
            cordoned: false,
            serf: config.serf,
            raft: config.raft,
            liveness: config.liveness,
            endpoints: config.endpoints.clone(),
            weight: config.weight,
            capacity: config.capacity,
            zone: config.zone.clone(),
            never_votes: config.participation != Participation::Full,
            non_member: config.participation == Participation::NonMember,
            durable: config.durable,
        }
    }

    /// Checks a record from a peer or the log; `None` if a field is not what it should be.
    pub fn parse(record: &MemberRecord) -> Option<Member> {
        let endpoints = record.endpoints.iter();
        let endpoints: Option<BTreeMap<_, _>> =
            endpoints.map(|(name, address)| Some((name.clone(), address.parse().ok()?))).collect();
        let member = Member {
            id: RaftId::new(record.id)?,
            name: record.name.parse().ok()?,
            boot: Some(BootId::new(record.boot)?),
            up_index: LogIndex(0),
            taken_index: LogIndex(0),
            leaving: false,
            cordoned: false,
            serf: record.serf.parse().ok()?,
            raft: record.raft.parse().ok()?,
            liveness: record.liveness.parse().ok()?,
            endpoints: endpoints?,
            weight: record.weight,
            capacity: NonZeroU32::new(record.capacity),
            zone: record.zone.clone(),
            never_votes: record.never_votes,
            non_member: record.non_member,
            durable: record.durable,
        };
        member.is_sound().then_some(member)
    }

    /// Whether no field is out of its bounds.
    pub(crate) fn is_sound(&self) -> bool {
        (1..=WEIGHT_MAX).contains(&self.weight)
            && self.endpoints.len() <= ENDPOINTS_MAX
            && self.endpoints.keys().all(|name| crate::config::is_endpoint_name(name))
            && self.zone.len() <= crate::limits::ENDPOINT_NAME_BYTES_MAX
    }

    /// The member as a record of `boot`.
    pub fn record(&self, boot: Option<BootId>) -> MemberRecord {
        MemberRecord {
            id: self.id.get(),
            boot: boot.map_or(0, BootId::get),
            name: self.name.to_string(),
            serf: self.serf.to_string(),
            raft: self.raft.to_string(),
            liveness: self.liveness.to_string(),
            endpoints: self.endpoints.iter().map(|(name, address)| (name.clone(), address.to_string())).collect(),
            weight: self.weight,
            zone: self.zone.clone(),
            never_votes: self.never_votes,
            non_member: self.non_member,
            durable: self.durable,
            capacity: self.capacity.map_or(0, NonZeroU32::get),
            former: Vec::new(),
            answered: 0,
        }
    }

    /// Whether it may be given shards.
    pub fn may_own(&self) -> bool {
        self.boot.is_some() && !self.leaving && !self.cordoned && !self.non_member
    }

    /// How many shards it is to own at most.
    pub fn room(&self) -> u32 {
        self.capacity.map_or(u32::MAX, NonZeroU32::get)
    }

    /// Every address of this member, `ep.*` of its own and of its service.
    pub fn all_endpoints(&self) -> BTreeMap<String, SocketAddr> {
        let own = [("ep.serf", self.serf), ("ep.raft", self.raft), ("ep.liveness", self.liveness)];
        let mut all = self.endpoints.clone();
        all.extend(own.map(|(name, address)| (name.to_owned(), address)));
        all
    }
}

/// The replicated member table, by Raft id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Members(BTreeMap<RaftId, Member>);

impl Members {
    /// The member with this id.
    pub fn get(&self, id: RaftId) -> Option<&Member> {
        self.0.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: RaftId) -> Option<&mut Member> {
        self.0.get_mut(&id)
    }

    /// The members in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.0.values()
    }

    /// How many, dead ones included.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The member that is up with this name.
    pub fn up_by_name(&self, name: &NodeName) -> Option<&Member> {
        self.iter().find(|member| member.boot.is_some() && member.name == *name)
    }

    /// Whether that boot is a member and up.
    pub fn is_up(&self, id: RaftId, boot: BootId) -> bool {
        self.get(id).is_some_and(|member| member.boot == Some(boot))
    }

    /// Enters a boot; false if the table is full or the name is another live
    /// member's. A member that is back keeps what was taken from it.
    pub(crate) fn enter(&mut self, index: LogIndex, mut member: Member) -> bool {
        let holder = self.up_by_name(&member.name).map(|holder| holder.id);
        if holder.is_some_and(|holder| holder != member.id) {
            return false;
        }
        if self.len() >= RAFT_MEMBERS_MAX && self.get(member.id).is_none() {
            return false;
        }
        member.up_index = index;
        member.taken_index = self.get(member.id).map_or(LogIndex(0), |old| old.taken_index);
        self.0.insert(member.id, member);
        true
    }

    pub(crate) fn restore(&mut self, member: Member) {
        self.0.insert(member.id, member);
    }

    pub(crate) fn remove(&mut self, id: RaftId) -> Option<Member> {
        self.0.remove(&id)
    }
}
