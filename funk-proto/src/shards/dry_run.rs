//! What a change would move, told from the present state without making it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::ops::Range;

use super::plan::{Targets, targets};
use crate::id::{BootId, Incarnation, LogIndex, NodeName, RaftId};
use crate::state::{Member, State, pin_record};
use crate::wire::cluster::{BootName, Command, Op, Operation, Weight};

/// A change that is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhatIf {
    /// Nothing: what is still to move.
    Nothing,
    /// A node becomes a member.
    Add {
        /// Its name.
        node: NodeName,
        /// Its weight.
        weight: u32,
        /// It is to own no more shards than this.
        capacity: Option<NonZeroU32>,
    },
    /// A member is taken out, or dies.
    Remove(NodeName),
    /// A member is drained.
    Drain(NodeName),
    /// A member gets another weight.
    Weight(NodeName, u32),
    /// Shards are pinned to a node, or with `None` free again.
    Pin(Range<u32>, Option<NodeName>),
}

/// What a change would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DryRun {
    /// For each shard its owner in the end, as an index in `nodes`; `None` if nobody may own.
    pub owners: Vec<Option<u16>>,
    /// All that own shards now or would, by name.
    pub nodes: Vec<NodeName>,
    /// How many shards would go from where to where, by names. `None` is nobody:
    /// an owner that is gone, or nobody left to own.
    pub moves: BTreeMap<(Option<NodeName>, Option<NodeName>), u32>,
    /// Shards beyond all members' capacity, which would be spread by weight.
    pub over_capacity: u32,
}

impl DryRun {
    /// How many shards would move.
    pub fn moved(&self) -> u32 {
        self.moves.values().sum()
    }

    /// How many shards a node would own.
    pub fn held(&self, node: &NodeName) -> usize {
        let index = self.nodes.iter().position(|other| other == node);
        self.owners.iter().filter(|owner| index.is_some() && owner.map(usize::from) == index).count()
    }
}

/// Why nothing can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// No member that is up has that name.
    UnknownMember,
    /// A member that is up has that name already, or the table is full.
    NoRoom,
    /// The weight, or the range of shards, is out of its bounds; or there are too many pins.
    OutOfBounds,
}

/// Tells what `change` would do to `state`, after all moves.
///
/// # Errors
/// [`NoAnswer`] if the change could not be made.
pub fn dry_run(state: &State, change: &WhatIf) -> Result<DryRun, NoAnswer> {
    let mut next = state.clone();
    if let Some(op) = operation(state, change)? {
        let command = Command { operations: vec![Operation { op: Some(op) }] };
        if next.apply(LogIndex(state.applied.0 + 1), command).is_empty() {
            return Err(match change {
                WhatIf::Add { .. } => NoAnswer::NoRoom,
                _ => NoAnswer::OutOfBounds,
            });
        }
    }
    Ok(answer(state, &next))
}

fn operation(state: &State, change: &WhatIf) -> Result<Option<Op>, NoAnswer> {
    let up = |node: &NodeName| {
        let member = state.members.up_by_name(node).ok_or(NoAnswer::UnknownMember)?;
        let boot = member.boot.ok_or(NoAnswer::UnknownMember)?;
        Ok(BootName { id: member.id.get(), boot: boot.get() })
    };
    Ok(Some(match change {
        WhatIf::Nothing => return Ok(None),
        WhatIf::Add { node, .. } if state.members.up_by_name(node).is_some() => return Err(NoAnswer::NoRoom),
        WhatIf::Add { node, weight, capacity } => {
            let member = newcomer(state, node, *weight, *capacity).filter(Member::is_sound);
            let member = member.ok_or(NoAnswer::OutOfBounds)?;
            Op::Up(member.record(member.boot))
        }
        WhatIf::Remove(node) => Op::Removed(up(node)?),
        WhatIf::Drain(node) => Op::Cordon(up(node)?),
        WhatIf::Weight(node, weight) => {
            let BootName { id, boot } = up(node)?;
            Op::Weigh(Weight { id, boot, weight: *weight })
        }
        // As the change itself: a node that is down may have pins, one that is in no table may not.
        WhatIf::Pin(_, Some(node)) if !state.members.iter().any(|member| member.name == *node) => {
            return Err(NoAnswer::UnknownMember);
        }
        WhatIf::Pin(shards, node) => Op::Pin(pin_record(shards, node.as_ref())),
    }))
}

/// A member that is not there yet: its id and addresses say nothing, since shards are assigned by name.
fn newcomer(state: &State, name: &NodeName, weight: u32, capacity: Option<NonZeroU32>) -> Option<Member> {
    // A member of that name that is down comes back under its own id.
    let former = state.members.iter().find(|member| member.name == *name).map(|member| member.id);
    let free = || (1..).filter_map(RaftId::new).find(|&id| state.members.get(id).is_none());
    let boot = (1..).filter_map(BootId::new).find(|boot| !state.removed.contains(boot));
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    Some(Member {
        id: former.or_else(free)?,
        name: name.clone(),
        boot,
        up_index: LogIndex(0),
        taken_index: LogIndex(0),
        leaving: false,
        cordoned: false,
        serf: nowhere,
        raft: nowhere,
        liveness: nowhere,
        endpoints: BTreeMap::new(),
        weight,
        capacity,
        zone: String::new(),
        never_votes: false,
        non_member: false,
        durable: false,
    })
}

fn answer(before: &State, after: &State) -> DryRun {
    let Targets { owners, targets } = targets(after, &|_| true);
    let name = |state: &State, owner: Incarnation| state.members.get(owner.id).map(|member| member.name.clone());
    let mut nodes: Vec<NodeName> = owners.iter().filter_map(|&owner| name(after, owner)).collect();
    nodes.extend(
        before.map.owners().iter().filter(|owner| before.map.held_by(**owner) > 0).filter_map(|&o| name(before, o)),
    );
    nodes.sort();
    nodes.dedup();
    let index = |name: NodeName| u16::try_from(nodes.binary_search(&name).ok()?).ok();
    let target_nodes: Vec<Option<u16>> = owners.iter().map(|&owner| index(name(after, owner)?)).collect();
    let mut counts = BTreeMap::<(Option<Incarnation>, Option<Incarnation>), u32>::new();
    for ((_, shard), target) in before.map.iter().zip(&targets) {
        let to = target.get().map(|at| owners[at]);
        if shard.owner != to {
            *counts.entry((shard.owner, to)).or_default() += 1;
        }
    }
    let mut moves = BTreeMap::new();
    for ((from, to), shards) in counts {
        let names = (from.and_then(|owner| name(before, owner)), to.and_then(|owner| name(after, owner)));
        *moves.entry(names).or_default() += shards;
    }
    let owners = targets.iter().map(|target| target_nodes[target.get()?]).collect();
    DryRun { owners, nodes, moves, over_capacity: after.over_capacity() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::plan::{Releases, Waits, plan};
    use super::*;
    use crate::state::tests::{command, record, state};
    use crate::time::Timestamp;
    use crate::wire::cluster::MemberRecord;

    fn name(n: u64) -> NodeName {
        format!("n{n}").parse().unwrap()
    }

    /// Plays the leader, and owners that release at once, until nothing is left to do.
    fn settle(state: &mut State) {
        let me = Incarnation { id: RaftId::new(u64::MAX).unwrap(), boot: BootId::new(u64::MAX).unwrap() };
        let (ended, grant_end) = (|_| true, |_| Timestamp::ZERO);
        let inherited_until = Timestamp::ZERO;
        let waits = Waits {
            now: Timestamp::ZERO,
            me,
            inherited_until,
            ended: &ended,
            grant_end: &grant_end,
            answers: &|_| true,
        };
        for _ in 0..100 {
            let mut releases = Releases::default();
            for (shard, now) in state.map.iter().filter(|(_, now)| now.moving_to.is_some()) {
                releases.insert(now.owner.unwrap(), now.change, &[shard]);
            }
            let next = plan(state, &releases, &waits);
            if next.operations.is_empty() {
                return;
            }
            let index = LogIndex(state.applied.0 + 1);
            let operations = next.operations.into_iter().map(|op| Operation { op: Some(op) }).collect();
            state.apply(index, Command { operations });
        }
        panic!("it never settles");
    }

    fn apply(state: &mut State, op: Op) {
        state.apply(LogIndex(state.applied.0 + 1), command([op]));
    }

    fn owners(state: &State) -> Vec<Option<NodeName>> {
        let name = |owner: Incarnation| Some(state.members.get(owner.id)?.name.clone());
        state.map.iter().map(|(_, shard)| shard.owner.and_then(name)).collect()
    }

    fn what_if() -> impl Strategy<Value = WhatIf> {
        let node = 1u64..7;
        let range = (0u32..60, 1u32..20).prop_map(|(start, length)| start..(start + length).min(60));
        prop_oneof![
            Just(WhatIf::Nothing),
            (10u64..12, 1u32..5, 0u32..30).prop_map(|(n, weight, capacity)| WhatIf::Add {
                node: name(n),
                weight,
                capacity: NonZeroU32::new(capacity),
            }),
            node.clone().prop_map(|n| WhatIf::Remove(name(n))),
            node.clone().prop_map(|n| WhatIf::Drain(name(n))),
            (node.clone(), 1u32..5).prop_map(|(n, weight)| WhatIf::Weight(name(n), weight)),
            (range, proptest::option::of(node.prop_map(name))).prop_map(|(shards, node)| WhatIf::Pin(shards, node)),
        ]
    }

    /// The change as the log would have it, with an id and a boot that nobody knew before.
    fn really(state: &State, change: &WhatIf, id: u64) -> Option<Op> {
        match change {
            WhatIf::Add { node, weight, capacity } => Some(Op::Up(MemberRecord {
                name: node.to_string(),
                weight: *weight,
                capacity: capacity.map_or(0, NonZeroU32::get),
                ..record(id)
            })),
            other => operation(state, other).unwrap(),
        }
    }

    proptest! {
        #[test]
        fn what_is_told_is_what_happens(
            members in proptest::collection::vec((1u32..5, 0u32..30), 1..7),
            before in proptest::collection::vec(what_if(), 0..5),
            settled in any::<bool>(),
            change in what_if(),
            id in prop_oneof![Just(1u64), Just(55)],
        ) {
            let mut state = state(60);
            for (n, (weight, capacity)) in (2..).zip(members) {
                apply(&mut state, Op::Up(MemberRecord { name: format!("n{}", n - 1), weight, capacity, ..record(n) }));
                settle(&mut state);
            }
            for (change, id) in before.iter().zip(100..) {
                if operation(&state, change).is_ok() {
                    let op = really(&state, change, id);
                    op.into_iter().for_each(|op| apply(&mut state, op));
                }
                if settled {
                    settle(&mut state);
                }
            }
            let Ok(told) = dry_run(&state, &change) else { return Ok(()) };
            let present: Vec<_> = state.map.iter().map(|(_, shard)| shard.owner).collect();
            let op = really(&state, &change, id);
            op.into_iter().for_each(|op| apply(&mut state, op));
            settle(&mut state);
            if !state.members.iter().any(Member::may_own) {
                // With nobody left to own, the map keeps the owners that it has.
                prop_assert!(told.owners.iter().all(Option::is_none));
                return Ok(());
            }
            let name = |owner: &Option<u16>| owner.map(|at| told.nodes[usize::from(at)].clone());
            prop_assert_eq!(told.owners.iter().map(name).collect::<Vec<_>>(), owners(&state));
            let after = state.map.iter().map(|(_, shard)| shard.owner);
            let moved = present.iter().zip(after).filter(|(a, b)| **a != *b).count();
            prop_assert_eq!(told.moved() as usize, moved);
            prop_assert_eq!(told.over_capacity, state.over_capacity());
        }
    }

    #[test]
    fn moves_are_told_by_name_and_a_change_that_cannot_be_made_is_refused() {
        let mut state = state(9);
        for n in 1..4 {
            apply(&mut state, Op::Up(record(n)));
        }
        settle(&mut state);
        let told = dry_run(&state, &WhatIf::Drain(name(2))).unwrap();
        assert_eq!((told.moved(), told.held(&name(2))), (3, 0));
        assert!(told.moves.keys().all(|(from, to)| *from == Some(name(2)) && *to != Some(name(2))));
        assert_eq!(dry_run(&state, &WhatIf::Drain(name(9))), Err(NoAnswer::UnknownMember));
        assert_eq!(dry_run(&state, &WhatIf::Weight(name(1), 0)), Err(NoAnswer::OutOfBounds));
        assert_eq!(dry_run(&state, &WhatIf::Pin(5..10, Some(name(1)))), Err(NoAnswer::OutOfBounds));
        assert_eq!(dry_run(&state, &WhatIf::Pin(0..2, Some(name(9)))), Err(NoAnswer::UnknownMember));
        assert!(
            dry_run(&state, &WhatIf::Pin(0..2, None)).is_ok()
                && dry_run(&state, &WhatIf::Pin(0..2, Some(name(3)))).is_ok()
        );
        let again = WhatIf::Add { node: name(1), weight: 1, capacity: None };
        assert_eq!(dry_run(&state, &again), Err(NoAnswer::NoRoom));
    }
}
