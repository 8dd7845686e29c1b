//! The leader's plan: which shards may change hands now, and which should.
//!
//! A shard changes hands in one of two ways. Its owner is dead, and everything
//! that could make it believe in a lease has run out: a takeover. Or the owner
//! was told to move it, closed its gate and released it: a planned move.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::Range;

use super::assign::{Pinned, Share, assign};
use crate::config::Ownership;
use crate::id::{Incarnation, LogIndex, NodeName, RaftId, ShardId};
use crate::limits::{PROPOSAL_BYTES_MAX, SHARDS_PER_OPERATION_MAX};
use crate::mutate::{Mutant, planted};
use crate::state::State;
use crate::state::owner_index::OwnerIndex;
use crate::state::{Member, ShardState, set};
use crate::time::{Timestamp, earliest};
use crate::wire::cluster::{Op, Transfer};

/// What the leader must wait for before it takes a shard without a release.
pub struct Waits<'a> {
    /// The present.
    pub now: Timestamp,
    /// This very process: it never takes from itself.
    pub me: Incarnation,
    /// End of all promises that this leader inherited.
    pub inherited_until: Timestamp,
    /// Whether that boot is known to have ended: it serves nothing, whatever was granted to it.
    pub ended: &'a dyn Fn(Incarnation) -> bool,
    /// End of all grants of this leader to one boot.
    pub grant_end: &'a dyn Fn(Incarnation) -> Timestamp,
    /// Whether that boot has shown that it hears this leader and keeps up with the log.
    pub answers: &'a dyn Fn(Incarnation) -> bool,
}

impl std::fmt::Debug for Waits<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waits").field("now", &self.now).field("inherited_until", &self.inherited_until).finish()
    }
}

/// What to propose now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The operations, for one entry.
    pub operations: Vec<Op>,
    /// Members from whom the operations take a shard: no grant to them before
    /// they have applied the entry.
    pub losers: Vec<RaftId>,
    /// Members whose shards start to move.
    pub movers: Vec<RaftId>,
    /// When a wait ends that keeps a shard without a server.
    pub again_at: Option<Timestamp>,
    /// More is due than one entry holds.
    pub incomplete: bool,
}

/// Releases that the leader received and has not turned into entries yet.
#[derive(Clone, Debug, Default)]
pub struct Releases(BTreeMap<ShardId, (Incarnation, LogIndex)>);

impl Releases {
    /// An owner closed its gates for these shards of one change.
    pub fn insert(&mut self, owner: Incarnation, change: LogIndex, shards: &[ShardId]) {
        self.0.extend(shards.iter().map(|&shard| (shard, (owner, change))));
    }

    /// Forgets releases that the map has left behind.
    pub fn prune(&mut self, state: &State) {
        self.0.retain(|&shard, &mut (owner, change)| {
            let same = |now: &ShardState| now.change == change || planted(Mutant::ReleaseOfAnyMove);
            state.map.get(shard).is_some_and(|now| now.owner == Some(owner) && same(&now))
        });
    }

    fn covers(&self, shard: ShardId, state: &ShardState) -> bool {
        let same = |change| state.change == change || planted(Mutant::ReleaseOfAnyMove);
        self.0.get(&shard).is_some_and(|&(owner, change)| state.owner == Some(owner) && same(change))
    }
}

/// What may be done with one shard now.
enum Step {
    Stay,
    Move,
    Give,
    WaitUntil(Timestamp),
}

fn step(state: &State, shard: &ShardState, released: bool, target: Incarnation, waits: &Waits<'_>) -> Step {
    let Some(owner) = shard.owner else { return Step::Give };
    let dead = |to: Incarnation| !state.members.is_up(to.id, to.boot);
    if planted(Mutant::MoveNotRetargeted) && shard.moving_to.is_some_and(dead) {
        return Step::Stay;
    }
    if released {
        return Step::Give;
    }
    let live = state.members.is_up(owner.id, owner.boot);
    if live && shard.moving_to.is_none() {
        return if target == owner { Step::Stay } else { Step::Move };
    }
    if owner == waits.me {
        return Step::Stay;
    }
    let fenced = state.cluster.ownership == Ownership::Fenced;
    if (waits.ended)(owner) || fenced && !live {
        return Step::Give;
    }
    let grant_end = if planted(Mutant::TakenBeforeGrantEnd) { Timestamp::ZERO } else { (waits.grant_end)(owner) };
    let free_at = waits.inherited_until.max(grant_end);
    if waits.now >= free_at { Step::Give } else { Step::WaitUntil(free_at) }
}

/// Plans the next entry for the shard map.
pub fn plan(state: &State, releases: &Releases, waits: &Waits<'_>) -> Plan {
    // What was on its way to a member when it was declared dead does not wait for its return.
    let stayed = |to: Incarnation, since| {
        state.members.get(to.id).is_some_and(|it| it.boot == Some(to.boot) && it.up_index <= since)
    };
    let busy = state.map.involved(stayed);
    let ready = |owner: Incarnation| owner == waits.me || busy.contains(&owner.id) || (waits.answers)(owner);
    let Targets { owners, targets } = targets(state, &ready);
    let mut plan = Plan::default();
    if owners.is_empty() {
        return plan;
    }
    let mut gives = BTreeMap::<Incarnation, Vec<ShardId>>::new();
    let mut moves = BTreeMap::<Incarnation, Vec<ShardId>>::new();
    for ((shard, now), target) in state.map.iter().zip(&targets) {
        let target = owners[target.get().expect("there is somebody to own")];
        match step(state, &now, releases.covers(shard, &now), target, waits) {
            Step::Stay => {}
            Step::Give => {
                gives.entry(target).or_default().push(shard);
                plan.losers.extend(now.owner.filter(|&owner| owner != target).map(|owner| owner.id));
            }
            Step::Move => {
                moves.entry(target).or_default().push(shard);
                plan.movers.extend(now.owner.map(|owner| owner.id));
            }
            Step::WaitUntil(at) => plan.again_at = earliest(plan.again_at, Some(at)),
        }
    }
    let mut room = PROPOSAL_BYTES_MAX - 4096;
    let groups = gives.into_iter().map(|group| (true, group)).chain(moves.into_iter().map(|group| (false, group)));
    for (give, (to, shards)) in groups {
        for part in shards.chunks(SHARDS_PER_OPERATION_MAX) {
            let bytes = set::encode(part);
            let Some(left) = room.checked_sub(bytes.len() + 64) else {
                plan.incomplete = true;
                continue;
            };
            room = left;
            let transfer = Transfer { seen: state.applied.0, to: to.id.get(), boot: to.boot.get(), shards: bytes };
            plan.operations.push(if give { Op::Owned(transfer) } else { Op::Moving(transfer) });
        }
    }
    plan.losers.sort_unstable();
    plan.losers.dedup();
    plan.movers.sort_unstable();
    plan.movers.dedup();
    plan
}

/// Who should own what.
#[derive(Debug)]
pub(super) struct Targets {
    /// The members that may own, by name.
    pub(super) owners: Vec<Incarnation>,
    /// For each shard the index of the one that should.
    pub(super) targets: Vec<OwnerIndex>,
}

/// Who should own what in `state`. It depends on names, not on ids, so that it
/// can be told before a node has one.
///
/// `ready` says who may get shards. A member that has nothing yet is given
/// something when it has answered: one that is heard but hears nothing would be
/// declared dead and taken in again and again, and shards would move there and
/// back each time. One that started again while shards were still its former
/// boot's keeps them: after a restart of all nodes the map is the one of before.
pub(super) fn targets(state: &State, ready: &dyn Fn(Incarnation) -> bool) -> Targets {
    let is_ready = |member: &&Member| member.boot.is_some_and(|boot| ready(Incarnation { id: member.id, boot }));
    let mut eligible: Vec<_> = state.members.iter().filter(|member| member.may_own()).filter(is_ready).collect();
    eligible.sort_by(|a, b| a.name.cmp(&b.name));
    let owners: Vec<Incarnation> = eligible
        .iter()
        .map(|member| Incarnation { id: member.id, boot: member.boot.expect("a member that may own is up") })
        .collect();
    let share = |member: &&Member| Share { weight: member.weight, capacity: member.capacity.map(NonZeroU32::get) };
    let shares: Vec<Share> = eligible.iter().map(share).collect();
    let index: BTreeMap<RaftId, usize> = owners.iter().map(|owner| owner.id).zip(0..).collect();
    let (cells, groups) =
        state.map.groups(|owner| index.get(&owner.id).map_or(OwnerIndex::NOBODY, |&at| OwnerIndex::of(at)));
    // A pin to a node that is down, drained or away waits for it, and its shards are free meanwhile.
    let pin = |(shards, node): (Range<u32>, &NodeName)| {
        let to = eligible.binary_search_by(|member| member.name.cmp(node)).ok()?;
        Some(Pinned { shards: shards.start as usize..shards.end as usize, to })
    };
    let pins: Vec<Pinned> = state.pins.iter().filter_map(pin).collect();
    let targets = assign(cells, &groups, &shares, &pins);
    Targets { owners, targets }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::BootId;
    use crate::state::tests::{command, record, state, transfer};
    use crate::wire::cluster::{BootName, DownRecord, MemberRecord};

    fn owner(n: u64) -> Incarnation {
        Incarnation { id: RaftId::new(n).unwrap(), boot: BootId::new(100 + n).unwrap() }
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn waits<'a>(now: u64, inherited: u64, grant_end: &'a dyn Fn(Incarnation) -> Timestamp) -> Waits<'a> {
        Waits {
            now: at(now),
            me: owner(1),
            inherited_until: at(inherited),
            ended: &|_| false,
            grant_end,
            answers: &|_| true,
        }
    }

    fn none(_: Incarnation) -> Timestamp {
        Timestamp::ZERO
    }

    /// Three members, nine shards in thirds.
    fn thirds() -> State {
        let mut state = state(9);
        state.apply(LogIndex(2), command((1..=3).map(|n| Op::Up(record(n)))));
        for n in 1..=3u32 {
            let shards: Vec<u32> = (3 * (n - 1)..3 * n).collect();
            state.apply(LogIndex(2 + u64::from(n)), command([Op::Owned(transfer(9, n.into(), &shards))]));
        }
        state
    }

    fn apply(state: &mut State, plan: &Plan) {
        state.apply(LogIndex(state.applied.0 + 1), command(plan.operations.clone()));
    }

    fn counts(state: &State) -> Vec<u32> {
        (1..=4).map(|n| state.map.held_by(owner(n))).collect()
    }

    #[test]
    fn a_balanced_map_needs_no_entry() {
        assert_eq!(plan(&thirds(), &Releases::default(), &waits(0, 0, &none)), Plan::default());
    }

    #[test]
    fn a_new_clusters_shards_are_given_at_once() {
        let mut state = state(9);
        state.apply(LogIndex(2), command([Op::Up(record(1))]));
        let first = plan(&state, &Releases::default(), &waits(0, 99, &none));
        apply(&mut state, &first);
        assert_eq!(counts(&state), [9, 0, 0, 0]);
    }

    #[test]
    fn a_dead_owners_shards_wait_for_promise_and_grant_then_go_to_the_others() {
        let mut state = thirds();
        state.apply(LogIndex(9), command([Op::Down(DownRecord { id: 3, boot: 103, stopped: false })]));
        let grants = |of: Incarnation| if of == owner(3) { at(150) } else { Timestamp::ZERO };
        let early = plan(&state, &Releases::default(), &waits(100, 120, &grants));
        assert_eq!((early.operations.len(), early.again_at), (0, Some(at(150))));
        let late = plan(&state, &Releases::default(), &waits(150, 120, &grants));
        assert_eq!(late.losers, [owner(3).id]);
        apply(&mut state, &late);
        let after = counts(&state);
        assert_eq!((after[2], after[0] + after[1]), (0, 9));
        assert!(after[0].abs_diff(after[1]) <= 1);
        assert_eq!(plan(&state, &Releases::default(), &waits(151, 0, &grants)), Plan::default(), "it settles at once");
    }

    #[test]
    fn the_shards_of_a_boot_that_has_ended_wait_for_nothing_and_those_of_another_boot_do() {
        let mut state = thirds();
        state.apply(LogIndex(9), command([Op::Down(DownRecord { id: 3, boot: 103, stopped: false })]));
        let grants = |_| at(150);
        let ended = |of: Incarnation| of == owner(3);
        let plan_with = |ended| plan(&state, &Releases::default(), &Waits { ended, ..waits(100, 120, &grants) });
        assert_eq!(plan_with(&ended).losers, [owner(3).id]);
        let other_boot = |of: Incarnation| of == Incarnation { boot: BootId::new(999).unwrap(), ..owner(3) };
        assert_eq!((plan_with(&other_boot).operations.len(), plan_with(&other_boot).again_at), (0, Some(at(150))));
    }

    #[test]
    fn where_a_store_fences_the_shards_of_the_dead_wait_for_nothing_and_those_of_the_living_for_their_release() {
        let mut state = thirds();
        state.cluster.ownership = Ownership::Fenced;
        let grants = |_| at(150);
        state.apply(LogIndex(9), command([Op::Down(DownRecord { id: 3, boot: 103, stopped: false })]));
        let next = plan(&state, &Releases::default(), &waits(100, 120, &grants));
        assert_eq!((&next.losers[..], next.again_at), (&[owner(3).id][..], None));
        apply(&mut state, &next);
        state.apply(LogIndex(20), command([Op::Leave(BootName { id: 2, boot: 102 })]));
        let moving = plan(&state, &Releases::default(), &waits(100, 120, &grants));
        apply(&mut state, &moving);
        let held = counts(&state)[1];
        let waiting = plan(&state, &Releases::default(), &waits(100, 120, &grants));
        assert_eq!((held > 0, waiting.operations.len(), waiting.again_at), (true, 0, Some(at(150))));
    }

    #[test]
    fn a_member_that_has_nothing_is_given_something_once_it_answers() {
        let mut state = thirds();
        state.apply(LogIndex(9), command([Op::Up(record(4))]));
        let mute = |of: Incarnation| of != owner(4);
        let silent = plan(&state, &Releases::default(), &Waits { answers: &mute, ..waits(0, 0, &none) });
        assert_eq!(silent, Plan::default());
        let heard = plan(&state, &Releases::default(), &waits(0, 0, &none));
        assert!(!heard.movers.is_empty());
        // What moves there by now is not called back because a new leader has heard nobody yet.
        apply(&mut state, &heard);
        let granted = |_: Incarnation| at(150);
        let unheard = plan(&state, &Releases::default(), &Waits { answers: &|_| false, ..waits(0, 0, &granted) });
        let unheard = Plan { again_at: None, ..unheard };
        assert_eq!(unheard, Plan::default());
    }

    #[test]
    fn a_member_that_comes_back_unheard_does_not_get_what_was_on_its_way_to_it() {
        let mut state = thirds();
        state.apply(LogIndex(9), command([Op::Up(record(4))]));
        let moving = plan(&state, &Releases::default(), &waits(0, 0, &none));
        apply(&mut state, &moving);
        state.apply(LogIndex(11), command([Op::Down(DownRecord { id: 4, boot: 104, stopped: false })]));
        state.apply(LogIndex(12), command([Op::Up(record(4))]));
        let mut releases = Releases::default();
        for n in 1..=3 {
            let given: Vec<ShardId> =
                (0..9).map(ShardId).filter(|&shard| state.map.get(shard).unwrap().owner == Some(owner(n))).collect();
            releases.insert(owner(n), LogIndex(10), &given);
        }
        let next = |answers| plan(&state, &releases, &Waits { answers, ..waits(0, 0, &none) });
        let unheard = next(&|of: Incarnation| of != owner(4));
        let heard = next(&|_| true);
        let mut after = state.clone();
        apply(&mut after, &unheard);
        assert_eq!(counts(&after), [3, 3, 3, 0], "it goes back to those who had it");
        apply(&mut state, &heard);
        assert!(counts(&state)[3] > 0);
    }

    #[test]
    fn a_member_that_started_again_keeps_its_shards_once_its_former_boot_can_serve_no_more() {
        let mut state = thirds();
        let again = Incarnation { boot: BootId::new(202).unwrap(), ..owner(2) };
        state.apply(LogIndex(9), command([Op::Up(MemberRecord { boot: 202, ..record(2) })]));
        let grants = |of: Incarnation| if of == owner(2) { at(150) } else { Timestamp::ZERO };
        let unheard = |now| Waits { answers: &|_| false, ..waits(now, 0, &grants) };
        let early = plan(&state, &Releases::default(), &unheard(100));
        assert_eq!((early.operations.len(), early.again_at), (0, Some(at(150))));
        let late = plan(&state, &Releases::default(), &unheard(150));
        apply(&mut state, &late);
        assert_eq!(counts(&state), [3, 0, 3, 0]);
        assert_eq!(state.map.held_by(again), 3);
    }

    #[test]
    fn a_planned_move_is_owned_only_after_the_release_of_that_very_move() {
        let mut state = thirds();
        state.apply(LogIndex(9), command([Op::Up(record(4))]));
        let grants = |_| at(1000);
        let moving = plan(&state, &Releases::default(), &waits(0, 0, &grants));
        assert!(moving.operations.iter().all(|op| matches!(op, Op::Moving(_))) && !moving.operations.is_empty());
        apply(&mut state, &moving);
        let change = state.applied;
        let on_their_way: Vec<_> = state
            .map
            .iter()
            .filter(|(_, shard)| shard.moving_to.is_some())
            .map(|(id, shard)| (id, shard.owner))
            .collect();
        assert_eq!(on_their_way.len(), 2);
        let mut releases = Releases::default();
        for &(shard, from) in &on_their_way {
            releases.insert(from.unwrap(), LogIndex(change.0 - 1), &[shard]);
        }
        assert_eq!(plan(&state, &releases, &waits(1, 0, &grants)).operations, [], "an earlier move's release");
        let (shard, from) = on_their_way[0];
        releases.insert(from.unwrap(), change, &[shard]);
        let owned = plan(&state, &releases, &waits(1, 0, &grants));
        apply(&mut state, &owned);
        assert_eq!(counts(&state)[3], 1);
        releases.prune(&state);
        assert_eq!(plan(&state, &releases, &waits(1, 0, &grants)).operations, [], "the other is not released");
    }

    #[test]
    fn a_move_whose_owner_died_ends_by_takeover_and_one_whose_destination_died_goes_elsewhere() {
        let mut state = thirds();
        state.apply(LogIndex(9), command([Op::Up(record(4))]));
        let grants = |_| at(1000);
        let moving = plan(&state, &Releases::default(), &waits(0, 0, &grants));
        apply(&mut state, &moving);
        let (shard, from) = state
            .map
            .iter()
            .find(|(_, shard)| shard.moving_to.is_some())
            .map(|(id, shard)| (id, shard.owner.unwrap()))
            .unwrap();
        let mut to_died = state.clone();
        to_died.apply(LogIndex(20), command([Op::Down(DownRecord { id: 4, boot: 104, stopped: false })]));
        let mut releases = Releases::default();
        releases.insert(from, to_died.map.get(shard).unwrap().change, &[shard]);
        let next = plan(&to_died, &releases, &waits(1, 0, &grants));
        apply(&mut to_died, &next);
        let owner_now = to_died.map.get(shard).unwrap().owner.unwrap();
        assert!(to_died.members.is_up(owner_now.id, owner_now.boot));
        assert_eq!(to_died.map.get(shard).unwrap().moving_to, None);

        state.apply(
            LogIndex(20),
            command([Op::Down(DownRecord { id: from.id.get(), boot: from.boot.get(), stopped: false })]),
        );
        if from != owner(1) {
            let waiting = plan(&state, &Releases::default(), &waits(1, 0, &grants));
            assert_eq!(waiting.again_at, Some(at(1000)));
        }
    }

    #[test]
    fn a_draining_member_loses_all_and_gets_none() {
        let mut state = thirds();
        state.apply(LogIndex(9), command([Op::Leave(BootName { id: 2, boot: 102 })]));
        let grants = |_| at(1000);
        let moving = plan(&state, &Releases::default(), &waits(0, 0, &grants));
        assert_eq!(moving.movers, [owner(2).id]);
        apply(&mut state, &moving);
        let mut releases = Releases::default();
        let mine: Vec<_> = (3..6).map(ShardId).collect();
        releases.insert(owner(2), state.applied, &mine);
        let owned = plan(&state, &releases, &waits(0, 0, &grants));
        apply(&mut state, &owned);
        assert_eq!(counts(&state)[1], 0);
    }
}
