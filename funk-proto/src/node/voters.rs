//! Which members vote: always an odd number, as many of the target as there
//! are members for, the dead replaced where there is a spare.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::RaftId;

/// Voters that a cluster with members enough has.
const VOTERS_TARGET: usize = 5;

/// A member as the choice of voters sees it.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) id: RaftId,
    pub(super) zone: String,
    /// Up, heard, caught up, not leaving, allowed to vote.
    pub(super) fit: bool,
    /// Dead, but nobody asked it to leave: it counts until it is replaced.
    pub(super) dead: bool,
}

fn odd_at_most(n: usize) -> usize {
    if n == 0 { 0 } else { n - (n + 1) % 2 }
}

/// The voters that there should be, given the present ones. Never empty if a
/// candidate is fit. A dead voter stays until a fit member can take its place,
/// except that five go to three when two of them are dead.
pub(super) fn choose(candidates: &[Candidate], present: &BTreeSet<RaftId>) -> BTreeSet<RaftId> {
    let fit: Vec<&Candidate> = candidates.iter().filter(|candidate| candidate.fit).collect();
    let dead = candidates.iter().filter(|candidate| candidate.dead && present.contains(&candidate.id));
    let dead: Vec<RaftId> = dead.map(|candidate| candidate.id).collect();
    let mut target = odd_at_most((fit.len() + dead.len()).min(VOTERS_TARGET));
    if target == VOTERS_TARGET && dead.len() >= 2 && fit.len() <= 3 {
        target = odd_at_most(fit.len());
    }
    let mut chosen = BTreeSet::new();
    let mut zones = BTreeMap::<&str, usize>::new();
    let mut rest = fit;
    while chosen.len() < target && !rest.is_empty() {
        let best = rest.iter().enumerate().min_by_key(|(_, candidate)| {
            let crowded = zones.get(candidate.zone.as_str()).copied().unwrap_or(0);
            let crowded = if candidate.zone.is_empty() { 0 } else { crowded };
            (!present.contains(&candidate.id), crowded, candidate.id)
        });
        let at = best.expect("not empty").0;
        let candidate = rest.swap_remove(at);
        *zones.entry(&candidate.zone).or_default() += 1;
        chosen.insert(candidate.id);
    }
    let missing = target.saturating_sub(chosen.len());
    chosen.extend(dead.into_iter().take(missing));
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(list: &[u64]) -> BTreeSet<RaftId> {
        list.iter().map(|&n| RaftId::new(n).unwrap()).collect()
    }

    fn candidates(fit: &[u64], dead: &[u64]) -> Vec<Candidate> {
        let one = |n: u64, fit| Candidate { id: RaftId::new(n).unwrap(), zone: String::new(), fit, dead: !fit };
        fit.iter().map(|&n| one(n, true)).chain(dead.iter().map(|&n| one(n, false))).collect()
    }

    #[test]
    fn the_number_is_odd_and_at_most_five() {
        for (members, voters) in [(1, 1), (2, 1), (3, 3), (4, 3), (5, 5), (6, 5), (12, 5)] {
            let fit: Vec<u64> = (1..=members).collect();
            assert_eq!(choose(&candidates(&fit, &[]), &ids(&[1])).len(), voters, "{members} members");
        }
    }

    #[test]
    fn present_voters_stay() {
        assert_eq!(choose(&candidates(&[1, 2, 3, 4, 5, 6, 7], &[]), &ids(&[3, 4, 5, 6, 7])), ids(&[3, 4, 5, 6, 7]));
    }

    #[test]
    fn a_dead_voter_is_replaced_by_a_spare_and_stays_without_one() {
        assert_eq!(choose(&candidates(&[1, 2, 4], &[3]), &ids(&[1, 2, 3])), ids(&[1, 2, 4]));
        assert_eq!(choose(&candidates(&[1, 2], &[3]), &ids(&[1, 2, 3])), ids(&[1, 2, 3]));
        assert_eq!(choose(&candidates(&[1, 2, 3, 4], &[5]), &ids(&[1, 2, 3, 4, 5])), ids(&[1, 2, 3, 4, 5]));
    }

    #[test]
    fn five_go_to_three_when_two_are_dead() {
        assert_eq!(choose(&candidates(&[1, 2, 3], &[4, 5]), &ids(&[1, 2, 3, 4, 5])), ids(&[1, 2, 3]));
    }

    #[test]
    fn those_who_leave_are_not_waited_for() {
        assert_eq!(choose(&candidates(&[1, 2], &[]), &ids(&[1, 2, 3])), ids(&[1]));
        assert_eq!(choose(&candidates(&[2], &[]), &ids(&[1])), ids(&[2]));
    }

    #[test]
    fn zones_come_first_among_the_spares() {
        let zoned =
            |n: u64, zone: &str| Candidate { id: RaftId::new(n).unwrap(), zone: zone.into(), fit: true, dead: false };
        let all = [zoned(1, "a"), zoned(2, "a"), zoned(3, "a"), zoned(4, "b"), zoned(5, "c"), zoned(6, "a")];
        assert_eq!(choose(&all[..4], &ids(&[1])), ids(&[1, 2, 4]));
        assert!(choose(&all, &ids(&[1])).is_superset(&ids(&[1, 4, 5])));
    }
}
