//! Who should own what: a pure function with the fewest moves.

/// A member that may own shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Its weight; its quota is proportional to it. Not zero.
    pub weight: u32,
}

/// Assigns every shard to one of `shares`.
///
/// `present[s]` is the index in `shares` of the owner of shard `s`, or `None`
/// if it has none that may keep it. The result keeps a shard where it is unless
/// its owner is over its quota, so the moves are the fewest that reach the
/// quotas. At equal weight the shares differ by at most one shard; otherwise
/// each is within one of its exact quota. The same input gives the same result.
///
/// Time O(shards + members × log members).
///
/// # Panics
/// If an owner index is out of range, or a weight is zero.
pub fn assign(present: &[Option<usize>], shares: &[Share]) -> Vec<Option<usize>> {
    if shares.is_empty() {
        return vec![None; present.len()];
    }
    let quotas = quotas(present, shares);
    let mut room = quotas;
    let mut result = Vec::with_capacity(present.len());
    for owner in present {
        result.push(owner.filter(|&owner| {
            let keeps = room[owner] > 0;
            room[owner] -= usize::from(keeps);
            keeps
        }));
    }
    let mut takers = (0..shares.len()).filter(|&taker| room[taker] > 0).collect::<Vec<_>>().into_iter();
    let mut taker = takers.next();
    for place in result.iter_mut().filter(|place| place.is_none()) {
        let to = taker.expect("the quotas sum up to the shard count");
        *place = Some(to);
        room[to] -= 1;
        if room[to] == 0 {
            taker = takers.next();
        }
    }
    result
}

/// How many shards each member should have: the whole part of its exact share,
/// and of those with a remainder, one more for those that would otherwise lose
/// a shard, then for the largest remainders.
fn quotas(present: &[Option<usize>], shares: &[Share]) -> Vec<usize> {
    let mut held = vec![0usize; shares.len()];
    for &owner in present.iter().flatten() {
        held[owner] += 1;
    }
    let total: u128 = shares.iter().map(|share| u128::from(share.weight)).sum();
    assert!(shares.iter().all(|share| share.weight > 0), "a member without weight is no owner");
    let exact = |share: &Share| present.len() as u128 * u128::from(share.weight);
    let whole = |share: &Share| usize::try_from(exact(share) / total).expect("no more than the shard count");
    let mut quotas: Vec<usize> = shares.iter().map(whole).collect();
    let left = present.len() - quotas.iter().sum::<usize>();
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by_key(|&n| {
        let remainder = exact(&shares[n]) % total;
        (remainder == 0, held[n] <= quotas[n], std::cmp::Reverse(remainder), n)
    });
    for &n in &order[..left] {
        quotas[n] += 1;
    }
    quotas
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn equal(n: usize) -> Vec<Share> {
        vec![Share { weight: 1 }; n]
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

    #[test]
    fn weights_divide_the_shards() {
        let next = assign(&[None; 100], &[Share { weight: 1 }, Share { weight: 3 }]);
        assert_eq!(counts(&next, 2), [25, 75]);
    }

    proptest! {
        #[test]
        fn moves_are_minimal_and_quotas_met(
            owners in proptest::collection::vec(proptest::option::of(0usize..7), 0..400),
            weights in proptest::collection::vec(1u32..5, 7),
        ) {
            let shares: Vec<_> = weights.iter().map(|&weight| Share { weight }).collect();
            let next = assign(&owners, &shares);
            let (before, after) = (counts(&owners, 7), counts(&next, 7));
            prop_assert_eq!(after.iter().sum::<usize>(), owners.len());
            let total: u32 = weights.iter().sum();
            for n in 0..7 {
                let exact = owners.len() as f64 * f64::from(weights[n]) / f64::from(total);
                prop_assert!((after[n] as f64 - exact).abs() < 1.0, "{} for {}", after[n], exact);
            }
            // A shard leaves a member only if that member is over its quota.
            for n in 0..7 {
                let left = owners.iter().zip(&next).filter(|&(a, b)| *a == Some(n) && a != b).count();
                prop_assert_eq!(left, before[n].saturating_sub(after[n]));
            }
        }

        #[test]
        fn the_same_input_gives_the_same_result_and_the_result_stays(
            owners in proptest::collection::vec(proptest::option::of(0usize..6), 0..300),
            weights in proptest::collection::vec(1u32..1_000_000, 6),
        ) {
            let shares: Vec<_> = weights.iter().map(|&weight| Share { weight }).collect();
            let next = assign(&owners, &shares);
            prop_assert_eq!(&assign(&owners, &shares), &next);
            prop_assert_eq!(&assign(&next, &shares), &next, "nothing moves once the quotas are met");
        }

        #[test]
        fn nobody_with_equal_quotas_moves_fewer_shards(
            owners in proptest::collection::vec(proptest::option::of(0usize..3), 0..8),
            weights in proptest::collection::vec(1u32..4, 3),
        ) {
            let shares: Vec<_> = weights.iter().map(|&weight| Share { weight }).collect();
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
