//! The node's side of its leader: it hands the leader the facts, carries out what it wants, and passes on to the
//! leading node what is meant for that.

use super::Node;
use crate::consensus::Consensus;
use crate::error::{Misbehaviour, OperationRefused, RequestError};
use crate::event::{Event, Outcome};
use crate::id::{BootId, ConnId, Incarnation, LogIndex, NodeName, RaftId};
use crate::leader::{Cause, Facts, Leader, Quorum, Target};
use crate::request::RequestId;
use crate::shards::dry_run::{DryRun, NoAnswer, WhatIf, dry_run};
use crate::state::{Member, set};
use crate::time::Timestamp;
use crate::wire::cluster::{BootName, FrameBody, MemberRecord, Release};

fn quorum(consensus: &Consensus) -> Quorum {
    let (voters, outgoing, learners) = (consensus.voters(), consensus.outgoing_voters(), consensus.learners());
    let tracked = voters.iter().chain(&outgoing).chain(&learners);
    let matched = tracked.map(|&id| (id, consensus.matched(id))).collect();
    Quorum {
        matched,
        voters,
        outgoing,
        learners,
        is_joint: consensus.is_joint(),
        change_pending: consensus.conf_change_pending(),
        last_index: consensus.last_index(),
    }
}

impl Node {
    /// Lets the leader act on the facts, then carries out what it wants. Nothing without a replicated state.
    pub(super) fn with_leader(&mut self, now: Timestamp, act: impl FnOnce(&mut Leader, &Facts<'_>)) {
        let Some(state) = &self.state else { return };
        let facts = Facts {
            now,
            me: self.me,
            config: &self.config,
            state,
            quorum: quorum(&self.consensus),
            oldest_write: self.consensus.oldest_write(),
            leases: &self.liveness,
            peers: &self.peers,
            evidence: &self.evidence,
            gossip: &self.gossip,
        };
        act(&mut self.leader, &facts);
        self.settle_leader(now);
    }

    /// One round of the leader's duties. True if it did something.
    pub(super) fn lead_step(&mut self, now: Timestamp) -> bool {
        if !self.leader.begin_round(now, self.consensus.oldest_write()) {
            return false;
        }
        for duty in 0..Leader::DUTIES {
            self.with_leader(now, |leader, facts| leader.do_duty(duty, facts));
        }
        true
    }

    /// Takes an operation on, or ends it at once.
    pub(super) fn begin_operation(
        &mut self,
        now: Timestamp,
        request: RequestId,
        target: Target,
    ) -> Result<(), RequestError> {
        if self.leader.is_busy() {
            return Err(RequestError::Busy);
        }
        if self.state.is_some() && self.leader.is_ready() {
            self.with_leader(now, |leader, facts| leader.begin_operation(facts, request, target));
            return Ok(());
        }
        let leader = self.consensus.leader().filter(|&leader| leader != self.me.id);
        let leader = leader.and_then(|id| self.name_of(id));
        let outcome = Outcome::Refused(OperationRefused::NotLeader { leader });
        self.event(Event::RequestDone { id: request, outcome });
        Ok(())
    }

    /// Takes a join request in, or passes it on to the leader.
    pub(super) fn handle_join(
        &mut self,
        now: Timestamp,
        (conn, from): (ConnId, RaftId),
        record: MemberRecord,
    ) -> Result<(), Misbehaviour> {
        let member = Member::parse(&record).ok_or(Misbehaviour::Malformed("join request"))?;
        if let Some(boot) = member.boot {
            self.handle_former_boots(now, Incarnation { id: member.id, boot }, &record.former);
        }
        if self.leader.leads() {
            self.with_leader(now, |leader, facts| leader.handle_join(facts, member, record.answered));
        } else if !self.refuse_duplicate_of_leader(now, (conn, from), &member) {
            self.pass_to_leader(now, FrameBody::Join(record));
            if from == member.id {
                self.tell_leader(conn);
                self.call_back(now, &member);
            }
        }
        Ok(())
    }

    /// A node asks to leave; its request is passed on to the leader.
    pub(super) fn handle_leave(&mut self, now: Timestamp, name: BootName) -> Result<(), Misbehaviour> {
        let leaver = Incarnation::named(name).ok_or(Misbehaviour::Malformed("leave request"))?;
        if self.leader.leads() {
            self.with_leader(now, |leader, facts| leader.handle_leave(facts, leaver));
        } else {
            self.pass_to_leader(now, FrameBody::Leave(name));
        }
        Ok(())
    }

    pub(super) fn handle_release(&mut self, from: RaftId, release: &Release) -> Result<(), Misbehaviour> {
        const WHAT: Misbehaviour = Misbehaviour::Malformed("release");
        let Some(state) = &self.state else { return Ok(()) };
        let Some(boot) = BootId::new(release.boot).filter(|_| release.id == from.get()) else {
            return Err(WHAT);
        };
        let shards = set::decode(&release.shards, state.map.shards()).ok_or(WHAT)?;
        self.leader.handle_release(Incarnation { id: from, boot }, LogIndex(release.change), &shards);
        Ok(())
    }

    fn pass_to_leader(&mut self, now: Timestamp, body: FrameBody) {
        if let Some(leader) = self.consensus.leader().filter(|&leader| leader != self.me.id) {
            self.peers.send(now, leader, body);
        }
    }

    /// What `change` would move, by the state that this node has applied.
    ///
    /// # Errors
    /// Why the change could not be made.
    pub fn dry_run(&self, change: &WhatIf) -> Result<DryRun, OperationRefused> {
        let state = self.state.as_ref();
        let state = state
            .ok_or_else(|| OperationRefused::impossible("this node is in no cluster yet: ask another, or later"))?;
        dry_run(state, change).map_err(|why| match (why, change) {
            (
                NoAnswer::UnknownMember,
                WhatIf::Remove(name) | WhatIf::Drain(name) | WhatIf::Weight(name, _) | WhatIf::Pin(_, Some(name)),
            ) => OperationRefused::UnknownMember(name.clone()),
            (NoAnswer::UnknownMember | NoAnswer::OutOfBounds, _) => {
                OperationRefused::impossible("the shards or the weight are out of range, or there are too many pins")
            }
            (NoAnswer::NoRoom, _) => OperationRefused::impossible("a member of that name is up, or the table is full"),
        })
    }
}

/// Says which way is dead, where a member is let in and declared dead again and again.
pub(super) fn warn_of_flapping(peer: &NodeName, cause: Cause) {
    match cause {
        Cause::DoesNotHear => {
            tracing::warn!(%peer, "a member does not stay: it hears no heartbeat, so datagrams from here to there are lost");
        }
        Cause::IsNotHeard => {
            tracing::warn!(%peer, "a member does not stay: its answers do not arrive, so datagrams from there to here are lost");
        }
        Cause::Restarts => {
            tracing::warn!(%peer, "a member does not stay: its process ends and starts again and again");
        }
    }
}
