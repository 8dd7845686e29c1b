//! Promises: what a leader counts on is covered. Whoever is elected after it needs the vote of one at least that
//! promises, for at least as long in true time, to tell of it; and no promise is longer than what its voter would
//! honour after a restart.

use std::collections::BTreeSet;
use std::time::Duration;

use funk_proto::consensus::RaftRole;
use funk_proto::id::RaftId;
use funk_proto::{Persist, Timestamp, Token};

use super::clocks::Clocks;
use super::disks::Disks;
use crate::checker::{Checker, Scene, Verdict};
use crate::host::{Facts, Host};

/// After a clock was out of bounds, promises of that time may still run.
const AFTER_DRIFT: Duration = Duration::from_secs(3);

/// A leader's authority is covered by promises, and those by the disk.
#[derive(Debug, Default)]
pub struct Promises {
    clocks: Clocks,
    disks: Disks,
}

fn true_end(host: &Host, local: Timestamp) -> Timestamp {
    host.clock.true_at(local)
}

/// Whether this voter would report a promise that runs until `until`. One whose process is gone comes back with the
/// longest that it may have made, or never.
fn covers(scene: Scene<'_>, voter: RaftId, until: Timestamp) -> bool {
    let running = scene.hosts.iter().find(|host| host.facts().is_some_and(|facts| facts.id == voter));
    running.and_then(|host| Some(true_end(host, host.node()?.inspect().promise_until()))).is_none_or(|end| end >= until)
}

/// Whether no majority of these voters could elect a leader without one that tells of a promise until then.
fn are_enough(scene: Scene<'_>, voters: &BTreeSet<RaftId>, until: Timestamp) -> bool {
    let silent = voters.iter().filter(|&&voter| !covers(scene, voter, until)).count();
    !voters.is_empty() && silent <= voters.len() / 2
}

impl Checker for Promises {
    fn name(&self) -> &'static str {
        "promises"
    }

    fn on_start(&mut self, scene: Scene<'_>, at: usize) -> Verdict {
        self.disks.start(scene, at);
        Ok(())
    }

    fn on_persist(&mut self, _scene: Scene<'_>, at: usize, persist: &Persist) -> Verdict {
        self.disks.persist(at, persist);
        Ok(())
    }

    fn on_persisted(&mut self, _scene: Scene<'_>, at: usize, token: Token) -> Verdict {
        self.disks.persisted(at, token);
        Ok(())
    }

    fn on_change(&mut self, scene: Scene<'_>, at: usize, before: Option<&Facts>) -> Verdict {
        let host = &scene.hosts[at];
        let (Some(facts), Some(node)) = (host.facts(), host.node()) else { return Ok(()) };
        let same = before.is_some_and(|before| before.lease_until == facts.lease_until);
        if same || host.foreign {
            return Ok(());
        }
        let (look, local) = (node.inspect(), host.clock.local(scene.now));
        if host.config.durable {
            let (promise, kept) = (look.promise_until().since(local), self.disks.stable(at).kept_lease);
            let honoured = host.config.timing.waiter(kept);
            if promise > honoured {
                let name = scene.name(at);
                return Err(format!(
                    "{name} promises for another {promise:?}, and would honour {honoured:?} after a restart"
                ));
            }
        }
        if facts.role != RaftRole::Leader || !self.clocks.are_trusted(scene.now) {
            return Ok(());
        }
        let until = true_end(host, look.authority_until());
        // In a joint configuration a leader needs both halves.
        let covered = [look.voters(), look.outgoing_voters()].iter().any(|voters| are_enough(scene, voters, until));
        if until > scene.now && !covered {
            let (name, left) = (scene.name(at), until - scene.now);
            return Err(format!(
                "{name} may grant leases for another {left:?}, and others may be elected who hear of no promise so long"
            ));
        }
        Ok(())
    }

    fn on_drift(&mut self, scene: Scene<'_>, within: bool) -> Verdict {
        self.clocks.note(scene.now, within, AFTER_DRIFT);
        Ok(())
    }
}
