//! Which members vote: always an odd number, as many of the target as there
//! are members for, the dead replaced where there is a spare.

use std::collections::BTreeSet;

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
/// except that five go to three when two of them are dead. One of a zone with
/// more voters than it need have makes way for a spare of another, but not `leader`.
pub(super) fn choose(candidates: &[Candidate], present: &BTreeSet<RaftId>, leader: RaftId) -> BTreeSet<RaftId> {
    let fit: Vec<&Candidate> = candidates.iter().filter(|candidate| candidate.fit).collect();
    let dead = candidates.iter().filter(|candidate| candidate.dead && present.contains(&candidate.id));
    let dead: Vec<RaftId> = dead.map(|candidate| candidate.id).collect();
    let mut target = odd_at_most((fit.len() + dead.len()).min(VOTERS_TARGET));
    if target == VOTERS_TARGET && dead.len() >= 2 && fit.len() <= 3 {
        target = odd_at_most(fit.len());
    }
    let mut chosen = Vec::<&Candidate>::new();
    let mut rest = fit;
    while chosen.len() < target && !rest.is_empty() {
        let best = rest.iter().enumerate().min_by_key(|(_, candidate)| {
            (!present.contains(&candidate.id), crowd(&chosen, &candidate.zone), candidate.id)
        });
        let at = best.expect("not empty").0;
        chosen.push(rest.swap_remove(at));
    }
    spread(&mut chosen, rest, leader);
    let mut voters: BTreeSet<RaftId> = chosen.iter().map(|candidate| candidate.id).collect();
    let missing = target.saturating_sub(voters.len());
    voters.extend(dead.into_iter().take(missing));
    voters
}

/// How many of these a zone has. Those of no zone are in each other's way nowhere.
fn crowd(chosen: &[&Candidate], zone: &str) -> usize {
    if zone.is_empty() { 0 } else { chosen.iter().filter(|candidate| candidate.zone == zone).count() }
}

/// Replaces voters of the fullest zones by spares of emptier ones. Each step
/// makes two zones more even, so the result is a choice that stays.
fn spread<'a>(chosen: &mut [&'a Candidate], mut spares: Vec<&'a Candidate>, leader: RaftId) {
    loop {
        let emptiest = spares
            .iter()
            .enumerate()
            .filter(|(_, spare)| !spare.zone.is_empty())
            .min_by_key(|(_, spare)| (crowd(chosen, &spare.zone), spare.id));
        let fullest = chosen
            .iter()
            .enumerate()
            .filter(|(_, voter)| voter.id != leader)
            .max_by_key(|(_, voter)| (crowd(chosen, &voter.zone), voter.id));
        let (Some((spare_at, spare)), Some((voter_at, voter))) = (emptiest, fullest) else { return };
        if crowd(chosen, &voter.zone) < crowd(chosen, &spare.zone) + 2 {
            return;
        }
        std::mem::swap(&mut chosen[voter_at], &mut spares[spare_at]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(list: &[u64]) -> BTreeSet<RaftId> {
        list.iter().map(|&n| RaftId::new(n).unwrap()).collect()
    }

    /// Zero: whoever is no candidate.
    fn id(n: u64) -> RaftId {
        RaftId::new(n).unwrap_or(RaftId::new(99).unwrap())
    }

    fn candidates(fit: &[u64], dead: &[u64]) -> Vec<Candidate> {
        let one = |n: u64, fit| Candidate { id: RaftId::new(n).unwrap(), zone: String::new(), fit, dead: !fit };
        fit.iter().map(|&n| one(n, true)).chain(dead.iter().map(|&n| one(n, false))).collect()
    }

    #[test]
    fn the_number_is_odd_and_at_most_five() {
        for (members, voters) in [(1, 1), (2, 1), (3, 3), (4, 3), (5, 5), (6, 5), (12, 5)] {
            let fit: Vec<u64> = (1..=members).collect();
            assert_eq!(choose(&candidates(&fit, &[]), &ids(&[1]), id(0)).len(), voters, "{members} members");
        }
    }

    #[test]
    fn present_voters_stay() {
        assert_eq!(
            choose(&candidates(&[1, 2, 3, 4, 5, 6, 7], &[]), &ids(&[3, 4, 5, 6, 7]), id(0)),
            ids(&[3, 4, 5, 6, 7])
        );
    }

    #[test]
    fn a_dead_voter_is_replaced_by_a_spare_and_stays_without_one() {
        assert_eq!(choose(&candidates(&[1, 2, 4], &[3]), &ids(&[1, 2, 3]), id(0)), ids(&[1, 2, 4]));
        assert_eq!(choose(&candidates(&[1, 2], &[3]), &ids(&[1, 2, 3]), id(0)), ids(&[1, 2, 3]));
        assert_eq!(choose(&candidates(&[1, 2, 3, 4], &[5]), &ids(&[1, 2, 3, 4, 5]), id(0)), ids(&[1, 2, 3, 4, 5]));
    }

    #[test]
    fn five_go_to_three_when_two_are_dead() {
        assert_eq!(choose(&candidates(&[1, 2, 3], &[4, 5]), &ids(&[1, 2, 3, 4, 5]), id(0)), ids(&[1, 2, 3]));
    }

    #[test]
    fn those_who_leave_are_not_waited_for() {
        assert_eq!(choose(&candidates(&[1, 2], &[]), &ids(&[1, 2, 3]), id(0)), ids(&[1]));
        assert_eq!(choose(&candidates(&[2], &[]), &ids(&[1]), id(0)), ids(&[2]));
    }

    #[test]
    fn zones_come_first_among_the_spares() {
        let zoned =
            |n: u64, zone: &str| Candidate { id: RaftId::new(n).unwrap(), zone: zone.into(), fit: true, dead: false };
        let all = [zoned(1, "a"), zoned(2, "a"), zoned(3, "a"), zoned(4, "b"), zoned(5, "c"), zoned(6, "a")];
        assert_eq!(choose(&all[..4], &ids(&[1]), id(0)), ids(&[1, 2, 4]));
        assert!(choose(&all, &ids(&[1]), id(0)).is_superset(&ids(&[1, 4, 5])));
    }

    #[test]
    fn no_zone_keeps_a_majority_of_the_voters_while_another_has_a_spare() {
        let zoned =
            |n: u64, zone: &str| Candidate { id: RaftId::new(n).unwrap(), zone: zone.into(), fit: true, dead: false };
        let all: Vec<Candidate> =
            (1..).zip(["a", "a", "a", "b", "b", "b", "c", "c", "c"]).map(|(n, z)| zoned(n, z)).collect();
        let chosen = choose(&all, &ids(&[1, 2, 3, 4, 5]), id(3));
        assert_eq!(chosen, ids(&[1, 3, 4, 5, 7]), "the last of the fullest zone makes way, and not the leader");
        assert_eq!(choose(&all, &chosen, id(3)), chosen, "and that is the end of it");
        let leader_alone = [zoned(1, "a"), zoned(2, "a"), zoned(3, "b")];
        assert_eq!(choose(&leader_alone, &ids(&[1, 2, 3]), id(1)), ids(&[1, 2, 3]));
    }
}
