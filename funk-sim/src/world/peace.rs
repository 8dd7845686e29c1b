//! Whether a part of the cluster agrees and serves.

use std::collections::BTreeSet;

use funk_proto::Node;
use funk_proto::id::{BootId, LogIndex, RaftId};

use super::World;
use crate::host::Host;
use crate::story::Topic;

/// Voters, and those whom a joint change retires.
pub type Voters = (BTreeSet<RaftId>, BTreeSet<RaftId>);

impl World {
    /// The configuration that was applied last, by anybody: voters, and those whom a joint change retires.
    pub fn voters(&self) -> Voters {
        self.configuration.1.clone()
    }

    /// Notes what a step of this host says of the cluster: its configuration, and that it is in another one.
    pub(super) fn note_cluster(&mut self, at: usize) {
        let Some(look) = self.hosts[at].node().map(Node::inspect) else { return };
        let Some(cluster) = look.cluster().filter(|_| !self.hosts[at].foreign) else { return };
        let index = look.applied();
        let news = index > self.configuration.0 && index == look.commit();
        let voters = news.then(|| (look.voters(), look.outgoing_voters()));
        let host = &mut self.hosts[at];
        (host.known, host.foreign) = (true, *self.cluster.get_or_insert(cluster) != cluster);
        if let Some(voters) = voters.filter(|_| !host.foreign) {
            let changed = self.configuration.1 != voters;
            self.configuration = (index, voters);
            if changed {
                let words = if self.story.is_some() { self.configuration_in_words(index) } else { String::new() };
                self.tell(Some(at), Topic::State, || words);
            }
        }
    }

    fn configuration_in_words(&self, index: LogIndex) -> String {
        let name = |id: &RaftId| {
            let host = self.hosts.iter().position(|host| host.facts().is_some_and(|facts| facts.id == *id));
            host.map_or_else(|| "gone".into(), |at| format!("n{at}"))
        };
        let names = |ids: &BTreeSet<RaftId>| ids.iter().map(name).collect::<Vec<_>>().join(" ");
        let (voters, outgoing) = &self.configuration.1;
        format!("applies {index}: voters are {}; retiring {}", names(voters), names(outgoing))
    }

    /// Whether the running node that has applied most holds this boot for up.
    pub fn holds_for_up(&self, id: RaftId, boot: BootId) -> bool {
        self.newest().is_some_and(|node| node.inspect().up().contains(&(id, boot)))
    }

    fn newest(&self) -> Option<&Node> {
        let ours = self.hosts.iter().filter(|host| !host.foreign);
        let known = ours.filter_map(|host| Some((host.facts()?.applied, host.node()?)));
        known.max_by_key(|(applied, _)| *applied).map(|(_, node)| node)
    }

    /// Whether the processes of these hosts hold a majority of every set of voters in force. One that keeps
    /// nothing and has left ends with its vote, even if it was the last voter there was.
    pub fn is_quorum(&self, hosts: impl Iterator<Item = usize>) -> bool {
        let (voters, outgoing) = self.voters();
        let stays = |at: &usize| self.durable || !self.hosts[*at].has_left();
        let alive: BTreeSet<RaftId> = hosts.filter(stays).filter_map(|at| Some(self.hosts[at].facts()?.id)).collect();
        let majority = |of: &BTreeSet<RaftId>| of.is_empty() || of.intersection(&alive).count() * 2 > of.len();
        !voters.is_empty() && majority(&voters) && majority(&outgoing)
    }

    /// Whether the process of this host has left, or was refused, and votes no more.
    pub fn has_gone(&self, at: usize) -> bool {
        let (host, (voters, outgoing)) = (&self.hosts[at], &self.configuration.1);
        (host.has_left() || host.is_refused())
            && host.facts().is_none_or(|facts| !voters.contains(&facts.id) && !outgoing.contains(&facts.id))
    }

    /// Whether a change of voters is half done, or in somebody's log.
    pub fn voters_change(&self) -> bool {
        let mut ours = self.hosts.iter().filter(|host| !host.foreign).filter_map(Host::node);
        !self.configuration.1.1.is_empty() || ours.any(|node| node.inspect().conf_change_ahead())
    }

    /// Whether the process of this host may be lost for good and a quorum still exists.
    pub fn is_spare(&self, at: usize) -> bool {
        // While voters change, one who is lost may be counted on before and after.
        if self.voters_change() {
            return false;
        }
        let lives = |host: &usize| *host != at && self.hosts[*host].exists() && !self.hosts[*host].is_refused();
        self.is_quorum((0..self.hosts.len()).filter(lives))
    }

    /// Whether these hosts know one leader that runs and have one map, and
    /// each shard of it is served by one running host.
    pub fn agrees(&self, core: &[usize]) -> bool {
        let Some(first) = core.first().and_then(|&at| self.hosts[at].facts()) else { return false };
        let leader = first.leader;
        let leads = |host: &Host| host.runs() && host.facts().map(|facts| facts.id) == leader;
        let led = leader.is_some() && self.hosts.iter().any(leads);
        let follows = |&at: &usize| {
            let host = &self.hosts[at];
            host.runs() && host.facts().is_some_and(|facts| facts.leader == leader && facts.term == first.term)
        };
        if !led || !core.iter().all(follows) {
            return false;
        }
        let epoch = |at: usize| self.hosts[at].node().map(|node| node.routes().epoch());
        core.iter().all(|&at| epoch(at) == epoch(core[0])) && self.is_covered(core[0])
    }

    /// Whether each shard of a host's table is served by some running host at present.
    pub fn is_covered(&self, at: usize) -> bool {
        let Some(node) = self.hosts[at].node() else { return false };
        let shards = node.routes().shards() as usize;
        let words = shards.div_ceil(64);
        let served = |word: usize| {
            let serving = self.hosts.iter().filter(|host| host.runs() && host.lease_ends() > self.now());
            serving.fold(0, |bits, host| bits | host.shown_here().get(word).copied().unwrap_or(0))
        };
        let full = |word: usize| if (word + 1) * 64 <= shards { u64::MAX } else { (1 << (shards % 64)) - 1 };
        shards > 0 && (0..words).all(|word| served(word) == full(word))
    }

    /// Whether all that run agree, serve, and have shares that differ by at most one.
    pub fn converged(&self) -> bool {
        let running = self.running();
        if !self.agrees(&running) {
            return false;
        }
        let shares = running.iter().map(|&at| self.hosts[at].shown_here().iter().map(|word| word.count_ones()).sum());
        let shares: Vec<u32> = shares.collect();
        let (low, high) = (shares.iter().min().unwrap_or(&0), shares.iter().max().unwrap_or(&0));
        let up = self.hosts[running[0]].node().map(|node| node.inspect().up().len());
        high - low <= 1 && up == Some(running.len())
    }
}
