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

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Node;
use crate::error::Misbehaviour;
use crate::id::{BootId, Incarnation, RaftId};
use crate::limits::RAFT_MEMBERS_MAX;
use crate::mutate::{Mutant, planted};
use crate::time::{Timestamp, earliest};
use crate::wire::cluster::{BootName, FrameBody};

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
pub(super) struct Evidence {
    /// The boot of each peer of which this node found evidence last.
    found: BTreeMap<RaftId, BootId>,
    /// Peers that refuse this node now.
    refusing: BTreeSet<RaftId>,
    cases: BTreeMap<RaftId, Case>,
}

impl Evidence {
    /// This node was refused.
    fn meet_refusal(&mut self, by: RaftId) {
        if self.refusing.len() < RAFT_MEMBERS_MAX {
            self.refusing.insert(by);
        }
    }

    /// This node holds that boot for ended. False if it has said so before.
    fn find(&mut self, ended: Incarnation) -> bool {
        let room = self.found.len() < RAFT_MEMBERS_MAX || self.found.contains_key(&ended.id);
        room && self.found.insert(ended.id, ended.boot) != Some(ended.boot)
    }

    /// A peer said hello.
    pub(super) fn peer_is_back(&mut self, id: RaftId) {
        self.refusing.remove(&id);
    }

    /// Refused by more than half of its peers a node is more likely to be cut
    /// off itself than to outlive so many: what it finds proves nothing then.
    fn is_cut_off(&self, up: &BTreeSet<RaftId>) -> bool {
        let refusing = self.refusing.intersection(up).count();
        refusing >= CUT_OFF_MIN && refusing * 2 > up.len()
    }

    fn hear(&mut self, now: Timestamp, witness: RaftId, ended: Incarnation) {
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
    pub(super) fn refute(&mut self, lives: Incarnation, sent: Timestamp) {
        if let Some(case) = self.cases.get_mut(&lives.id) {
            case.void |= case.boot == lives.boot && sent > case.since;
        }
    }

    /// That boot was declared dead: if it was wrong and is let in again, the case is closed.
    pub(super) fn close_case(&mut self, dead: Incarnation) {
        if let Some(case) = self.cases.get_mut(&dead.id) {
            case.void |= case.boot == dead.boot;
        }
    }

    /// Whether a majority of each of these sets of voters was refused in place of that boot.
    fn convinces(&self, ended: Incarnation, voters: &[BTreeSet<RaftId>; 2]) -> bool {
        let Some(case) = self.cases.get(&ended.id) else { return false };
        let holds = case.boot == ended.boot && !case.void || planted(Mutant::EvidenceOfAnyBoot);
        let majority =
            |half: &BTreeSet<RaftId>| half.is_empty() || half.intersection(&case.witnesses).count() * 2 > half.len();
        holds && voters.iter().all(majority)
    }

    /// A new leader hears everybody anew.
    pub(super) fn forget_cases(&mut self) {
        self.cases.clear();
    }
}

impl Node {
    /// The streams of that boot broke, and where it listened this node is refused.
    pub(super) fn handle_gone(&mut self, now: Timestamp, ended: Incarnation) {
        let Some(state) = &self.state else { return };
        // Those who are known to be dead refuse for that reason.
        let up = state.members.iter().filter(|member| member.boot.is_some() && member.id != self.me.id);
        let up: BTreeSet<RaftId> = up.map(|member| member.id).collect();
        if !state.members.is_up(ended.id, ended.boot) {
            return;
        }
        self.evidence.meet_refusal(ended.id);
        if self.evidence.is_cut_off(&up) {
            tracing::warn!("most members refuse this node: it takes itself for cut off");
            return;
        }
        if !self.evidence.find(ended) {
            return;
        }
        tracing::debug!(peer = %ended.id, "a member's streams broke, and it refuses to be dialled");
        if self.consensus.leader() == Some(ended.id) {
            self.liveness.given_up(now, ended.id);
            self.give_up_leader(now, ended.id);
        } else {
            self.bear_witness(now, ended);
        }
    }

    fn bear_witness(&mut self, now: Timestamp, ended: Incarnation) {
        if self.leading.is_some() {
            self.take_evidence(now, self.me.id, ended);
        } else if let Some(leader) = self.consensus.leader().filter(|&leader| leader != ended.id) {
            self.peers.send(now, leader, FrameBody::Gone(ended.into()));
        }
    }

    /// There is another leader: it is to know what its predecessor was told, and of its predecessor.
    pub(super) fn bear_witness_again(&mut self, now: Timestamp) {
        let Some(state) = &self.state else { return };
        let owner = |(&id, &boot): (&RaftId, &BootId)| Incarnation { id, boot };
        let stands =
            |gone: &Incarnation| state.members.is_up(gone.id, gone.boot) && self.evidence.refusing.contains(&gone.id);
        let found: Vec<Incarnation> = self.evidence.found.iter().map(owner).filter(stands).collect();
        for gone in found {
            self.bear_witness(now, gone);
        }
    }

    pub(super) fn handle_witness(&mut self, now: Timestamp, from: RaftId, name: BootName) -> Result<(), Misbehaviour> {
        const WHAT: Misbehaviour = Misbehaviour::Malformed("evidence");
        let ended = Incarnation::named(name).filter(|ended| ended.id != from).ok_or(WHAT)?;
        self.take_evidence(now, from, ended);
        Ok(())
    }

    fn take_evidence(&mut self, now: Timestamp, witness: RaftId, ended: Incarnation) {
        let Some(state) = &self.state else { return };
        let Some(leading) = &mut self.leading else { return };
        if ended.id != self.me.id && state.members.is_up(ended.id, ended.boot) {
            self.evidence.hear(now, witness, ended);
            leading.wake();
        }
    }

    /// Whether that boot counts as dead by what the voters found.
    pub(super) fn is_dead_by_evidence(&self, now: Timestamp, boot: Incarnation) -> bool {
        self.dead_by_evidence_at(boot).is_some_and(|at| now >= at)
    }

    /// When it does, if it is not heard before.
    fn dead_by_evidence_at(&self, boot: Incarnation) -> Option<Timestamp> {
        let voters = [self.consensus.voters(), self.consensus.outgoing_voters()];
        if !self.evidence.convinces(boot, &voters) {
            return None;
        }
        Some(self.liveness.last_seen(boot.id)? + self.evidence_pause())
    }

    /// One heartbeat missed, and half of the next interval: a live process would have answered.
    fn evidence_pause(&self) -> Duration {
        self.config.timing.liveness_interval * 3 / 2
    }

    /// When the leader is to look at the evidence again.
    pub(super) fn evidence_due(&self, now: Timestamp) -> Option<Timestamp> {
        let up = self.state.iter().flat_map(|state| state.members.iter());
        let boots = up.filter_map(|member| Some(Incarnation { id: member.id, boot: member.boot? }));
        let due = boots.filter_map(|boot| self.dead_by_evidence_at(boot)).filter(|&at| at > now);
        due.fold(None, |first, at| earliest(first, Some(at)))
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

    fn voters() -> [BTreeSet<RaftId>; 2] {
        [(1..=3).map(id).collect(), BTreeSet::new()]
    }

    #[test]
    fn a_majority_of_voters_convinces_of_the_boot_that_they_name() {
        let mut evidence = Evidence::default();
        evidence.hear(at(5), id(1), owner(4, 40));
        evidence.hear(at(5), id(1), owner(4, 40));
        evidence.hear(at(5), id(9), owner(4, 40));
        assert!(!evidence.convinces(owner(4, 40), &voters()), "one voter, twice, and one that does not vote");
        evidence.hear(at(6), id(3), owner(4, 40));
        assert!(evidence.convinces(owner(4, 40), &voters()));
        assert!(!evidence.convinces(owner(4, 41), &voters()), "of another boot nothing was said");
        let joint = [(1..=3).map(id).collect(), [1, 5, 6].map(id).into()];
        assert!(!evidence.convinces(owner(4, 40), &joint), "a half of a joint configuration does not say so");
        evidence.hear(at(7), id(1), owner(4, 41));
        assert!(!evidence.convinces(owner(4, 41), &voters()), "who spoke of the former boot said nothing of the next");
    }

    #[test]
    fn an_answer_to_a_later_heartbeat_makes_evidence_void_for_good() {
        let mut evidence = Evidence::default();
        evidence.hear(at(5), id(1), owner(4, 40));
        evidence.refute(owner(4, 40), at(4));
        evidence.refute(owner(4, 39), at(9));
        evidence.hear(at(6), id(3), owner(4, 40));
        assert!(evidence.convinces(owner(4, 40), &voters()), "an answer that was on its way, and another boot's");
        evidence.refute(owner(4, 40), at(7));
        evidence.hear(at(8), id(2), owner(4, 40));
        assert!(!evidence.convinces(owner(4, 40), &voters()));
    }

    #[test]
    fn a_node_says_so_once_of_a_boot_and_nothing_when_most_refuse_it() {
        let mut evidence = Evidence::default();
        assert!(evidence.find(owner(4, 40)) && !evidence.find(owner(4, 40)) && evidence.find(owner(4, 41)));
        let up = |ids: std::ops::RangeInclusive<u64>| ids.map(id).collect::<BTreeSet<_>>();
        evidence.meet_refusal(id(4));
        assert!(!evidence.is_cut_off(&up(4..=4)), "one peer says nothing of this node");
        evidence.meet_refusal(id(5));
        assert!(evidence.is_cut_off(&up(3..=5)) && !evidence.is_cut_off(&up(2..=5)));
        assert!(!evidence.is_cut_off(&up(5..=7)), "one of the two is dead, and known to be");
        evidence.peer_is_back(id(4));
        assert!(!evidence.is_cut_off(&up(3..=5)));
    }
}
