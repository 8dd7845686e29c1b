//! The second phase: a random core, a quorum, is healed. The rest stays
//! broken for ever. The core must agree and serve within a bound, whatever
//! happened before.

use std::time::Duration;

use funk_proto::Request;

use super::Runner;
use crate::checker::Violation;
use crate::network::{Conditions, Link};
use crate::story::Topic;
use crate::world::World;

/// Time in which a healed core agrees and serves: ten of consensus's slowest election timeouts are twice as much.
const HEAL_BOUND: Duration = Duration::from_secs(12);
/// Time after which a core that nobody disturbs has come to rest.
const REST: Duration = Duration::from_secs(3);

impl Runner<'_> {
    pub(super) fn heal(&mut self) -> Result<(), Violation> {
        self.healed = true;
        self.end_the_refused();
        if let Some(host) = self.drained {
            self.undrain(host);
        }
        if self.plan.durable {
            self.start_the_dead();
        }
        let core = self.choose_core();
        let names: Vec<String> = core.iter().map(|at| format!("n{at}")).collect();
        self.tell(|| format!("the core {names:?} is healed, the rest stays broken"));
        let now = self.world.now();
        if let Some(picture) = self.world.picture_mut() {
            picture.heal(now, core.clone());
        }
        let guests = self.guests();
        let mut healed = core.clone();
        healed.extend(&guests);
        self.mend(&healed);
        let silent = self.break_rest(&healed);
        if !self.await_agreement(&core, &healed)? {
            return Ok(());
        }
        if silent && guests.is_empty() {
            self.await_rest(&core)?;
        }
        Ok(())
    }

    /// With disks, who is down still has its vote, and comes back to be part of a core.
    fn start_the_dead(&mut self) {
        for at in 0..self.plan.nodes {
            self.world.host_mut(at).disk.conditions.full = false;
            let host = &self.world.hosts()[at];
            if !host.exists() && !host.has_left() && !host.is_refused() {
                self.start_again(at);
            }
        }
    }

    /// Processes in random order until they are a quorum, and perhaps some more.
    fn choose_core(&mut self) -> Vec<usize> {
        let mut rest: Vec<usize> = self.regular().into_iter().filter(|&at| !self.leaving[at]).collect();
        let guests = self.guests();
        let mut core: Vec<usize> = Vec::new();
        while !rest.is_empty() {
            let pick = self.draw(rest.len());
            core.push(rest.swap_remove(pick));
            let quorum = self.world.is_quorum(core.iter().chain(&guests).copied());
            // While voters change, a quorum of today may not be one of tomorrow.
            let owns = core.iter().any(|&at| self.drained != Some(at));
            if quorum && owns && self.rng.below(2) == 0 && !self.world.voters_change() {
                break;
            }
        }
        core.sort_unstable();
        core
    }

    /// Those who are on their way out, or were refused, and may still be voters: healed, and not counted on.
    fn guests(&self) -> Vec<usize> {
        let (hosts, regular) = (self.world.hosts(), self.regular());
        let guest = |at: &usize| self.leaving[*at] || !regular.contains(at);
        (0..hosts.len()).filter(|&at| hosts[at].exists() && !hosts[at].foreign).filter(guest).collect()
    }

    fn mend(&mut self, core: &[usize]) {
        self.world.network.conditions = Conditions::default();
        for &at in core {
            self.world.set_drift(at, 0);
            let host = self.world.host_mut(at);
            host.listening = true;
            for &other in core.iter().filter(|&&other| other != at) {
                *self.world.network.link_mut(at, other) = Link::default();
            }
        }
        for &at in core {
            self.stopped[at] = 0;
            self.world.resume(at);
            self.world.heal_disk(at);
        }
        self.world.flush_streams();
        self.show_the_way(core);
    }

    /// Where somebody has moved, all may have moved since they last heard of each other, and know no address that
    /// holds. In production discovery, which never stops trying, tells of the new ones.
    fn show_the_way(&mut self, core: &[usize]) {
        let hosts = self.world.hosts();
        if core.iter().all(|&at| hosts[at].address(1) == World::address_of(0, at, 1)) {
            return;
        }
        let addresses: Vec<_> = core.iter().map(|&at| hosts[at].address(1)).collect();
        for (&at, own) in core.iter().zip(&addresses) {
            let others = addresses.iter().copied().filter(|address| address != own).collect();
            // One that has ended needs none: it is started with addresses, if at all.
            let _ = self.world.request(at, Request::Join(others));
        }
    }

    /// Breaks all that is not of the core for good; true if nothing is heard of it any more.
    fn break_rest(&mut self, core: &[usize]) -> bool {
        let mut silent = true;
        let others: Vec<usize> = (0..self.world.hosts().len()).filter(|at| !core.contains(at)).collect();
        for &at in &others {
            if !self.world.hosts()[at].exists() {
                continue;
            }
            // One that leads and hears nobody would still be heard: it may no longer change the voters.
            let leads = |facts: &crate::Facts| facts.role == funk_proto::consensus::RaftRole::Leader;
            let bound = if self.world.hosts()[at].facts().is_some_and(leads) { 5 } else { 6 };
            match self.rng.below(bound) {
                0 | 1 => self.world.power_off(at),
                2 => self.world.kill(at),
                3 => self.world.pause(at),
                4 => self.isolate(at, true, true),
                _ => {
                    let inbound = self.rng.below(2) == 0;
                    self.isolate(at, inbound, !inbound);
                    silent = false;
                }
            }
        }
        silent
    }

    fn isolate(&mut self, at: usize, inbound: bool, outbound: bool) {
        let name = self.world.hosts()[at].config.name.clone();
        self.world.tell(Some(at), Topic::Fault, || format!("{name} is cut off: in {inbound}, out {outbound}"));
        for other in (0..self.world.hosts().len()).filter(|&other| other != at) {
            if inbound {
                self.world.network.cut(other, at);
            }
            if outbound {
                self.world.network.cut(at, other);
            }
        }
    }

    /// False if the cluster cannot be recovered: a change of voters that was
    /// under way makes voters of too many that are gone by now.
    fn await_agreement(&mut self, core: &[usize], healed: &[usize]) -> Result<bool, Violation> {
        let start = self.world.now();
        loop {
            let core = self.counted_on(core, healed);
            if self.world.agrees(&core) {
                break;
            }
            if self.world.now() - start > HEAL_BOUND {
                // A drained member that nobody is left to take over from owns nothing.
                let drained = core.iter().all(|&at| self.drained == Some(at));
                if drained || !self.world.is_quorum(healed.iter().copied()) {
                    self.world.tally.unrecoverable += 1;
                    return Ok(false);
                }
                let words = core.iter().map(|&at| self.describe(at)).collect::<Vec<_>>().join("; ");
                let what = format!("the healed core does not agree and serve after {HEAL_BOUND:?}: {words}");
                return Err(self.violation("liveness", what));
            }
            self.world.run(Duration::from_millis(5))?;
        }
        self.healed_after = Some(self.world.now() - start);
        Ok(true)
    }

    /// Who has to agree: the core, or those of the guests who stay where it is empty, since of nodes in conflict it
    /// may not be known who is refused in the end.
    fn counted_on(&self, core: &[usize], healed: &[usize]) -> Vec<usize> {
        let core = self.accepted(core);
        if core.is_empty() {
            return self.accepted(healed).into_iter().filter(|&at| !self.leaving[at]).collect();
        }
        core
    }

    /// Who is refused after the healing was in conflict with a node, or a cluster, that it did not hear before.
    fn accepted(&self, core: &[usize]) -> Vec<usize> {
        core.iter().copied().filter(|&at| !self.world.hosts()[at].is_refused()).collect()
    }

    /// With nobody there to disturb it, the core comes to rest within the
    /// bound: one leader, one map, and exactly its own members.
    fn await_rest(&mut self, core: &[usize]) -> Result<(), Violation> {
        self.await_members(core)?;
        self.world.run(REST)?;
        if self.accepted(core).len() < core.len() {
            // Its process would end by now, and the others would see it fail.
            return Ok(());
        }
        let start = self.world.now();
        loop {
            let before = self.rest(core);
            self.world.run(REST)?;
            if !self.world.is_quorum(core.iter().copied()) {
                // A change of voters begun when the rest was just lost counts on it, and stands still half done.
                self.world.tally.unrecoverable += 1;
                return Ok(());
            }
            let (agrees, after) = (self.world.agrees(core), self.rest(core));
            if agrees && after == before {
                break;
            }
            // A stream that was cut for long is tried again late, and what waited for that changes the map.
            if self.world.now() - start > HEAL_BOUND {
                let words = core.iter().map(|&at| self.describe(at)).collect::<Vec<_>>().join("; ");
                let what = format!("the core does not come to rest undisturbed: {before:?}, then {after:?}: {words}");
                return Err(self.violation("stability", what));
            }
        }
        self.check_members(core)
    }

    fn check_members(&mut self, core: &[usize]) -> Result<(), Violation> {
        let mut members: Vec<_> =
            core.iter().filter_map(|&at| self.world.hosts()[at].facts()).map(|facts| (facts.id, facts.boot)).collect();
        members.sort_unstable();
        for &at in core {
            let up = self.world.hosts()[at].node().map(|node| node.inspect().up());
            if up.as_ref() != Some(&members) {
                let what = format!("{} holds {up:?} for up, and {members:?} are", self.describe(at));
                return Err(self.violation("membership convergence", what));
            }
        }
        self.check_shares(core)
    }

    /// The others may agree and serve all shards while one of the core still
    /// catches up with what was on its way to it; shards move once it has.
    fn await_members(&mut self, core: &[usize]) -> Result<(), Violation> {
        let start = self.world.now();
        let settled = |world: &World| {
            let here = |&at: &usize| {
                let node = world.hosts()[at].node();
                node.is_some_and(|node| node.status().state == funk_proto::status::NodeState::Operational)
            };
            core.iter().all(here) && world.agrees(core)
        };
        while !settled(&self.world) && self.world.now() - start < HEAL_BOUND {
            self.world.run(Duration::from_millis(5))?;
        }
        Ok(())
    }

    fn rest(&self, core: &[usize]) -> Option<(u64, u64)> {
        let host = &self.world.hosts()[core[0]];
        Some((host.facts()?.term.0, host.node()?.routes().epoch().0))
    }

    fn describe(&self, at: usize) -> String {
        let host = &self.world.hosts()[at];
        let Some(node) = host.node() else { return format!("{} is gone", host.config.name) };
        let status = node.status();
        let up = node.inspect().up().len();
        format!(
            "{} is {} and {} in term {} under {:?}, commit {} applied {} map {} with {} up, {} shards, voters {}",
            status.name,
            status.state,
            status.role,
            status.term,
            status.leader.map(|leader| leader.to_string()),
            status.commit_index,
            status.applied_index,
            status.epoch,
            up,
            status.shards_owned,
            node.inspect().voters().len(),
        )
    }

    pub(super) fn violation(&mut self, property: &'static str, what: String) -> Violation {
        let violation = Violation { property, at: self.world.now(), node: None, what };
        self.world.break_off(violation.clone());
        violation
    }

    /// What can be said only at the end.
    pub(super) fn finish(&mut self) -> Result<(), Violation> {
        self.world.check_at_end();
        match self.world.violation() {
            Some(violation) => Err(violation.clone()),
            None => Ok(()),
        }
    }
}
