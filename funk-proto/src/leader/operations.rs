//! What an operator asks of the leader: let a node in, take one out, move its
//! shards away, let another lead. Each operation is a goal: the leader looks at
//! the applied table after every change, proposes the next step, and tells when
//! the goal is reached. Whatever is begun is in the log; only the goal is lost
//! with leadership.

use std::ops::Range;

use super::goals::{Goal, Operation, Operations, Target};
use super::{Facts, Leader, LeaderOutput, voting};
use crate::error::OperationRefused;
use crate::event::Outcome;
use crate::id::{BootId, Incarnation, NodeName, RaftId};
use crate::limits::{OPERATION_TIMEOUT, OPERATIONS_MAX, PINS_MAX, WEIGHT_MAX};
use crate::request::RequestId;
use crate::state::{Member, State, pin_record};
use crate::status::GossipStatus;
use crate::time::Timestamp;
use crate::wire::cluster::{BootName, Op, Weight};

impl Leader {
    /// Whether no further operation can be taken on.
    pub(crate) fn is_busy(&self) -> bool {
        self.operations.0.len() >= OPERATIONS_MAX
    }

    /// Takes an operation on, or ends it at once. This node leads and is ready.
    pub(crate) fn begin_operation(&mut self, facts: &Facts<'_>, request: RequestId, target: Target) {
        match goal(facts, &self.operations, target) {
            Ok(goal) => {
                self.operations.0.push(Operation { request, goal, until: facts.now + OPERATION_TIMEOUT });
                self.wake();
            }
            Err(why) => self.outputs.push_back(LeaderOutput::Done(request, Outcome::Refused(why))),
        }
    }

    fn end_operations(&mut self, ended: impl Fn(&Operation) -> Option<Outcome>) {
        let outputs = &mut self.outputs;
        self.operations.0.retain(|operation| match ended(operation) {
            Some(outcome) => {
                outputs.push_back(LeaderOutput::Done(operation.request, outcome));
                false
            }
            None => true,
        });
    }

    /// Ends the operations whose goals are reached.
    pub(super) fn end_reached_operations(&mut self, facts: &Facts<'_>) {
        self.end_operations(|operation| is_reached(facts, &operation.goal).then_some(Outcome::Done));
    }

    /// This node, `me`, leads no longer: nobody here pursues the goals.
    pub(super) fn end_operations_of_leader(&mut self, me: RaftId, leader: Option<RaftId>) {
        self.end_operations(|operation| match operation.goal {
            Goal::Leadership => leader.filter(|&leader| leader != me).map(|_| Outcome::Done),
            _ => Some(Outcome::Unknown),
        });
    }

    pub(super) fn end_late_operations(&mut self, now: Timestamp) {
        let leads = self.leads();
        self.end_operations(|operation| {
            let late = || match operation.goal {
                Goal::Leadership if !leads => Outcome::Unknown,
                _ => Outcome::Refused(OperationRefused::impossible(format!(
                    "it was not done within {} s, and is no longer pursued: look at the members, and try again",
                    OPERATION_TIMEOUT.as_secs()
                ))),
            };
            (now >= operation.until).then(late)
        });
    }
}

fn goal(facts: &Facts<'_>, operations: &Operations, target: Target) -> Result<Goal, OperationRefused> {
    // A dead member of a name makes way for one that is up.
    let listed = |name: &NodeName| {
        let named = || facts.state.members.iter().filter(|member| member.name == *name);
        named().find(|member| member.boot.is_some()).or_else(|| named().next())
    };
    let member = |name: NodeName| listed(&name).ok_or(OperationRefused::UnknownMember(name));
    match target {
        Target::Added(name) => match listed(&name) {
            Some(member) => Ok(Goal::Added(member.id)),
            None => goal_of_stranger(facts, &name),
        },
        Target::Removed(name) => {
            let member = member(name)?;
            if member.id == facts.me.id {
                return Err(OperationRefused::impossible("this node leads: let it step down first, then remove it"));
            }
            others_may_own(facts, operations, member)?;
            Ok(Goal::Removed(member.id))
        }
        Target::Drained(name) => {
            let member = member(name)?;
            let Some(boot) = member.boot else {
                return Err(OperationRefused::impossible("it is down, and its shards go to others by themselves"));
            };
            others_may_own(facts, operations, member)?;
            Ok(Goal::Drained(Incarnation { id: member.id, boot }))
        }
        Target::Pinned(shards, node) => {
            may_pin(facts.state, &shards, node.as_ref())?;
            Ok(Goal::Pinned(shards, node))
        }
        Target::Weighed(name, weight) => {
            let member = member(name)?;
            let boot =
                member.boot.ok_or_else(|| OperationRefused::impossible("it is down: start it with that weight"))?;
            if !(1..=WEIGHT_MAX).contains(&weight) {
                return Err(OperationRefused::impossible(format!("a weight is 1 to {WEIGHT_MAX}")));
            }
            Ok(Goal::Weighed(Incarnation { id: member.id, boot }, weight))
        }
        Target::Leadership if voting::heir(facts).is_none() => Err(OperationRefused::impossible(
            "no other voter is up: add a member or start one, and wait until it votes",
        )),
        Target::Leadership => Ok(Goal::Leadership),
    }
}

fn may_pin(state: &State, shards: &Range<u32>, node: Option<&NodeName>) -> Result<(), OperationRefused> {
    let total = state.map.shards();
    if shards.is_empty() || shards.end > total {
        return Err(OperationRefused::impossible(format!(
            "the shards are 0 to {}: name one or more of them",
            total - 1
        )));
    }
    let mut pins = state.pins.clone();
    if !pins.set(shards.clone(), node) {
        return Err(OperationRefused::impossible(format!(
            "no more than {PINS_MAX} ranges can be pinned: free some first"
        )));
    }
    let Some(node) = node else { return Ok(()) };
    let mut named = state.members.iter().filter(|member| member.name == *node).peekable();
    if named.peek().is_none() {
        return Err(OperationRefused::UnknownMember(node.clone()));
    }
    let capacity = named.find(|member| member.boot.is_some()).and_then(|member| member.capacity);
    match capacity.filter(|capacity| capacity.get() < pins.count(node)) {
        Some(capacity) => {
            Err(OperationRefused::impossible(format!("{node} takes {capacity} shards at most: pin fewer to it")))
        }
        None => Ok(()),
    }
}

/// A node that is in no table, but perhaps in gossip.
fn goal_of_stranger(facts: &Facts<'_>, name: &NodeName) -> Result<Goal, OperationRefused> {
    let unknown = || OperationRefused::UnknownMember(name.clone());
    let seen = facts.gossip.member(name.as_str()).ok_or_else(unknown)?;
    let tag = |tag| u64::from_str_radix(facts.gossip.tag(name, tag)?, 16).ok();
    if seen.status != GossipStatus::Alive {
        return Err(OperationRefused::impossible(format!(
            "gossip shows {name} as {}: start it first",
            seen.status.as_str()
        )));
    }
    let Some(id) = tag("funk.id").and_then(RaftId::new) else {
        return Err(OperationRefused::impossible(format!("{name} takes part in gossip only: start it as a member")));
    };
    let boot = tag("funk.boot").and_then(BootId::new);
    if boot.is_some_and(|boot| facts.state.removed.contains(&boot)) {
        return Err(OperationRefused::impossible(format!("{name} was removed: start it again first")));
    }
    Ok(Goal::Added(id))
}

fn others_may_own(facts: &Facts<'_>, operations: &Operations, member: &Member) -> Result<(), OperationRefused> {
    let is_heir = |other: &Member| other.id != member.id && other.may_own() && !operations.removes(other.id);
    if facts.state.members.iter().any(is_heir) {
        return Ok(());
    }
    Err(OperationRefused::impossible("no other member can take its shards: add one first"))
}

fn is_reached(facts: &Facts<'_>, goal: &Goal) -> bool {
    let state = facts.state;
    match goal {
        &Goal::Added(id) => state.members.get(id).is_some(),
        &Goal::Removed(id) => state.members.get(id).is_none() && !facts.quorum.tracks(id),
        &Goal::Drained(owner) => {
            match state.members.get(owner.id).filter(|member| member.boot == Some(owner.boot)) {
                // What its previous boot held waits for promises to run out, and counts as its own until then.
                Some(member) => !member.may_own() && state.map.held_by_node(owner.id) == 0,
                None => state.map.held_by(owner) == 0,
            }
        }
        Goal::Pinned(shards, node) => state.pins.holds(shards, node.as_ref()),
        // Its boot may have ended meanwhile, and the weight with it.
        &Goal::Weighed(owner, weight) => {
            state.members.get(owner.id).is_none_or(|member| member.boot != Some(owner.boot) || member.weight == weight)
        }
        Goal::Leadership => false,
    }
}

/// What must be proposed for the operations under way.
pub(super) fn steps(facts: &Facts<'_>, operations: &Operations) -> Vec<Op> {
    operations.0.iter().filter_map(|operation| step(facts, &operation.goal)).collect()
}

fn step(facts: &Facts<'_>, goal: &Goal) -> Option<Op> {
    let state = facts.state;
    match goal {
        Goal::Added(_) | Goal::Leadership => None,
        Goal::Pinned(shards, node) => {
            // Another pin may have taken the last place meanwhile: this one waits for its end.
            let is_due =
                !state.pins.holds(shards, node.as_ref()) && state.pins.clone().set(shards.clone(), node.as_ref());
            is_due.then(|| Op::Pin(pin_record(shards, node.as_ref())))
        }
        &Goal::Weighed(owner, weight) => {
            let member = state.members.get(owner.id).filter(|member| member.boot == Some(owner.boot))?;
            let record = Weight { id: owner.id.get(), boot: owner.boot.get(), weight };
            (member.weight != weight).then_some(Op::Weigh(record))
        }
        &Goal::Removed(id) => removal_step(facts, state.members.get(id)?),
        &Goal::Drained(owner) => {
            let member = state.members.get(owner.id).filter(|member| member.boot == Some(owner.boot))?;
            member.may_own().then(|| Op::Cordon(owner.into()))
        }
    }
}

fn removal_step(facts: &Facts<'_>, member: &Member) -> Option<Op> {
    let name = |boot: u64| BootName { id: member.id.get(), boot };
    let has_vote = facts.quorum.has_vote(member.id);
    let Some(boot) = member.boot else {
        // The boot that was declared dead may only have been stopped: it is kept out too.
        let last = facts.shown_boot(member).map_or(0, BootId::get);
        return (!has_vote).then(|| Op::Removed(name(last)));
    };
    if !member.leaving {
        return Some(Op::Leave(name(boot.get())));
    }
    let is_drained = facts.state.map.held_by(Incarnation { id: member.id, boot }) == 0;
    (is_drained && !has_vote).then(|| Op::Removed(name(boot.get())))
}
