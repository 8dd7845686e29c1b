//! What an operator asks of the leader: let a node in, take one out, move its
//! shards away, let another lead. Each operation is a goal: the leader looks at
//! the applied table after every change, proposes the next step, and tells when
//! the goal is reached. Whatever is begun is in the log; only the goal is lost
//! with leadership.

use std::ops::Range;

use super::Node;
use crate::error::{OperationRefused, RequestError};
use crate::event::{Event, Outcome};
use crate::id::{BootId, Incarnation, NodeName, RaftId};
use crate::limits::{OPERATION_TIMEOUT, OPERATIONS_MAX, PINS_MAX, WEIGHT_MAX};
use crate::request::RequestId;
use crate::shards::dry_run::{DryRun, NoAnswer, WhatIf, dry_run};
use crate::state::{Member, State, pin_record};
use crate::status::GossipStatus;
use crate::time::{Timestamp, earliest};
use crate::wire::cluster::{BootName, Op, Weight};

/// What is to be, with the node's name as the operator gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// It is a member.
    Added(NodeName),
    /// It is in no table any more.
    Removed(NodeName),
    /// It owns no shard.
    Drained(NodeName),
    /// These shards are pinned to that node, or with `None` to none.
    Pinned(Range<u32>, Option<NodeName>),
    /// It has this weight.
    Weighed(NodeName, u32),
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

#[derive(Clone, Debug)]
enum Goal {
    Added(RaftId),
    Removed(RaftId),
    Drained(Incarnation),
    Pinned(Range<u32>, Option<NodeName>),
    Weighed(Incarnation, u32),
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
                Ok(Goal::Drained(Incarnation { id: member.id, boot }))
            }
            Target::Pinned(shards, node) => {
                self.may_pin(state, &shards, node.as_ref())?;
                Ok(Goal::Pinned(shards, node))
            }
            Target::Weighed(name, weight) => {
                let member = listed(&name).ok_or(OperationRefused::UnknownMember(name))?;
                let boot = member.boot.ok_or_else(|| impossible("it is down: start it with that weight"))?;
                if !(1..=WEIGHT_MAX).contains(&weight) {
                    return Err(impossible(format!("a weight is 1 to {WEIGHT_MAX}")));
                }
                Ok(Goal::Weighed(Incarnation { id: member.id, boot }, weight))
            }
            Target::Leadership if self.heir().is_none() => {
                Err(impossible("no other voter is up: add a member or start one, and wait until it votes"))
            }
            Target::Leadership => Ok(Goal::Leadership),
        }
    }

    fn may_pin(&self, state: &State, shards: &Range<u32>, node: Option<&NodeName>) -> Result<(), OperationRefused> {
        let total = state.map.shards();
        if shards.is_empty() || shards.end > total {
            return Err(impossible(format!("the shards are 0 to {}: name one or more of them", total - 1)));
        }
        let mut pins = state.pins.clone();
        if !pins.set(shards.clone(), node) {
            return Err(impossible(format!("no more than {PINS_MAX} ranges can be pinned: free some first")));
        }
        let Some(node) = node else { return Ok(()) };
        let mut named = state.members.iter().filter(|member| member.name == *node).peekable();
        if named.peek().is_none() {
            return Err(OperationRefused::UnknownMember(node.clone()));
        }
        let capacity = named.find(|member| member.boot.is_some()).and_then(|member| member.capacity);
        match capacity.filter(|capacity| capacity.get() < pins.count(node)) {
            Some(capacity) => Err(impossible(format!("{node} takes {capacity} shards at most: pin fewer to it"))),
            None => Ok(()),
        }
    }

    /// What `change` would move, by the state that this node has applied.
    ///
    /// # Errors
    /// Why the change could not be made.
    pub fn dry_run(&self, change: &WhatIf) -> Result<DryRun, OperationRefused> {
        let state = self.state.as_ref();
        let state = state.ok_or_else(|| impossible("this node is in no cluster yet: ask another, or later"))?;
        dry_run(state, change).map_err(|why| match (why, change) {
            (NoAnswer::UnknownMember, WhatIf::Remove(name) | WhatIf::Drain(name) | WhatIf::Weight(name, _)) => {
                OperationRefused::UnknownMember(name.clone())
            }
            (NoAnswer::UnknownMember | NoAnswer::OutOfBounds, _) => {
                impossible("the shards or the weight are out of range, or there are too many pins")
            }
            (NoAnswer::NoRoom, _) => impossible("a member of that name is up, or the table is full"),
        })
    }

    /// A node that is in no table, but perhaps in gossip.
    fn goal_of_stranger(&self, name: &NodeName) -> Result<Goal, OperationRefused> {
        let unknown = || OperationRefused::UnknownMember(name.clone());
        let seen = self.gossip.member(name.as_str()).ok_or_else(unknown)?;
        let tag = |tag| u64::from_str_radix(self.gossip.tag(name, tag)?, 16).ok();
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
        self.end_operations(|node, operation| node.is_reached(&operation.goal).then_some(Outcome::Done));
    }

    fn is_reached(&self, goal: &Goal) -> bool {
        let Some(state) = &self.state else { return false };
        match goal {
            &Goal::Added(id) => state.members.get(id).is_some(),
            &Goal::Removed(id) => {
                let tracked = [self.consensus.voters(), self.consensus.outgoing_voters(), self.consensus.learners()];
                state.members.get(id).is_none() && !tracked.iter().any(|ids| ids.contains(&id))
            }
            &Goal::Drained(owner) => {
                match state.members.get(owner.id).filter(|member| member.boot == Some(owner.boot)) {
                    // What its former boot held waits for promises to run out, and counts as its own until then.
                    Some(member) => !member.may_own() && state.map.held_by_node(owner.id) == 0,
                    None => state.map.held_by(owner) == 0,
                }
            }
            Goal::Pinned(shards, node) => state.pins.holds(shards, node.as_ref()),
            // Its boot may have ended meanwhile, and the weight with it.
            &Goal::Weighed(owner, weight) => {
                state.members.get(owner.id).is_none_or(|it| it.boot != Some(owner.boot) || it.weight == weight)
            }
            Goal::Leadership => false,
        }
    }

    /// What to propose for the operations under way.
    pub(super) fn operation_steps(&self) -> Vec<Op> {
        let Some(state) = &self.state else { return Vec::new() };
        let step = |operation: &Operation| match &operation.goal {
            Goal::Added(_) | Goal::Leadership => None,
            Goal::Pinned(shards, node) => {
                // Another pin may have taken the last place meanwhile: this one waits for its end.
                let due =
                    !state.pins.holds(shards, node.as_ref()) && state.pins.clone().set(shards.clone(), node.as_ref());
                due.then(|| Op::Pin(pin_record(shards, node.as_ref())))
            }
            &Goal::Weighed(owner, weight) => {
                state.members.get(owner.id).filter(|it| it.boot == Some(owner.boot) && it.weight != weight)?;
                Some(Op::Weigh(Weight { id: owner.id.get(), boot: owner.boot.get(), weight }))
            }
            &Goal::Removed(id) => self.removal_step(state.members.get(id)?),
            &Goal::Drained(owner) => {
                let member = state.members.get(owner.id).filter(|member| member.boot == Some(owner.boot))?;
                member.may_own().then(|| Op::Idle(owner.into()))
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
            let shown = || BootId::new(u64::from_str_radix(self.gossip.tag(&member.name, "funk.boot")?, 16).ok()?);
            let last = self.peers.boot(id).or_else(shown).map_or(0, BootId::get);
            return (!votes).then(|| Op::Expelled(name(last)));
        };
        if !member.draining {
            return Some(Op::Drain(name(boot.get())));
        }
        let drained = state.map.held_by(Incarnation { id, boot }) == 0;
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
