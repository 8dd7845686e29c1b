//! Who should own what: a pure function with the fewest moves.

use std::ops::Range;

use crate::state::owner_index::{Group, OwnerIndex};

/// A member that may own shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Its weight; its quota is proportional to it. Not zero.
    pub weight: u32,
    /// It is to have no more shards than this.
    pub capacity: Option<u32>,
}

/// Shards that one member is to own, whoever owns them now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// Which.
    pub shards: Range<usize>,
    /// Index of the member.
    pub to: usize,
}

/// Assigns every shard to one of `shares`.
///
/// `cells[s]` is the index of shard `s`' group in `groups`. `pins` are ascending and
/// do not overlap. Pinned shards go where
/// they are pinned, the first of them if the capacity there is too small for
/// all. The others stay where they are unless their owner is over its quota,
/// so the moves are the fewest that reach the quotas. An owner that is over it
/// gives those that it got last: where a member was away for a while, that is what it
/// had before. A quota is the member's
/// exact share by weight or a neighbouring number, unless its capacity is
/// below that or its pins are above; what these add or take is shared by the
/// others by weight. If all capacities together are too small, what is over is
/// spread by weight. The same input gives the same result, and the result as
/// present owners gives itself.
///
/// Time O(shards + groups × log groups + members²), members × log members without pins and capacities.
///
/// # Panics
/// If an index or range is out of range, or a weight is zero.
pub fn assign(cells: &[u32], groups: &[Group], shares: &[Share], pins: &[Pinned]) -> Vec<OwnerIndex> {
    let mut result = vec![OwnerIndex::NOBODY; cells.len()];
    if shares.is_empty() {
        return result;
    }
    let pins = within_capacity(shares, pins);
    let mut pinned = vec![0; shares.len()];
    pins.iter().for_each(|pin| pinned[pin.to] += pin.shards.len());
    let free = free(cells, groups, &pins);
    let mut held = pinned.clone();
    for (group, free) in groups.iter().zip(&free) {
        if let Some(owner) = group.owner.get() {
            held[owner] += free;
        }
    }
    let quotas = quotas(cells.len(), shares, &pinned, &held);
    let mut kept = kept(groups, &free, &held, &quotas);
    let room = quotas.iter().zip(&held).map(|(quota, held)| quota.saturating_sub(*held));
    let mut takers = (0..).zip(room).flat_map(|(taker, room)| std::iter::repeat_n(OwnerIndex::of(taker), room));
    for pin in &pins {
        result[pin.shards.clone()].fill(OwnerIndex::of(pin.to));
    }
    for gap in gaps(&pins, cells.len()) {
        for (target, &cell) in result[gap.clone()].iter_mut().zip(&cells[gap]) {
            let kept = &mut kept[cell as usize];
            *target = match kept.all {
                OwnerIndex::NOBODY => match kept.first.checked_sub(1) {
                    Some(left) => {
                        kept.first = left;
                        groups[cell as usize].owner
                    }
                    None => takers.next().expect("the quotas sum up to the shard count"),
                },
                all => all,
            };
        }
    }
    debug_assert_eq!(takers.next(), None, "the quotas sum up to the shard count");
    result
}

/// Shards of each group that are not pinned.
fn free(cells: &[u32], groups: &[Group], pins: &[Pinned]) -> Vec<usize> {
    let mut free: Vec<usize> = groups.iter().map(|group| group.shards).collect();
    debug_assert_eq!(free.iter().sum::<usize>(), cells.len(), "each shard is in one group");
    for &cell in pins.iter().flat_map(|pin| &cells[pin.shards.clone()]) {
        free[cell as usize] -= 1;
    }
    free
}

/// What becomes of the free shards of a group.
#[derive(Clone, Copy, Debug)]
struct Kept {
    /// Who keeps all of them; nobody if some go.
    all: OwnerIndex,
    /// Then its owner keeps the first so many.
    first: usize,
}

/// What becomes of each group when every owner gives what is over its quota, what came last first.
fn kept(groups: &[Group], free: &[usize], held: &[usize], quotas: &[usize]) -> Vec<Kept> {
    let mut kept: Vec<Kept> = groups.iter().map(|group| Kept { all: group.owner, first: 0 }).collect();
    let mut gives: Vec<usize> = held.iter().zip(quotas).map(|(held, quota)| held.saturating_sub(*quota)).collect();
    if gives.iter().all(|&gives| gives == 0) {
        return kept;
    }
    let over = |group: &usize| groups[*group].owner.get().is_some_and(|owner| gives[owner] > 0 && free[*group] > 0);
    let mut order: Vec<usize> = (0..groups.len()).filter(over).collect();
    order.sort_unstable_by_key(|&group| (std::cmp::Reverse(groups[group].since), group));
    for group in order {
        let gives = &mut gives[groups[group].owner.get().expect("somebody has too many")];
        if *gives > 0 {
            let first = free[group].saturating_sub(*gives);
            *gives -= free[group] - first;
            kept[group] = Kept { all: OwnerIndex::NOBODY, first };
        }
    }
    kept
}

/// The pins without those that are over a member's capacity.
fn within_capacity(shares: &[Share], pins: &[Pinned]) -> Vec<Pinned> {
    let mut room: Vec<usize> = shares.iter().map(|share| share.capacity.map_or(usize::MAX, |n| n as usize)).collect();
    let fits = |pin: &Pinned| {
        let shards = pin.shards.start..pin.shards.end.min(pin.shards.start.saturating_add(room[pin.to]));
        room[pin.to] -= shards.len();
        (!shards.is_empty()).then_some(Pinned { shards, to: pin.to })
    };
    pins.iter().filter_map(fits).collect()
}

/// The shards that are not pinned, in ranges.
fn gaps(pins: &[Pinned], shards: usize) -> impl Iterator<Item = Range<usize>> + Clone + '_ {
    let starts = std::iter::once(0).chain(pins.iter().map(|pin| pin.shards.end));
    let ends = pins.iter().map(|pin| pin.shards.start).chain(std::iter::once(shards));
    starts.zip(ends).map(|(start, end)| start..end)
}

/// How many shards each member should have, see [`assign`].
fn quotas(shards: usize, shares: &[Share], pinned: &[usize], held: &[usize]) -> Vec<usize> {
    assert!(shares.iter().all(|share| share.weight > 0), "a member without weight is no owner");
    let most = |n: usize| shares[n].capacity.map_or(shards, |capacity| shards.min(capacity as usize));
    let mut quotas = vec![0; shares.len()];
    let mut open: Vec<usize> = (0..shares.len()).collect();
    let mut left = shards;
    // Those whose exact share is out of their bounds get the bound, and the
    // others share what is left; first the side that is out by more, since
    // that moves the shares of the rest towards the other side.
    while !open.is_empty() {
        let total: i128 = open.iter().map(|&n| i128::from(shares[n].weight)).sum();
        // Times the total weight, so that all numbers are whole.
        let exact = |n: usize| left as i128 * i128::from(shares[n].weight);
        let (low, high) = (|n: usize| pinned[n] as i128 * total, |n: usize| most(n) as i128 * total);
        let short: i128 = open.iter().map(|&n| (low(n) - exact(n)).max(0)).sum();
        let over: i128 = open.iter().map(|&n| (exact(n) - high(n)).max(0)).sum();
        if short == 0 && over == 0 {
            break;
        }
        let bound = |n: usize| {
            if short >= over && low(n) > exact(n) {
                return Some(pinned[n]);
            }
            (over >= short && exact(n) > high(n)).then(|| most(n))
        };
        let bounds: Vec<(usize, usize)> = open.iter().filter_map(|&n| Some((n, bound(n)?))).collect();
        for (n, bound) in bounds {
            quotas[n] = bound;
            left -= bound;
            open.retain(|&other| other != n);
        }
    }
    if open.is_empty() {
        // The capacities are too small for all, if anything is left.
        open.extend(0..shares.len());
    }
    share_by_weight(&mut quotas, left, &open, shares, held);
    quotas
}

/// Adds to the quotas of the `open` members their shares of `left`: the whole
/// part, and of those with a remainder, one more for those that would otherwise
/// lose a shard, then for the largest remainders.
fn share_by_weight(quotas: &mut [usize], left: usize, open: &[usize], shares: &[Share], held: &[usize]) {
    let total: u128 = open.iter().map(|&n| u128::from(shares[n].weight)).sum();
    let exact = |n: usize| left as u128 * u128::from(shares[n].weight);
    let mut rest = left;
    for &n in open {
        let whole = usize::try_from(exact(n) / total).expect("no more than the shard count");
        quotas[n] += whole;
        rest -= whole;
    }
    let mut order = open.to_vec();
    order.sort_by_key(|&n| {
        let remainder = exact(n) % total;
        (remainder == 0, held[n] <= quotas[n], std::cmp::Reverse(remainder), n)
    });
    for &n in &order[..rest] {
        quotas[n] += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn equal(n: usize) -> Vec<Share> {
        vec![Share { weight: 1, capacity: None }; n]
    }

    fn shares(weights: &[u32]) -> Vec<Share> {
        weights.iter().map(|&weight| Share { weight, capacity: None }).collect()
    }

    /// The same with plain indices.
    fn assign(present: &[Option<usize>], shares: &[Share]) -> Vec<Option<usize>> {
        assign_pinned(present, shares, &[])
    }

    fn assign_pinned(present: &[Option<usize>], shares: &[Share], pins: &[Pinned]) -> Vec<Option<usize>> {
        assign_since(present, &vec![0; present.len()], shares, pins)
    }

    /// The same with the times at which the shards came to their owners.
    fn assign_since(present: &[Option<usize>], since: &[u64], shares: &[Share], pins: &[Pinned]) -> Vec<Option<usize>> {
        let (mut groups, mut cells): (Vec<Group>, _) = (Vec::new(), Vec::new());
        for (owner, &since) in present.iter().zip(since) {
            let owner = owner.map_or(OwnerIndex::NOBODY, OwnerIndex::of);
            let known = groups.iter().position(|group| (group.owner, group.since) == (owner, since));
            let at = known.unwrap_or_else(|| {
                groups.push(Group { owner, since, shards: 0 });
                groups.len() - 1
            });
            groups[at].shards += 1;
            cells.push(u32::try_from(at).unwrap());
        }
        super::assign(&cells, &groups, shares, pins).into_iter().map(OwnerIndex::get).collect()
    }

    fn counts(assigned: &[Option<usize>], members: usize) -> Vec<usize> {
        let mut counts = vec![0; members];
        assigned.iter().flatten().for_each(|&owner| counts[owner] += 1);
        counts
    }

    #[test]
    fn nobody_to_own_leaves_all_without_owner() {
        assert_eq!(assign(&[None, None], &[]), [None, None]);
    }

    #[test]
    fn a_balanced_map_stays_as_it_is() {
        let present: Vec<_> = (0..10).map(|s| Some(s % 3)).collect();
        assert_eq!(assign(&present, &equal(3)), present);
    }

    #[test]
    fn a_fourth_member_takes_its_share_and_nothing_else_moves() {
        let present: Vec<_> = (0..12).map(|s| Some(s % 3)).collect();
        let next = assign(&present, &equal(4));
        assert_eq!(counts(&next, 4), [3, 3, 3, 3]);
        let moved: Vec<_> = present.iter().zip(&next).filter(|(a, b)| a != b).map(|(_, to)| to.unwrap()).collect();
        assert_eq!(moved, [3, 3, 3]);
    }

    /// What `shards` come to when all members leave and come back, one after the other: how often each moved.
    fn rolling(shards: usize, members: usize) -> Vec<usize> {
        let shares = equal(members);
        let mut present = assign(&vec![None; shards], &shares);
        let (mut since, mut moves) = (vec![0; shards], vec![0; shards]);
        let mut now = 0;
        for away in 0..members {
            let others: Vec<usize> = (0..members).filter(|&member| member != away).collect();
            for there in [others, (0..members).collect()] {
                let place = |owner: &Option<usize>| there.iter().position(|member| *owner == Some(*member));
                let places: Vec<_> = present.iter().map(place).collect();
                now += 1;
                for (shard, to) in (0..).zip(assign_since(&places, &since, &shares[..there.len()], &[])) {
                    let to = Some(there[to.unwrap()]);
                    if to != present[shard] {
                        (present[shard], since[shard]) = (to, now);
                        moves[shard] += 1;
                    }
                }
            }
        }
        moves
    }

    #[test]
    fn a_member_that_was_away_gets_back_what_it_had() {
        for (shards, members) in [(1_000, 5), (10_000, 5), (12, 3), (60, 6)] {
            assert_eq!(rolling(shards, members), vec![2; shards], "{shards} shards of {members} members");
        }
    }

    #[test]
    fn where_shares_are_unequal_few_shards_move_more_than_there_and_back() {
        for (shards, members) in [(1_001, 5), (10_000, 3), (999, 7)] {
            let often = rolling(shards, members).into_iter().filter(|&moves| moves > 2).count();
            assert!(often <= members * members, "{often} of {shards} shards of {members} members");
        }
    }

    #[test]
    fn what_came_last_goes_first() {
        let gone = |weights: &[u32]| {
            let next = assign_since(&[Some(0); 6], &[3, 9, 5, 9, 1, 9], &shares(weights), &[]);
            (0..6).filter(|&shard| next[shard] != Some(0)).collect::<Vec<_>>()
        };
        assert_eq!(gone(&[2, 1]), [3, 5], "two of three that came at one time");
        assert_eq!(gone(&[1, 1]), [1, 3, 5]);
        assert_eq!(gone(&[1, 2]), [1, 2, 3, 5], "and the one that came before them");
        assert_eq!(gone(&[1, 5]), [0, 1, 2, 3, 5]);
    }

    #[test]
    fn weights_divide_the_shards() {
        let next = assign(&[None; 100], &shares(&[1, 3]));
        assert_eq!(counts(&next, 2), [25, 75]);
    }

    #[test]
    fn pinned_shards_go_where_they_are_pinned_and_the_rest_evens_it_out() {
        let present: Vec<_> = (0..12).map(|s| Some(s / 4)).collect();
        let pins = [Pinned { shards: 0..2, to: 2 }, Pinned { shards: 9..10, to: 0 }];
        let next = assign_pinned(&present, &equal(3), &pins);
        assert_eq!((next[0], next[1], next[9]), (Some(2), Some(2), Some(0)));
        assert_eq!(counts(&next, 3), [4, 4, 4]);
        let moved = present.iter().zip(&next).filter(|(a, b)| a != b).count();
        assert_eq!(moved, 4, "three pinned ones, and one that evens it out");
    }

    #[test]
    fn a_member_with_more_pins_than_its_share_gets_them_and_the_others_share_the_rest() {
        let next = assign_pinned(&[None; 12], &equal(3), &[Pinned { shards: 0..8, to: 1 }]);
        assert_eq!(counts(&next, 3), [2, 8, 2]);
    }

    #[test]
    fn a_full_member_leaves_its_share_to_the_others_and_pins_do_not_overfill_it() {
        let full = [Share { weight: 1, capacity: Some(1) }, equal(1)[0], equal(1)[0]];
        assert_eq!(counts(&assign(&[Some(0); 9], &full), 3), [1, 4, 4]);
        let next = assign_pinned(&[None; 9], &full, &[Pinned { shards: 3..6, to: 0 }]);
        assert_eq!((next[3], counts(&next, 3)), (Some(0), vec![1, 4, 4]));
    }

    #[test]
    fn what_no_capacity_has_room_for_is_spread_by_weight() {
        let small = |weight| Share { weight, capacity: Some(2) };
        assert_eq!(counts(&assign(&[None; 10], &[small(1), small(2)]), 2), [4, 6]);
    }

    proptest! {
        #[test]
        fn pins_and_capacities_hold_with_the_fewest_moves(
            owners in proptest::collection::vec(proptest::option::of(0usize..5), 1..200),
            weights in proptest::collection::vec(1u32..5, 5),
            capacities in proptest::collection::vec(proptest::option::of(0u32..80), 5),
            cuts in proptest::collection::btree_set(0usize..200, 0..6),
            targets in proptest::collection::vec(0usize..5, 6),
        ) {
            let shares: Vec<_> =
                weights.iter().zip(&capacities).map(|(&weight, &capacity)| Share { weight, capacity }).collect();
            let cuts: Vec<_> = cuts.into_iter().filter(|&cut| cut < owners.len()).collect();
            let pins: Vec<_> =
                cuts.chunks_exact(2).zip(&targets).map(|(cut, &to)| Pinned { shards: cut[0]..cut[1], to }).collect();
            let next = assign_pinned(&owners, &shares, &pins);
            prop_assert_eq!(&assign_pinned(&next, &shares, &pins), &next, "nothing moves once it is as it should be");
            let after = counts(&next, 5);
            prop_assert_eq!(after.iter().sum::<usize>(), owners.len());
            let most = |n: usize| capacities[n].map_or(usize::MAX, |most| most as usize);
            let room = (0..5).fold(0usize, |sum, n| sum.saturating_add(most(n)));
            if room >= owners.len() {
                prop_assert!((0..5).all(|n| after[n] <= most(n)), "{after:?} over {capacities:?}");
            }
            // As many of a member's pins as it has capacity for, the lowest first.
            let mut pinned = vec![None; owners.len()];
            let mut fit = [0; 5];
            for (shard, to) in pins.iter().flat_map(|pin| pin.shards.clone().map(|shard| (shard, pin.to))) {
                if fit[to] < most(to) {
                    fit[to] += 1;
                    pinned[shard] = Some(to);
                }
            }
            for (to, next) in pinned.iter().zip(&next).filter(|(to, _)| to.is_some()) {
                prop_assert_eq!(to, next);
            }
            // Of the others, a member loses only what it has too many.
            let free = || (0..owners.len()).filter(|&shard| pinned[shard].is_none());
            for n in 0..5 {
                let had = free().filter(|&shard| owners[shard] == Some(n)).count();
                let lost = free().filter(|&shard| owners[shard] == Some(n) && next[shard] != Some(n)).count();
                prop_assert_eq!(lost, had.saturating_sub(after[n] - fit[n]));
            }
        }

        #[test]
        fn moves_are_minimal_and_quotas_met(
            owners in proptest::collection::vec(proptest::option::of(0usize..7), 0..400),
            weights in proptest::collection::vec(1u32..5, 7),
            since in proptest::collection::vec(0u64..6, 400),
        ) {
            let shares = shares(&weights);
            let next = assign_since(&owners, &since, &shares, &[]);
            let (before, after) = (counts(&owners, 7), counts(&next, 7));
            prop_assert_eq!(after.iter().sum::<usize>(), owners.len());
            let total: u32 = weights.iter().sum();
            for n in 0..7 {
                let exact = owners.len() as f64 * f64::from(weights[n]) / f64::from(total);
                prop_assert!((after[n] as f64 - exact).abs() < 1.0, "{} for {}", after[n], exact);
            }
            // A shard leaves a member only if that member is over its quota.
            for n in 0..7 {
                let had = |shard: &usize| owners[*shard] == Some(n);
                let (left, kept): (Vec<_>, Vec<_>) = (0..owners.len()).filter(had).partition(|&shard| next[shard] != Some(n));
                prop_assert_eq!(left.len(), before[n].saturating_sub(after[n]));
                let (first, last) = (left.iter().map(|&shard| since[shard]).min(), kept.iter().map(|&shard| since[shard]).max());
                prop_assert!(first.zip(last).is_none_or(|(first, last)| first >= last), "older ones went");
            }
        }

        #[test]
        fn the_same_input_gives_the_same_result_and_the_result_stays(
            owners in proptest::collection::vec(proptest::option::of(0usize..6), 0..300),
            weights in proptest::collection::vec(1u32..1_000_000, 6),
        ) {
            let shares = shares(&weights);
            let next = assign(&owners, &shares);
            prop_assert_eq!(&assign(&owners, &shares), &next);
            prop_assert_eq!(&assign(&next, &shares), &next, "nothing moves once the quotas are met");
        }

        #[test]
        fn nobody_with_equal_quotas_moves_fewer_shards(
            owners in proptest::collection::vec(proptest::option::of(0usize..3), 0..8),
            weights in proptest::collection::vec(1u32..4, 3),
        ) {
            let shares = shares(&weights);
            let next = assign(&owners, &shares);
            let moves = |to: &[Option<usize>]| owners.iter().zip(to).filter(|(a, b)| a != b).count();
            let total: u32 = weights.iter().sum();
            let fair = |to: &[Option<usize>]| (0..3).all(|n| {
                let exact = owners.len() as f64 * f64::from(weights[n]) / f64::from(total);
                (counts(to, 3)[n] as f64 - exact).abs() < 1.0
            });
            // Every assignment there is: at most 3^7 of them.
            let all = 3usize.pow(u32::try_from(owners.len()).unwrap());
            for mut code in 0..all {
                let other: Vec<_> = owners.iter().map(|_| { let n = code % 3; code /= 3; Some(n) }).collect();
                prop_assert!(!fair(&other) || moves(&other) >= moves(&next), "{other:?} moves less than {next:?}");
            }
        }

        #[test]
        fn equal_weights_differ_by_at_most_one(
            owners in proptest::collection::vec(proptest::option::of(0usize..5), 1..300),
        ) {
            let after = counts(&assign(&owners, &equal(5)), 5);
            let (low, high) = (after.iter().min().unwrap(), after.iter().max().unwrap());
            prop_assert!(high - low <= 1, "{:?}", after);
        }
    }
}
