//! Evidence that a process has ended, before its silence is long enough.
//!
//! A node whose streams of one boot broke, and that is refused where that boot
//! listened, says so to the leader, once for that boot. When a majority of the
//! voters say it, and the boot has missed a heartbeat since, the leader
//! declares it dead. If it answers one that was sent since, the evidence was
//! wrong and is void for good; silence decides.
//!
//! For a leader nothing need be counted: each voter that has such evidence of
//! its own forgets it, and those who did elect another if they are a majority.
//!
//! Evidence decides whether to take a shard, never how soon: the process may live
//! behind a closed listener, and serve as long as its lease. Only where a store
//! fences it need not be waited for.

mod endings;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use endings::{Endings, Proof};

use crate::id::{BootId, Incarnation, RaftId};
use crate::limits::RAFT_MEMBERS_MAX;
use crate::mutate::{Mutant, planted};
use crate::time::Timestamp;

/// Peers that must have refused a node before it takes itself for cut off.
const CUT_OFF_MIN: usize = 2;

/// What was said of one boot, to a leader.
#[derive(Debug)]
struct Case {
    boot: BootId,
    since: Timestamp,
    witnesses: BTreeSet<RaftId>,
    /// It answered since.
    void: bool,
}

/// What this node found by itself, and what it heard as leader.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// The processes that are known to have ended.
    pub(crate) endings: Endings,
    /// The boot of each peer of which this node found evidence last.
    found: BTreeMap<RaftId, BootId>,
    /// Peers that refuse this node now.
    refusing: BTreeSet<RaftId>,
    cases: BTreeMap<RaftId, Case>,
}

impl Evidence {
    /// This node was refused.
    pub(crate) fn note_refusal(&mut self, by: RaftId) {
        if self.refusing.len() < RAFT_MEMBERS_MAX {
            self.refusing.insert(by);
        }
    }

    /// This node considers that boot ended. False if it has said so before.
    pub(crate) fn find(&mut self, ended: Incarnation) -> bool {
        let room = self.found.len() < RAFT_MEMBERS_MAX || self.found.contains_key(&ended.id);
        room && self.found.insert(ended.id, ended.boot) != Some(ended.boot)
    }

    /// Whether that boot has said that it ends: whatever else comes from it was on its way longer.
    pub(crate) fn is_late_word(&self, from: Incarnation) -> bool {
        self.endings.proof(from) == Some(Proof::Said) && !planted(Mutant::LateWordsBelieved)
    }

    /// A peer said hello.
    pub(crate) fn forget_refusal(&mut self, id: RaftId) {
        self.refusing.remove(&id);
    }

    /// Refused by more than half of its peers a node is more likely to be cut
    /// off itself than to outlive so many: what it finds proves nothing then.
    pub(crate) fn is_cut_off(&self, up: &BTreeSet<RaftId>) -> bool {
        let refusing = self.refusing.intersection(up).count();
        refusing >= CUT_OFF_MIN && refusing * 2 > up.len()
    }

    pub(crate) fn hear(&mut self, now: Timestamp, witness: RaftId, ended: Incarnation) {
        if self.cases.len() >= RAFT_MEMBERS_MAX && !self.cases.contains_key(&ended.id) {
            return;
        }
        let new = || Case { boot: ended.boot, since: now, witnesses: BTreeSet::new(), void: false };
        let case = self.cases.entry(ended.id).or_insert_with(new);
        if case.boot != ended.boot {
            *case = new();
        }
        if case.witnesses.len() < RAFT_MEMBERS_MAX {
            case.witnesses.insert(witness);
        }
    }

    /// That boot answered a heartbeat that was sent at this time.
    pub(crate) fn refute(&mut self, lives: Incarnation, sent: Timestamp) {
        self.endings.refute(lives);
        if let Some(case) = self.cases.get_mut(&lives.id) {
            case.void |= case.boot == lives.boot && sent > case.since;
        }
    }

    /// That boot was declared dead: if it was wrong and is let in again, the case is closed.
    pub(crate) fn close_case(&mut self, dead: Incarnation) {
        if let Some(case) = self.cases.get_mut(&dead.id) {
            case.void |= case.boot == dead.boot;
        }
    }

    /// Whether a majority of each of these sets of voters was refused in place of that boot.
    pub(crate) fn convinces(&self, ended: Incarnation, voters: [&BTreeSet<RaftId>; 2]) -> bool {
        let Some(case) = self.cases.get(&ended.id) else { return false };
        let holds = case.boot == ended.boot && !case.void || planted(Mutant::EvidenceOfAnyBoot);
        let majority =
            |half: &BTreeSet<RaftId>| half.is_empty() || half.intersection(&case.witnesses).count() * 2 > half.len();
        holds && voters.into_iter().all(majority)
    }

    /// The processes that this node found to have ended and that refuse it still.
    pub(crate) fn standing(&self) -> impl Iterator<Item = Incarnation> + '_ {
        let found = self.found.iter().map(|(&id, &boot)| Incarnation { id, boot });
        found.filter(|gone| self.refusing.contains(&gone.id))
    }

    /// A new leader hears everybody anew.
    pub(crate) fn forget_cases(&mut self) {
        self.cases.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> RaftId {
        RaftId::new(n).unwrap()
    }

    fn owner(n: u64, boot: u64) -> Incarnation {
        Incarnation { id: id(n), boot: BootId::new(boot).unwrap() }
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn convinces(evidence: &Evidence, ended: Incarnation) -> bool {
        evidence.convinces(ended, [&(1..=3).map(id).collect(), &BTreeSet::new()])
    }

    #[test]
    fn a_majority_of_voters_convinces_of_the_boot_that_they_name() {
        let mut evidence = Evidence::default();
        evidence.hear(at(5), id(1), owner(4, 40));
        evidence.hear(at(5), id(1), owner(4, 40));
        evidence.hear(at(5), id(9), owner(4, 40));
        assert!(!convinces(&evidence, owner(4, 40)), "one voter, twice, and one that does not vote");
        evidence.hear(at(6), id(3), owner(4, 40));
        assert!(convinces(&evidence, owner(4, 40)));
        assert!(!convinces(&evidence, owner(4, 41)), "of another boot nothing was said");
        let joint = [&(1..=3).map(id).collect(), &[1, 5, 6].map(id).into()];
        assert!(!evidence.convinces(owner(4, 40), joint), "a half of a joint configuration does not say so");
        evidence.hear(at(7), id(1), owner(4, 41));
        assert!(!convinces(&evidence, owner(4, 41)), "who spoke of the former boot said nothing of the next");
    }

    #[test]
    fn an_answer_to_a_later_heartbeat_makes_evidence_void_for_good() {
        let mut evidence = Evidence::default();
        evidence.hear(at(5), id(1), owner(4, 40));
        evidence.refute(owner(4, 40), at(4));
        evidence.refute(owner(4, 39), at(9));
        evidence.hear(at(6), id(3), owner(4, 40));
        assert!(convinces(&evidence, owner(4, 40)), "an answer that was on its way, and another boot's");
        evidence.refute(owner(4, 40), at(7));
        evidence.hear(at(8), id(2), owner(4, 40));
        assert!(!convinces(&evidence, owner(4, 40)));
    }

    #[test]
    fn a_node_says_so_once_of_a_boot_and_nothing_when_most_refuse_it() {
        let mut evidence = Evidence::default();
        assert!(evidence.find(owner(4, 40)) && !evidence.find(owner(4, 40)) && evidence.find(owner(4, 41)));
        let up = |ids: std::ops::RangeInclusive<u64>| ids.map(id).collect::<BTreeSet<_>>();
        evidence.note_refusal(id(4));
        assert!(!evidence.is_cut_off(&up(4..=4)), "one peer says nothing of this node");
        evidence.note_refusal(id(5));
        assert!(evidence.is_cut_off(&up(3..=5)) && !evidence.is_cut_off(&up(2..=5)));
        assert!(!evidence.is_cut_off(&up(5..=7)), "one of the two is dead, and known to be");
        evidence.forget_refusal(id(4));
        assert!(!evidence.is_cut_off(&up(3..=5)));
    }
}
