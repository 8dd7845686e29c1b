//! The member table: who is in it, who is chosen from it, and what a push/pull
//! hands over of it. By which rules it changes stands in `rules` (a node's
//! life) and `statuses` (Serf's joins and leaves).

use bytes::Bytes;

use super::intents::{Intents, Wish};
use super::lamport::Lamport;
use super::member::{Life, Member};
use super::members::{Changing, Members};
use super::news::News;
use super::suspicion::Suspicions;
use super::timing::GossipTiming;
use crate::limits::{GOSSIP_GONE_MAX, GOSSIP_MEMBERS_MAX};
use crate::rng::Rng;
use crate::status::GossipStatus;
use crate::time::Timestamp;
use crate::wire::gossip::{Accusation, NodeRecord, NodeState, Packet, PushPullWriter, SerfMessage, SerfState};

/// All members, this node among them.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) own: Bytes,
    /// Members of other clusters are turned away; `None`: of none.
    pub(super) cluster: Option<String>,
    pub(super) members: Members,
    pub(super) suspicions: Suspicions,
    pub(super) intents: Intents,
    pub(super) member_clock: Lamport,
    pub(super) event_clock: Lamport,
    pub(super) query_clock: Lamport,
    pub(super) timing: GossipTiming,
    /// This node said that it leaves.
    pub(super) leaving: bool,
}

impl Table {
    pub(super) fn new(own: &str, cluster: &str, me: Member, timing: GossipTiming) -> Self {
        let own = Bytes::copy_from_slice(own.as_bytes());
        let mut members = Members::default();
        members.insert(own.clone(), me);
        Self {
            members,
            own,
            cluster: Some(cluster.into()),
            suspicions: Suspicions::default(),
            intents: Intents::default(),
            member_clock: Lamport::new(),
            event_clock: Lamport::new(),
            query_clock: Lamport::new(),
            timing,
            leaving: false,
        }
    }

    pub(super) fn me(&mut self) -> Changing<'_> {
        self.members.get_mut(&self.own).expect("this node never leaves its own table")
    }

    pub(super) fn myself(&self) -> &Member {
        &self.members[&self.own]
    }

    /// The message that tells everybody of this node.
    pub(super) fn own_alive(&self) -> Packet {
        self.myself().alive(&self.own)
    }

    pub(super) fn get(&self, name: &[u8]) -> Option<&Member> {
        self.members.get(name)
    }

    /// Other members.
    pub(super) fn others(&self) -> impl Iterator<Item = (&Bytes, &Member)> {
        self.members.iter().filter(|(name, _)| **name != self.own)
    }

    /// Other members that can be talked to.
    pub(super) fn present_others(&self) -> impl Iterator<Item = &Member> {
        self.others().map(|(_, member)| member).filter(|member| member.present())
    }

    /// How many others can be talked to.
    pub(super) fn company(&self) -> usize {
        self.members.present() - usize::from(self.myself().present())
    }

    pub(super) fn has_company(&self) -> bool {
        self.company() > 0
    }

    /// The number of nodes by which intervals and limits are scaled.
    pub(super) fn nodes(&self) -> usize {
        self.members.remembered()
    }

    /// Draws up to `count` other members that `fits` lets through.
    pub(super) fn draw(
        &self,
        rng: &mut Rng,
        count: usize,
        fits: impl Fn(&Bytes, &Member) -> bool,
    ) -> Vec<(&Bytes, &Member)> {
        let mut drawn: Vec<_> = self.others().filter(|(name, member)| fits(name, member)).collect();
        for at in 0..count.min(drawn.len()) {
            let rest = (drawn.len() - at) as u64;
            let other = at + usize::try_from(rng.below(rest)).expect("below a count of things in memory");
            drawn.swap(at, other);
        }
        drawn.truncate(count);
        drawn
    }

    /// Adds the next member behind `after` to what the other side of a
    /// push/pull is told; its name, or `None` if all are told.
    pub(super) fn tell_next(&self, writer: &mut PushPullWriter, after: Option<&Bytes>) -> Option<Bytes> {
        let (name, member) = self.members.after(after).next()?;
        if let Some(record) = member.record(name) {
            writer.node(&record);
        }
        let own = *name == self.own;
        if if own { member.gone() } else { member.status == GossipStatus::Left } {
            writer.state().left(name);
        }
        // The time of a leave that is under way would be taken for a join's.
        if !own || !self.leaving || member.gone() {
            writer.state().status_time(name, member.status_time);
        }
        Some(name.clone())
    }

    /// The clocks, for the other side of a push/pull.
    pub(super) fn clocks(&self) -> SerfState {
        SerfState {
            member_time: self.member_clock.time(),
            event_time: self.event_clock.time(),
            query_time: self.query_clock.time(),
            ..SerfState::default()
        }
    }

    /// Issues a join of this node, newer than every leave that the others may remember.
    pub(super) fn issue_join(&mut self, news: &mut News) {
        let time = self.member_clock.issue();
        self.me().status_time = time;
        news.tell_intent(&SerfMessage::Join { time, node: self.own.clone() });
    }

    /// This node is about to leave.
    pub(super) fn announce_leave(&mut self, now: Timestamp, news: &mut News) {
        self.leaving = true;
        let time = self.member_clock.issue();
        let mut me = self.me();
        me.status_time = time;
        me.set_status(now, GossipStatus::Leaving);
        drop(me);
        news.tell_intent(&self.own_leave());
        news.changed.insert(self.own.clone());
    }

    /// The leave that this node announced.
    pub(super) fn own_leave(&self) -> SerfMessage {
        SerfMessage::Leave { time: self.myself().status_time, node: self.own.clone(), prune: false }
    }

    /// What this node says when it is gone.
    pub(super) fn own_death(&self) -> Packet {
        let (node, from) = (self.own.clone(), self.own.clone());
        Packet::Dead(Accusation { incarnation: self.myself().incarnation, node, from })
    }

    /// This node leaves now.
    pub(super) fn leave(&mut self, now: Timestamp, news: &mut News) {
        self.me().set_life(now, Life::Left);
        let own = self.own.clone();
        news.tell(&own, &self.own_death(), true);
        news.changed.insert(own);
    }

    /// What can be forgotten is: members that are gone for long, and intents that nobody claimed.
    pub(super) fn reap(&mut self, now: Timestamp) -> Vec<Bytes> {
        self.intents.expire(now, self.timing.intent_timeout);
        let due = |name: &&Bytes| {
            let old = |member: &Member| now.since(member.status_since) >= self.timing.tombstone || member.prune;
            **name != self.own && self.members.get(name).is_some_and(old)
        };
        let mut reaped: Vec<Bytes> = self.members.gone().filter(due).cloned().collect();
        reaped.sort_unstable();
        for name in &reaped {
            self.members.remove(name);
        }
        reaped
    }

    /// Records of nodes that are gone for a while are passed on no longer.
    pub(super) fn purge(&mut self, now: Timestamp) {
        let after = self.timing.gossip_to_the_dead;
        let due = |name: &&Bytes| self.members.get(name).is_some_and(|member| now.since(member.since) > after);
        // Those gone longest come first.
        let remembered = |name: &&Bytes| self.members[name].life != Life::Forgotten;
        let due: Vec<Bytes> = self.members.gone().take_while(due).filter(remembered).cloned().collect();
        for name in due.iter().filter(|name| **name != self.own) {
            if let Some(mut member) = self.members.get_mut(name) {
                member.life = Life::Forgotten;
            }
        }
    }

    /// Makes room for a newcomer, if need be by forgetting the member that is
    /// gone longest. False if the table is full and all are alive.
    pub(super) fn make_room(&mut self) -> bool {
        let has_room = self.members.len() < GOSSIP_MEMBERS_MAX;
        if has_room && self.members.gone().len() < GOSSIP_GONE_MAX {
            return true;
        }
        let longest = self.members.gone().find(|name| **name != self.own).cloned();
        longest.is_some_and(|name| self.members.remove(&name).is_some()) || has_room
    }

    /// The status of a member that is known from now on: an intent may have come before it.
    pub(super) fn first_status(&mut self, name: &Bytes) -> (GossipStatus, u64) {
        match self.intents.take(name) {
            None => (GossipStatus::Alive, 0),
            Some((time, Wish::Join)) => (GossipStatus::Alive, time),
            Some((time, Wish::Leave)) => (GossipStatus::Leaving, time),
        }
    }

    /// Merges what the other side of a push/pull says of a node.
    pub(super) fn merge_record(&mut self, now: Timestamp, record: &NodeRecord, news: &mut News) {
        let default_port = self.myself().addr.port();
        let Some(claim) = super::claim::Claim::of_record(record, default_port) else {
            news.unusable += 1;
            return;
        };
        if self.is_foreign(&claim.tags) && claim.name != self.own {
            news.vetoed += 1;
            return;
        }
        let (node, incarnation) = (claim.name.clone(), claim.incarnation);
        if node != self.own {
            news.others += 1;
        } else if claim.addr != self.myself().addr && record.state == NodeState::Alive {
            news.name_is_held(claim.addr, claim.tags);
            return;
        }
        match record.state {
            NodeState::Alive => self.hear_alive(now, claim, news),
            // A record at another address is about another life of that name.
            _ if self.members.get(&node).is_some_and(|known| known.addr != claim.addr) && node != self.own => {}
            NodeState::Left => {
                let from = node.clone();
                self.hear_dead(now, &Accusation { incarnation, node, from }, news);
            }
            NodeState::Dead | NodeState::Suspect => {
                let from = self.own.clone();
                self.hear_suspect(now, &Accusation { incarnation, node, from }, news);
            }
            NodeState::Unknown(_) => news.unusable += 1,
        }
    }

    /// Follows the clocks of the other side of a push/pull.
    pub(super) fn merge_clocks(&mut self, state: &SerfState) {
        self.member_clock.follow(state.member_time);
        self.event_clock.follow(state.event_time);
        self.query_clock.follow(state.query_time);
    }
}

#[cfg(test)]
impl Table {
    /// Everything this node knows, as the other side of a push/pull hears it.
    pub(super) fn push_pull(&self, join: bool) -> crate::wire::gossip::PushPull {
        let (mut writer, mut last) = (PushPullWriter::new(join), None);
        while let Some(name) = self.tell_next(&mut writer, last.as_ref()) {
            last = Some(name);
        }
        crate::wire::gossip::PushPull::decode(&writer.finish(&self.clocks())).unwrap()
    }
}
