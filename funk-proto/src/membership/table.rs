//! The member table and the rules by which push/pulls change it.
//!
//! | a record says | of an unknown member | of a known one |
//! |---|---|---|
//! | alive | taken in | newer incarnation: updated; gone and at a new address: taken over |
//! | suspect | dropped | no change: there is no probing yet that could confirm it |
//! | dead, left | dropped | not older: leaving becomes left, alive becomes failed |
//!
//! Records about this node change nothing but its incarnation, which it raises
//! above an accusation. A record that Serf agents would refuse is skipped and
//! never passed on, where an agent would refuse the whole push/pull.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::lamport::Lamport;
use super::member::Member;
use crate::limits::{GOSSIP_MEMBERS_MAX, GOSSIP_NAME_BYTES_MAX, GOSSIP_TOMBSTONE};
use crate::status::GossipStatus;
use crate::time::Timestamp;
use crate::wire::gossip::{NodeRecord, NodeState, PushPull, SerfState, decode_tags};

/// The tag by which clusters stay apart.
const CLUSTER_TAG: &str = "meta.clusterName";
/// Incarnations above this are no count of anything: following one could leave
/// no room to refute the next accusation.
const INCARNATION_MAX: u32 = u32::MAX / 2;

/// All members, this node among them.
#[derive(Debug)]
pub(super) struct Table {
    own: Bytes,
    cluster: String,
    members: BTreeMap<Bytes, Member>,
    member_clock: Lamport,
    event_clock: Lamport,
    query_clock: Lamport,
    leaving: bool,
}

/// What a merge did.
#[derive(Debug, Default)]
pub(super) struct Merged {
    /// Members that are new or show something new, by name.
    pub changed: BTreeSet<Bytes>,
    /// Records of other members of this cluster.
    pub others: u64,
    /// Records skipped because they show another cluster's name.
    pub vetoed: u64,
    /// Records and intents skipped because they are unusable.
    pub dropped: u64,
    /// Somebody holds an old or wrong view of this node, answered by something newer.
    pub refuted: bool,
    /// Another node is known by this node's name.
    pub name_taken: bool,
    /// Who can be forgotten for newcomers, the one gone longest last. Sorted
    /// once for a merge: a peer decides how many newcomers it has.
    evictable: Option<Vec<(Timestamp, Bytes)>>,
}

impl Table {
    pub(super) fn new(own: &str, cluster: &str, me: Member) -> Self {
        let own = Bytes::copy_from_slice(own.as_bytes());
        Self {
            members: BTreeMap::from([(own.clone(), me)]),
            own,
            cluster: cluster.into(),
            member_clock: Lamport::new(),
            event_clock: Lamport::new(),
            query_clock: Lamport::new(),
            leaving: false,
        }
    }

    pub(super) fn own(&self) -> &Bytes {
        &self.own
    }

    pub(super) fn leaving(&self) -> bool {
        self.leaving
    }

    pub(super) fn me(&mut self) -> &mut Member {
        self.members.get_mut(&self.own).expect("this node never leaves its own table")
    }

    pub(super) fn members(&self) -> impl Iterator<Item = (&Bytes, &Member)> {
        self.members.iter()
    }

    /// Other members that are alive.
    pub(super) fn alive_others(&self) -> impl Iterator<Item = &Member> {
        let own = &self.own;
        self.members.iter().filter(move |(name, member)| *name != own && !member.gone()).map(|(_, member)| member)
    }

    /// Everything this node knows, for the other side of a push/pull.
    pub(super) fn push_pull(&self, join: bool) -> PushPull {
        let gone = |(name, member): &(&Bytes, &Member)| {
            member.status == GossipStatus::Left || (self.leaving && **name == self.own)
        };
        let state = SerfState {
            member_time: self.member_clock.time(),
            event_time: self.event_clock.time(),
            query_time: self.query_clock.time(),
            left_members: self.members.iter().filter(gone).map(|(name, _)| name.clone()).collect(),
            status_times: self.members.iter().map(|(name, member)| (name.clone(), member.status_time)).collect(),
            ..SerfState::default()
        };
        let nodes = self.members.iter().map(|(name, member)| member.record(name)).collect();
        PushPull { join, nodes, user_state: state.encode() }
    }

    /// Issues a join of this node, newer than every leave that the others may remember.
    pub(super) fn issue_join(&mut self) {
        let time = self.member_clock.issue();
        self.me().status_time = time;
    }

    /// Marks this node as one that leaves.
    pub(super) fn leave(&mut self, now: Timestamp) {
        self.leaving = true;
        let time = self.member_clock.issue();
        let me = self.me();
        me.status_time = time;
        me.state = NodeState::Left;
        me.status = GossipStatus::Leaving;
        me.since = now;
    }

    /// Sets another member's status by the cluster's verdict. True if it changed.
    pub(super) fn set_status(&mut self, now: Timestamp, name: &[u8], status: GossipStatus) -> bool {
        if name == self.own {
            return false;
        }
        let Some(member) = self.members.get_mut(name).filter(|member| member.status != status) else { return false };
        member.state = match status {
            GossipStatus::None => return false,
            GossipStatus::Alive | GossipStatus::Leaving => NodeState::Alive,
            GossipStatus::Left => NodeState::Left,
            GossipStatus::Failed => NodeState::Dead,
        };
        member.status = status;
        member.since = now;
        true
    }

    /// Forgets members that are gone for long.
    pub(super) fn reap(&mut self, now: Timestamp) {
        let own = self.own.clone();
        self.members
            .retain(|name, member| *name == own || !member.gone() || now.since(member.since) < GOSSIP_TOMBSTONE);
    }

    /// Merges the other side's view.
    pub(super) fn merge(&mut self, now: Timestamp, nodes: &[NodeRecord], state: Option<&SerfState>) -> Merged {
        let mut merged = Merged::default();
        let before = |table: &Self, name: &Bytes| {
            let view = |member: &Member| (member.status, member.incarnation, member.addr, member.meta.clone());
            table.members.get(name).map(view)
        };
        let statuses: BTreeMap<_, _> = state
            .iter()
            .flat_map(|state| state.status_times.iter().map(|(name, _)| name).chain(&state.left_members))
            .chain(nodes.iter().map(|node| &node.name))
            .map(|name| (name.clone(), before(self, name)))
            .collect();
        for record in nodes {
            self.merge_record(now, record, &mut merged);
        }
        if let Some(state) = state {
            self.merge_state(now, state, &mut merged);
        }
        merged.changed =
            statuses.into_iter().filter(|(name, old)| before(self, name) != *old).map(|(name, _)| name).collect();
        merged
    }

    fn merge_record(&mut self, now: Timestamp, record: &NodeRecord, merged: &mut Merged) {
        let named = (1..=GOSSIP_NAME_BYTES_MAX).contains(&record.name.len());
        let own_port = self.members[&self.own].addr.port();
        let Some(member) = checked(record, own_port, now).filter(|_| named) else {
            merged.dropped += 1;
            return;
        };
        if record.name == self.own {
            return self.merge_own(&member, merged);
        }
        if member.tags.get(CLUSTER_TAG).is_some_and(|cluster| *cluster != self.cluster) {
            merged.vetoed += 1;
            return;
        }
        merged.others += 1;
        match record.state {
            NodeState::Alive => self.merge_alive(&record.name, member, merged),
            NodeState::Dead | NodeState::Left => self.merge_gone(&record.name, &member),
            NodeState::Suspect | NodeState::Unknown(_) => {}
        }
    }

    fn merge_own(&mut self, seen: &Member, merged: &mut Merged) {
        let leaving = self.leaving;
        let me = self.me();
        if seen.addr != me.addr {
            merged.name_taken |= !seen.gone();
            return;
        }
        let same = seen.state == NodeState::Alive && seen.incarnation == me.incarnation && seen.meta == me.meta;
        if leaving || same || seen.incarnation < me.incarnation {
            return;
        }
        me.incarnation = seen.incarnation + 1;
        merged.refuted = true;
    }

    fn merge_alive(&mut self, name: &Bytes, seen: Member, merged: &mut Merged) {
        if let Some(known) = self.members.get_mut(name) {
            let moved = known.addr != seen.addr;
            if (moved && !known.gone()) || (!moved && seen.incarnation <= known.incarnation) {
                return;
            }
            let status = if known.gone() { GossipStatus::Alive } else { known.status };
            *known = Member { status, status_time: known.status_time, ..seen };
            return;
        }
        if self.members.len() >= GOSSIP_MEMBERS_MAX && !self.evict(merged) {
            merged.dropped += 1;
            return;
        }
        self.members.insert(name.clone(), seen);
    }

    fn merge_gone(&mut self, name: &Bytes, seen: &Member) {
        let Some(known) = self.members.get_mut(name) else { return };
        // A record at another address is about another life of that name.
        if known.gone() || seen.incarnation < known.incarnation || seen.addr != known.addr {
            return;
        }
        known.incarnation = seen.incarnation;
        known.state = seen.state;
        known.since = seen.since;
        known.status = if known.status == GossipStatus::Leaving { GossipStatus::Left } else { GossipStatus::Failed };
    }

    fn merge_state(&mut self, now: Timestamp, state: &SerfState, merged: &mut Merged) {
        self.member_clock.follow(state.member_time);
        self.event_clock.follow(state.event_time);
        self.query_clock.follow(state.query_time);
        let times: BTreeMap<_, _> = state.status_times.iter().map(|(name, time)| (name, *time)).collect();
        let left: BTreeSet<_> = state.left_members.iter().collect();
        for name in &left {
            self.merge_leave(now, name, times.get(name).copied().unwrap_or(0), merged);
        }
        for (name, time) in times {
            if !left.contains(name) {
                self.merge_join(name, time, merged);
            }
        }
    }

    fn merge_leave(&mut self, now: Timestamp, name: &Bytes, time: u64, merged: &mut Merged) {
        let (own, leaving) = (*name == self.own, self.leaving);
        let Some(known) = self.members.get_mut(name) else { return };
        // A leave counts a little later than the member's last join. Where both
        // sides know it, adding to it would raise it with every exchange.
        let time = if known.status == GossipStatus::Left { time } else { time.saturating_add(1) };
        if !self.member_clock.witness(time) {
            merged.dropped += 1;
        } else if own && !leaving {
            if time > known.status_time {
                self.issue_join();
                merged.refuted = true;
            }
        } else if !own && time > known.status_time {
            known.status_time = time;
            match known.status {
                GossipStatus::Alive => known.status = GossipStatus::Leaving,
                GossipStatus::Failed => known.status = GossipStatus::Left,
                GossipStatus::None | GossipStatus::Leaving | GossipStatus::Left => {}
            }
            if known.status == GossipStatus::Left {
                known.since = now;
            }
        }
    }

    fn merge_join(&mut self, name: &Bytes, time: u64, merged: &mut Merged) {
        let own = *name == self.own;
        let Some(known) = self.members.get_mut(name) else { return };
        if !self.member_clock.witness(time) {
            merged.dropped += 1;
        } else if time <= known.status_time {
            // Known already, or older than what is known.
        } else if own {
            // Only this node issues its joins: this time is a leave that somebody
            // took for this node's, or one of its former life.
            if !self.leaving {
                self.issue_join();
                merged.refuted = true;
            }
        } else {
            known.status_time = time;
            if known.status == GossipStatus::Leaving {
                known.status = GossipStatus::Alive;
            }
        }
    }

    /// Forgets the member that is gone longest. False if all are alive.
    fn evict(&mut self, merged: &mut Merged) -> bool {
        let evictable = merged.evictable.get_or_insert_with(|| {
            let gone = self.members.iter().filter(|(name, member)| **name != self.own && member.gone());
            let mut gone: Vec<_> = gone.map(|(name, member)| (member.since, name.clone())).collect();
            gone.sort_by(|a, b| b.cmp(a));
            gone
        });
        while let Some((_, name)) = evictable.pop() {
            // It may have come back in this very merge.
            if self.members.get(&name).is_some_and(Member::gone) {
                return self.members.remove(&name).is_some();
            }
        }
        false
    }
}

/// The record as a member that joined just now, if every part of it can be used.
fn checked(record: &NodeRecord, default_port: u16, now: Timestamp) -> Option<Member> {
    if record.incarnation == 0 || record.incarnation > INCARNATION_MAX {
        return None;
    }
    Some(Member {
        addr: record.address(default_port)?,
        meta: record.meta.clone(),
        tags: decode_tags(&record.meta)?,
        versions: record.versions()?,
        incarnation: record.incarnation,
        state: record.state,
        status: GossipStatus::Alive,
        status_time: 0,
        since: now,
    })
}
