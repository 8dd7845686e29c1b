//! How a survivor goes on when more than half of the voters are lost for good.
//!
//! | phase | what the node does |
//! |---|---|
//! | look round | looks for a leader, and for a majority of the voters: with either there is nothing to recover |
//! | state | keeps its whole log, since nobody can say which entries were committed, and asks the application for its state |
//! | beginning | is the only voter of the next generation, whose log begins with that state |
//!
//! The next generation is another cluster, with an id of its own: nodes of the
//! former one are refused, whatever they hold. Its log begins
//! [`GENERATION_INDEXES`] later, so that each shard's next epoch is above all
//! that the former one ever granted: a store that compares epochs refuses a
//! survivor of the other side, should the majority not have been lost at all.

use std::time::Duration;

use bytes::Bytes;

use super::Node;
use crate::config::Participation;
use crate::error::OperationRefused;
use crate::event::{Event, Outcome};
use crate::id::{ClusterId, LogIndex, RaftId};
use crate::io::Output;
use crate::limits::{GENERATION_INDEXES, RECOVERY_PROBE};
use crate::node::apply;
use crate::request::RequestId;
use crate::rng::{Rng, Seed};
use crate::state::Member;
use crate::time::Timestamp;

/// A recovery under way.
#[derive(Debug)]
pub(super) struct Recovery {
    request: RequestId,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Probe {
        until: Timestamp,
    },
    /// The application's state at this index is asked for.
    State {
        index: LogIndex,
    },
    Beginning,
}

/// The cluster's generations, as far as this node begins them: the first by a bootstrap, others by a recovery.
#[derive(Debug)]
pub(super) struct Generations {
    /// What consensus of each generation is seeded with.
    pub(super) seed: Seed,
    /// Where cluster ids are drawn from.
    pub(super) ids: Rng,
    recovery: Option<Recovery>,
    /// The look round is over, and nobody has acted on it.
    probe_is_over: bool,
}

impl Generations {
    pub(super) fn new(seed: Seed, ids: Rng) -> Self {
        Self { seed, ids, recovery: None, probe_is_over: false }
    }

    /// Nobody can have answered while this process did not run.
    pub(super) fn handle_clock_gap(&mut self, gap: Duration) {
        if let Some(Recovery { phase: Phase::Probe { until }, .. }) = &mut self.recovery {
            *until = *until + gap;
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Timestamp) {
        self.probe_is_over = self.poll_timeout().is_some_and(|at| now >= at);
    }

    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        match self.recovery.as_ref()?.phase {
            Phase::Probe { until } => Some(until),
            Phase::State { .. } | Phase::Beginning => None,
        }
    }

    /// Whether a look round has ended; once.
    pub(super) fn poll_probe_is_over(&mut self) -> bool {
        std::mem::take(&mut self.probe_is_over)
    }
}

impl Node {
    /// Begins to look round; a refusal ends the request at once.
    pub(super) fn begin_recovery(&mut self, now: Timestamp, request: RequestId) {
        if let Some(why) = self.no_survivor().or_else(|| self.who_leads()) {
            self.refuse_recovery(request, why);
            return;
        }
        // A lease that was granted just before is over by the end of it, on any clock; this node may not know how long
        // it was.
        let until = now + RECOVERY_PROBE + self.liveness.promise_max();
        self.generations.recovery = Some(Recovery { request, phase: Phase::Probe { until } });
        self.peers.probe_all(now);
    }

    fn refuse_recovery(&mut self, id: RequestId, why: String) {
        let outcome = Outcome::Refused(OperationRefused::Impossible(why));
        self.event(Event::RequestDone { id, outcome });
    }

    /// Why this node has nothing to go on with.
    fn no_survivor(&self) -> Option<String> {
        let why = if self.generations.recovery.is_some() {
            "a recovery is under way here already: wait for its end"
        } else if self.joining.is_leaving() {
            "this node is stopping: start it again first"
        } else if self.config.participation != Participation::Full {
            "this node never votes: ask one that may, or start this one as a member that may"
        } else if self.state.is_none() {
            "this node has no copy of a cluster's log: ask a survivor, or bootstrap a new cluster"
        } else {
            return None;
        };
        Some(why.into())
    }

    fn who_leads(&self) -> Option<String> {
        let leader = self.consensus.leader().filter(|_| !self.liveness.leader_is_silent())?;
        Some(format!("the cluster has a leader, {}: there is nothing to recover", self.called(leader)))
    }

    /// A member's name, else its id.
    fn called(&self, id: RaftId) -> String {
        self.name_of(id).map_or_else(|| id.to_string(), |name| name.to_string())
    }

    /// More than half of the voters that answer, this node among them.
    fn majority_that_answers(&self) -> Option<String> {
        let answers = |id: &&RaftId| **id == self.me.id || self.peers.is_connected(**id);
        let halves = [self.consensus.voters(), self.consensus.outgoing_voters()];
        let majority =
            halves.iter().all(|half| half.is_empty() || half.iter().filter(answers).count() * 2 > half.len());
        majority.then(|| {
            let voters = &halves[0];
            let names: Vec<String> = voters.iter().filter(answers).map(|&id| self.called(id)).collect();
            format!(
                "{} of {} voters answer ({}): they elect a leader by themselves, so there is nothing to recover",
                names.len(),
                voters.len(),
                names.join(", ")
            )
        })
    }

    /// The look round is over: refused, or the former generation is.
    pub(super) fn end_probe(&mut self, now: Timestamp) {
        let Some(recovery) = &self.generations.recovery else { return };
        let request = recovery.request;
        if let Some(why) = self.who_leads().or_else(|| self.majority_that_answers()) {
            self.generations.recovery = None;
            self.refuse_recovery(request, why);
            return;
        }
        // From here on nothing of the former generation is heard.
        let former = self.peers.identity.cluster;
        self.peers.identity.former.extend(former);
        self.peers.identity.generation += 1;
        let cluster = ClusterId::draw(&mut self.generations.ids);
        self.peers.enter_cluster(now, cluster);
        self.show_cluster(now);
        for (index, data) in self.consensus.unapplied() {
            self.apply_entry(now, index, &data);
        }
        let index = self.state.as_ref().map_or(LogIndex(0), |state| state.applied);
        if self.proposals.has_user_state() {
            self.generations.recovery = Some(Recovery { request, phase: Phase::State { index } });
            self.outputs.push_back(Output::SnapshotWanted { index });
        } else {
            self.begin_generation(now, request, Bytes::new());
        }
    }

    /// The application's state came: true if a recovery had asked for it.
    pub(super) fn take_recovered_state(&mut self, now: Timestamp, index: LogIndex, user: &Bytes) -> bool {
        match &self.generations.recovery {
            Some(Recovery { request, phase: Phase::State { index: asked } }) if *asked == index => {
                let request = *request;
                self.begin_generation(now, request, user.clone());
                true
            }
            _ => false,
        }
    }

    fn begin_generation(&mut self, now: Timestamp, request: RequestId, user: Bytes) {
        let (Some(state), Some(cluster)) = (self.state.clone(), self.peers.identity.cluster) else { return };
        let last = state.applied.max(self.consensus.last_index());
        let index = LogIndex((last.0 / GENERATION_INDEXES + 1) * GENERATION_INDEXES);
        let state = state.recovered(cluster, index, Member::own(&self.config, self.me));
        tracing::warn!(%cluster, generation = state.cluster.generation, "this node goes on alone: others join anew");
        self.generations.recovery = Some(Recovery { request, phase: Phase::Beginning });
        self.leader.reset();
        self.proposals.snapshot_at = None;
        self.consensus =
            self.consensus.begin_again(index, apply::snapshot_body(&state, user), self.generations.seed, now);
        self.install_state(now, state);
    }

    /// This node leads, and has applied what its term began with.
    pub(super) fn end_recovery(&mut self) {
        if self.generations.recovery.as_ref().is_none_or(|recovery| recovery.phase != Phase::Beginning) {
            return;
        }
        let (Some(recovery), Some(state)) = (self.generations.recovery.take(), &self.state) else { return };
        let (generation, cluster) = (state.cluster.generation, state.cluster.id);
        self.event(Event::Recovered { generation, cluster });
        self.event(Event::RequestDone { id: recovery.request, outcome: Outcome::Done });
    }
}
