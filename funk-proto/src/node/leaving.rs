//! Getting out: this node's own way, and what becomes of members that leave.

use super::Node;
use crate::error::{Misbehaviour, Refusal};
use crate::event::Event;
use crate::id::{Incarnation, NodeName, RaftId};
use crate::state::Member;
use crate::status::GossipStatus;
use crate::time::Timestamp;
use crate::wire::cluster::{BootName, FrameBody};

impl Node {
    pub(super) fn begin_leave(&mut self, now: Timestamp) {
        let is_member = self.state.as_ref().is_some_and(|state| state.members.is_up(self.me.id, self.me.boot));
        self.joining.begin_leave(now, is_member);
        self.settle_joining(now);
    }

    pub(super) fn handle_left(&mut self, now: Timestamp) {
        self.joining.handle_left();
        self.settle_joining(now);
    }

    pub(super) fn handle_farewell(&mut self, now: Timestamp, name: BootName) -> Result<(), Misbehaviour> {
        let ours = Incarnation::named(name) == Some(self.me);
        if ours && self.joining.is_leaving() {
            self.handle_left(now);
        } else if ours {
            self.refuse(now, Refusal::Removed);
        }
        Ok(())
    }

    /// A boot of a member is down: perhaps one that asked for it, and waits to be told.
    pub(super) fn handle_member_down(&mut self, now: Timestamp, who: Incarnation, stopped: bool) {
        self.evidence.close_case(who);
        let (id, Some(name)) = (who.id, self.name_of(who.id)) else { return };
        let status = if stopped { GossipStatus::Left } else { GossipStatus::Failed };
        self.tell_gossip(&name, id, status);
        self.event(if stopped { Event::MemberLeft { name, id } } else { Event::MemberFailed { name, id } });
        if id != self.me.id {
            if self.leader.has_asked_to_leave(who) {
                self.peers.send_to(now, who, FrameBody::Farewell(who.into()));
            }
        } else if self.joining.is_leaving() && who.boot == self.me.boot {
            self.handle_left(now);
        } else {
            self.ask_to_join(now);
        }
    }

    /// A member is out of the table.
    pub(super) fn handle_member_gone(&mut self, now: Timestamp, member: &Member, left: bool) {
        let status = if left { GossipStatus::Left } else { GossipStatus::Failed };
        self.tell_gossip(&member.name, member.id, status);
        let (name, id) = (member.name.clone(), member.id);
        if left {
            self.event(Event::MemberLeft { name, id });
            if let (true, Some(boot)) = (self.leader.leads(), member.boot) {
                let who = Incarnation { id, boot };
                self.peers.send_to(now, who, FrameBody::Farewell(who.into()));
            }
        }
        if id == self.me.id && self.joining.is_leaving() {
            self.handle_left(now);
        } else if id == self.me.id && self.state.as_ref().is_some_and(|state| state.removed.contains(&self.me.boot)) {
            self.refuse(now, Refusal::Removed);
        }
        self.liveness.forget_peer(id);
    }

    /// The verdict on a member is no verdict on whoever has its name since.
    pub(super) fn tell_gossip(&mut self, name: &NodeName, id: RaftId, status: GossipStatus) {
        if self.gossip.tag(name, "funk.id").is_none_or(|shown| shown == id.to_string()) {
            self.gossip.set_status(name, status);
        }
    }
}
