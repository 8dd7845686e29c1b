//! What the leader's rules look at. They change none of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::config::{NodeConfig, Timing};
use crate::evidence::{Evidence, Proof};
use crate::gossip::Gossip;
use crate::id::{BootId, Incarnation, LogIndex, RaftId};
use crate::liveness::Liveness;
use crate::peers::Peers;
use crate::state::{Member, State};
use crate::time::{Timestamp, earliest};

/// A process that has missed this many heartbeats need not live, if something says that it has ended.
pub(crate) const ANSWERS: u32 = 3;

/// The voters, the learners and how far each has come, as Raft has them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quorum {
    /// Voters; in a joint configuration those that it leads to.
    pub(crate) voters: BTreeSet<RaftId>,
    /// Voters that a joint configuration retires.
    pub(crate) outgoing: BTreeSet<RaftId>,
    pub(crate) learners: BTreeSet<RaftId>,
    /// A joint configuration holds.
    pub(crate) is_joint: bool,
    /// A change of voters is in the log and not applied yet.
    pub(crate) change_pending: bool,
    /// The last entry of the leader's log.
    pub(crate) last_index: LogIndex,
    /// The last entry that each voter and learner is known to have.
    pub(crate) matched: BTreeMap<RaftId, LogIndex>,
}

impl Quorum {
    /// Whether this member votes now, or did before the change under way.
    pub(crate) fn has_vote(&self, id: RaftId) -> bool {
        self.voters.contains(&id) || self.outgoing.contains(&id)
    }

    /// Whether Raft replicates to this member, with a vote or without.
    pub(crate) fn tracks(&self, id: RaftId) -> bool {
        self.has_vote(id) || self.learners.contains(&id)
    }
}

/// Everything that a rule of the leader may read.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) now: Timestamp,
    pub(crate) me: Incarnation,
    pub(crate) config: &'a NodeConfig,
    pub(crate) state: &'a State,
    pub(crate) quorum: Quorum,
    /// Since when the oldest write waits for the disk.
    pub(crate) oldest_write: Option<Timestamp>,
    pub(crate) leases: &'a Liveness,
    pub(crate) peers: &'a Peers,
    pub(crate) evidence: &'a Evidence,
    pub(crate) gossip: &'a Gossip,
}

impl Facts<'_> {
    pub(crate) fn timing(&self) -> &Timing {
        &self.config.timing
    }

    /// The applied table lists this process as up.
    pub(crate) fn is_up(&self, who: Incarnation) -> bool {
        self.state.members.is_up(who.id, who.boot)
    }

    /// The processes that the applied table lists as up.
    pub(crate) fn up(&self) -> impl Iterator<Item = Incarnation> + '_ {
        self.state.members.iter().filter_map(|member| Some(Incarnation { id: member.id, boot: member.boot? }))
    }

    /// This node as the applied table lists it, if it lists this process.
    pub(crate) fn own(&self) -> Option<&Member> {
        self.state.members.get(self.me.id).filter(|own| own.boot == Some(self.me.boot))
    }

    fn proof_of_end(&self, who: Incarnation) -> Option<Proof> {
        let own = who.id == self.me.id && self.config.former_boots.contains(&who.boot);
        let proof = self.evidence.endings.proof(who).filter(|proof| *proof == Proof::Said || !self.answers(who));
        proof.or(own.then_some(Proof::Lock))
    }

    /// Whether this process answers heartbeats and its stream stands: then it runs, though another one holds the lock
    /// of a data directory with its id. A directory that was copied has two locks.
    pub(crate) fn answers(&self, who: Incarnation) -> bool {
        if !self.peers.is_reached(who) {
            return false;
        }
        let last_seen = self.leases.last_seen(who.id).filter(|_| self.is_up(who));
        last_seen.is_some_and(|seen| self.now < seen + self.timing().liveness_interval * ANSWERS)
    }

    /// Whether nothing that this process was granted counts any more.
    pub(crate) fn has_ended(&self, who: Incarnation) -> bool {
        self.proof_of_end(who).is_some()
    }

    /// Whether its shards may be given out for that. Those of a node that is coming back wait for it, and for
    /// their leases at the longest: they would go elsewhere and come back.
    pub(crate) fn is_to_be_replaced(&self, who: Incarnation) -> bool {
        let up = self.state.members.get(who.id).and_then(|member| member.boot);
        self.proof_of_end(who).is_some_and(|proof| proof == Proof::Said || up.is_some_and(|boot| boot != who.boot))
    }

    /// Whether this process counts as dead by what the voters found.
    pub(crate) fn is_dead_by_evidence(&self, who: Incarnation) -> bool {
        self.dead_by_evidence_at(who).is_some_and(|at| self.now >= at)
    }

    /// When it does, if it is not heard before.
    fn dead_by_evidence_at(&self, who: Incarnation) -> Option<Timestamp> {
        if !self.evidence.convinces(who, [&self.quorum.voters, &self.quorum.outgoing]) {
            return None;
        }
        Some(self.leases.last_seen(who.id)? + self.evidence_pause())
    }

    /// One heartbeat missed, and half of the next interval: a live process would have answered.
    fn evidence_pause(&self) -> Duration {
        self.timing().liveness_interval * 3 / 2
    }

    /// When the evidence must be looked at again.
    pub(crate) fn evidence_due(&self) -> Option<Timestamp> {
        let due = self.up().filter_map(|who| self.dead_by_evidence_at(who)).filter(|&at| at > self.now);
        due.fold(None, |first, at| earliest(first, Some(at)))
    }

    /// The end of the last lease that this process may hold by a grant of any leader.
    pub(crate) fn lease_end(&self, who: Incarnation) -> Timestamp {
        self.leases.inherited_until().max(self.leases.grant_end(who.id, who.boot))
    }

    /// The boot of that node that said hello last, or that gossip shows under this name.
    pub(crate) fn shown_boot(&self, member: &Member) -> Option<BootId> {
        let shown = || BootId::new(u64::from_str_radix(self.gossip.tag(&member.name, "funk.boot")?, 16).ok()?);
        self.peers.boot(member.id).or_else(shown)
    }
}
