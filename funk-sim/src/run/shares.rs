//! Who serves how much at rest: by weight, within capacities, and pinned
//! shards where they are pinned.

use funk_proto::id::ShardId;
use funk_proto::state::{Member, State, snapshot};

use super::Runner;
use crate::checker::Violation;

impl Runner<'_> {
    pub(super) fn check_shares(&mut self, core: &[usize]) -> Result<(), Violation> {
        let bytes = core.first().and_then(|&at| self.world.hosts()[at].node()?.inspect().state_bytes());
        let Some(state) = bytes.and_then(|bytes| snapshot::decode(&bytes)) else { return Ok(()) };
        match pins(&state).and_then(|()| shares(&state)) {
            Ok(()) => Ok(()),
            Err(what) => Err(self.violation("shares", what)),
        }
    }
}

fn owners(state: &State) -> Vec<&Member> {
    state.members.iter().filter(|member| member.may_own()).collect()
}

/// Whether a pin's node may own, and has room for all that is pinned to it.
fn is_honoured<'a>(state: &'a State, name: &funk_proto::id::NodeName) -> Option<&'a Member> {
    let fits = |member: &&Member| member.capacity.is_none_or(|capacity| capacity.get() >= state.pins.count(name));
    owners(state).into_iter().find(|member| member.name == *name).filter(fits)
}

fn pins(state: &State) -> Result<(), String> {
    for (shards, name) in state.pins.iter() {
        let Some(member) = is_honoured(state, name) else { continue };
        let owner = |shard| state.map.get(ShardId(shard))?.owner;
        let elsewhere = |shard: &u32| owner(*shard).is_none_or(|owner| owner.id != member.id);
        if let Some(shard) = shards.into_iter().find(elsewhere) {
            return Err(format!("shard {shard} is pinned to {name} and is not there at rest"));
        }
    }
    Ok(())
}

fn shares(state: &State) -> Result<(), String> {
    let owners = owners(state);
    let held: Vec<u32> = owners.iter().map(|member| state.map.held_by_node(member.id)).collect();
    let bounded = owners.iter().any(|member| member.capacity.is_some());
    for (member, &held) in owners.iter().zip(&held) {
        if state.over_capacity() == 0 && member.capacity.is_some_and(|capacity| held > capacity.get()) {
            return Err(format!("{} has {held} shards at rest, more than its capacity", member.name));
        }
    }
    if bounded || state.pins.iter().next().is_some() {
        return Ok(());
    }
    let all: u64 = owners.iter().map(|member| u64::from(member.weight)).sum();
    for (member, &held) in owners.iter().zip(&held) {
        // The exact share, or a number next to it.
        let exact = u64::from(state.map.shards()) * u64::from(member.weight);
        if (u64::from(held) * all).abs_diff(exact) >= all {
            let weights: Vec<u32> = owners.iter().map(|member| member.weight).collect();
            let of = state.map.shards();
            return Err(format!("{} has {held} of {of} shards at rest, weights {weights:?}", member.name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use funk_proto::Ownership;
    use funk_proto::id::{ClusterId, LogIndex};
    use funk_proto::state::set;
    use funk_proto::state::{ClusterValues, LeaseReason};
    use funk_proto::wire::cluster::{Command, MemberRecord, Op, Operation, Transfer};

    use super::*;

    /// Two nodes of these weights, of which the first owns so many of twelve shards.
    fn state(weights: [u32; 2], capacity: u32, first: u32) -> State {
        let (lease, drift_ppm) = (std::time::Duration::from_millis(150), 10_000);
        let id = ClusterId::new(1).expect("not zero");
        let (ownership, name, former) = (Ownership::Leased, "c".into(), Vec::new());
        let values = ClusterValues {
            id,
            name,
            created_ns: 0,
            lease,
            lease_min: lease,
            lease_max: lease,
            lease_reason: LeaseReason::default(),
            drift_ppm,
            ownership,
            generation: 1,
            former,
        };
        let mut state = State::new(values, 12);
        let mut apply = |op| {
            let index = LogIndex(state.applied.0 + 1);
            state.apply(index, Command { operations: vec![Operation { op: Some(op) }] });
        };
        for (n, weight) in (1..).zip(weights) {
            let [serf, raft, liveness] = [1, 2, 3].map(|port| format!("10.0.0.{n}:{port}"));
            let (name, capacity) = (format!("n{n}"), if n == 1 { capacity } else { 0 });
            let names = MemberRecord { id: n, boot: n, name, serf, raft, liveness, ..MemberRecord::default() };
            apply(Op::Up(MemberRecord { weight, capacity, ..names }));
        }
        for (n, shards) in [(1, 0..first), (2, first..12)] {
            let shards = set::encode(&shards.map(ShardId).collect::<Vec<_>>());
            apply(Op::Owned(Transfer { seen: n + 1, to: n, boot: n, shards }));
        }
        state
    }

    #[test]
    fn shares_by_weight_hold_and_others_do_not() {
        for (weights, good) in [([1, 1], 6), ([2, 1], 8), ([1, 5], 2)] {
            assert_eq!(shares(&state(weights, 0, good)), Ok(()));
            assert!(shares(&state(weights, 0, good + 1)).is_err(), "{weights:?}");
            assert!(shares(&state(weights, 0, good - 1)).is_err(), "{weights:?}");
        }
    }

    #[test]
    fn a_capacity_is_not_passed_while_there_is_room() {
        assert_eq!(shares(&state([1, 1], 4, 4)), Ok(()));
        assert!(shares(&state([1, 1], 4, 5)).is_err());
    }

    #[test]
    fn pinned_shards_are_where_they_are_pinned_if_that_node_may_own() {
        let mut state = state([1, 1], 0, 6);
        for (node, good) in [("n1", true), ("n2", false), ("gone", true)] {
            assert!(state.pins.set(3..5, Some(&node.parse().expect("legal"))));
            assert_eq!(pins(&state).is_ok(), good, "{node}");
        }
    }
}
