//! What an operator asks of the leader: let a node in, take one out, move its
//! shards away, let another lead. Each operation is a goal: the leader looks at
//! the applied table after every change, proposes the next step, and tells when
//! the goal is reached. Whatever is begun is in the log; only the goal is lost
//! with leadership.

use super::Node;
use crate::error::{OperationRefused, RequestError};
use crate::event::{Event, Outcome};
use crate::id::{BootId, NodeName, RaftId};
use crate::limits::{OPERATION_TIMEOUT, OPERATIONS_MAX};
use crate::request::RequestId;
use crate::shards::{Member, Owner};
use crate::status::GossipStatus;
use crate::time::{Timestamp, earliest};
use crate::wire::cluster::{BootName, Op};

/// What is to be, with the node's name as the operator gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// It is a member.
    Added(NodeName),
    /// It is in no table any more.
    Removed(NodeName),
    /// It owns no shard.
    Drained(NodeName),
    /// Another voter leads.
    Leadership,
}

/// A goal that is pursued.
#[derive(Debug)]
struct Operation {
    request: RequestId,
    goal: Goal,
    until: Timestamp,
}

#[derive(Clone, Copy, Debug)]
enum Goal {
    Added(RaftId),
    Removed(RaftId),
    Drained(Owner),
    Leadership,
}

/// All that this leader has under way, at most [`OPERATIONS_MAX`].
#[derive(Debug, Default)]
pub(super) struct Operations(Vec<Operation>);

impl Operations {
    /// Whether the node with this id is to be let in.
    pub(super) fn adds(&self, id: RaftId) -> bool {
        self.0.iter().any(|operation| matches!(operation.goal, Goal::Added(added) if added == id))
    }

    /// Whether the member with this id is to be taken out.
    pub(super) fn removes(&self, id: RaftId) -> bool {
        self.0.iter().any(|operation| matches!(operation.goal, Goal::Removed(removed) if removed == id))
    }

    /// Whether another voter is to lead.
    pub(super) fn yield_leadership(&self) -> bool {
        self.0.iter().any(|operation| matches!(operation.goal, Goal::Leadership))
    }

    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.0.iter().map(|operation| Some(operation.until)).fold(None, earliest)
    }
}

fn impossible(why: impl Into<String>) -> OperationRefused {
    OperationRefused::Impossible(why.into())
}

impl Node {
    /// Takes an operation on, or ends it at once.
    pub(super) fn begin_operation(
        &mut self,
        now: Timestamp,
        request: RequestId,
        target: Target,
    ) -> Result<(), RequestError> {
        if self.operations.0.len() >= OPERATIONS_MAX {
            return Err(RequestError::Busy);
        }
        match self.goal(target) {
            Ok(goal) => {
                let until = now + OPERATION_TIMEOUT;
                self.operations.0.push(Operation { request, goal, until });
                if let Some(leading) = &mut self.leading {
                    leading.wake();
                }
            }
            Err(why) => self.event(Event::RequestDone { id: request, outcome: Outcome::Refused(why) }),
        }
        Ok(())
    }

    fn goal(&self, target: Target) -> Result<Goal, OperationRefused> {
        let state = self.state.as_ref().filter(|_| self.leading.as_ref().is_some_and(|leading| leading.ready));
        let Some(state) = state else {
            let leader = self.consensus.leader().filter(|&leader| leader != self.me.id);
            let leader = leader.and_then(|id| Some(self.state.as_ref()?.members.get(id)?.name.clone()));
            return Err(OperationRefused::NotLeader { leader });
        };
        // A dead member of a name makes way for one that is up.
        let listed = |name: &NodeName| {
            let named = || state.members.iter().filter(|member| member.name == *name);
            named().find(|member| member.boot.is_some()).or_else(|| named().next())
        };
        match target {
            Target::Added(name) => match listed(&name) {
                Some(member) => Ok(Goal::Added(member.id)),
                None => self.goal_of_stranger(&name),
            },
            Target::Removed(name) => {
                let member = listed(&name).ok_or(OperationRefused::UnknownMember(name))?;
                if member.id == self.me.id {
                    return Err(impossible("this node leads: let it step down first, then remove it"));
                }
                self.others_may_own(member)?;
                Ok(Goal::Removed(member.id))
            }
            Target::Drained(name) => {
                let member = listed(&name).ok_or(OperationRefused::UnknownMember(name))?;
                let Some(boot) = member.boot else {
                    return Err(impossible("it is down, and its shards go to others by themselves"));
                };
                self.others_may_own(member)?;
                Ok(Goal::Drained(Owner { id: member.id, boot }))
            }
            Target::Leadership if self.heir().is_none() => {
                Err(impossible("no other voter is up: add a member or start one, and wait until it votes"))
            }
            Target::Leadership => Ok(Goal::Leadership),
        }
    }

    /// A node that is in no table, but perhaps in gossip.
    fn goal_of_stranger(&self, name: &NodeName) -> Result<Goal, OperationRefused> {
        let unknown = || OperationRefused::UnknownMember(name.clone());
        let seen = self.membership.member(name.as_str()).ok_or_else(unknown)?;
        let tag = |tag| u64::from_str_radix(self.membership.tag(name, tag)?, 16).ok();
        if seen.status != GossipStatus::Alive {
            return Err(impossible(format!("gossip shows {name} as {}: start it first", seen.status.as_str())));
        }
        let Some(id) = tag("funk.id").and_then(RaftId::new) else {
            return Err(impossible(format!("{name} takes part in gossip only: start it as a member")));
        };
        let boot = tag("funk.boot").and_then(BootId::new);
        if boot.is_some_and(|boot| self.state.as_ref().is_some_and(|state| state.removed.contains(&boot))) {
            return Err(impossible(format!("{name} was removed: start it again first")));
        }
        Ok(Goal::Added(id))
    }

    fn others_may_own(&self, member: &Member) -> Result<(), OperationRefused> {
        let Some(state) = &self.state else { return Ok(()) };
        let heirs = |other: &Member| other.id != member.id && other.may_own() && !self.operations.removes(other.id);
        if state.members.iter().any(heirs) {
            return Ok(());
        }
        Err(impossible("no other member can take its shards: add one first"))
    }

    fn end_operations(&mut self, ended: impl Fn(&Node, &Operation) -> Option<Outcome>) {
        let operations = std::mem::take(&mut self.operations.0);
        for operation in operations {
            // A goal is looked at without itself in the list, which no check reads.
            match ended(self, &operation) {
                Some(outcome) => self.event(Event::RequestDone { id: operation.request, outcome }),
                None => self.operations.0.push(operation),
            }
        }
    }

    /// The leader's part: ends what is reached.
    pub(super) fn end_reached_operations(&mut self) {
        self.end_operations(|node, operation| node.is_reached(operation.goal).then_some(Outcome::Done));
    }

    fn is_reached(&self, goal: Goal) -> bool {
        let Some(state) = &self.state else { return false };
        match goal {
            Goal::Added(id) => state.members.get(id).is_some(),
            Goal::Removed(id) => {
                let tracked = [self.consensus.voters(), self.consensus.outgoing_voters(), self.consensus.learners()];
                state.members.get(id).is_none() && !tracked.iter().any(|ids| ids.contains(&id))
            }
            Goal::Drained(owner) => {
                let member = state.members.get(owner.id).filter(|member| member.boot == Some(owner.boot));
                member.is_none_or(|member| !member.may_own()) && state.map.held_by(owner) == 0
            }
            Goal::Leadership => false,
        }
    }

    /// What to propose for the operations under way.
    pub(super) fn operation_steps(&self) -> Vec<Op> {
        let Some(state) = &self.state else { return Vec::new() };
        let step = |operation: &Operation| match operation.goal {
            Goal::Added(_) | Goal::Leadership => None,
            Goal::Removed(id) => self.removal_step(state.members.get(id)?),
            Goal::Drained(owner) => {
                let member = state.members.get(owner.id).filter(|member| member.boot == Some(owner.boot))?;
                let name = BootName { id: owner.id.get(), boot: owner.boot.get() };
                member.may_own().then_some(Op::Idle(name))
            }
        };
        self.operations.0.iter().filter_map(step).collect()
    }

    fn removal_step(&self, member: &Member) -> Option<Op> {
        let state = self.state.as_ref()?;
        let (id, name) = (member.id, |boot: u64| BootName { id: member.id.get(), boot });
        let votes = self.consensus.voters().contains(&id) || self.consensus.outgoing_voters().contains(&id);
        let Some(boot) = member.boot else {
            // The boot that was declared dead may only have been stopped: it is kept out too.
            let shown = || BootId::new(u64::from_str_radix(self.membership.tag(&member.name, "funk.boot")?, 16).ok()?);
            let last = self.peers.boot(id).or_else(shown).map_or(0, BootId::get);
            return (!votes).then(|| Op::Expelled(name(last)));
        };
        if !member.draining {
            return Some(Op::Drain(name(boot.get())));
        }
        let drained = state.map.held_by(Owner { id, boot }) == 0;
        (drained && !votes).then(|| Op::Expelled(name(boot.get())))
    }

    /// This node leads no longer: nobody here pursues the goals.
    pub(super) fn operations_lose_leadership(&mut self, leader: Option<RaftId>) {
        let me = self.me.id;
        self.end_operations(|_, operation| match operation.goal {
            Goal::Leadership => leader.filter(|&leader| leader != me).map(|_| Outcome::Done),
            _ => Some(Outcome::Unknown),
        });
    }

    pub(super) fn end_late_operations(&mut self, now: Timestamp) {
        self.end_operations(|node, operation| {
            let late = || match operation.goal {
                Goal::Leadership if node.leading.is_none() => Outcome::Unknown,
                _ => Outcome::Refused(impossible(format!(
                    "it was not done within {} s, and is no longer pursued: look at the members, and try again",
                    OPERATION_TIMEOUT.as_secs()
                ))),
            };
            (now >= operation.until).then(late)
        });
    }
}
