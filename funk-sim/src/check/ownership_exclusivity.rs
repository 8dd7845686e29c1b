//! Ownership exclusivity: at every instant of true time at most one process
//! may serve a shard, while every clock keeps to the drift bound; unless the
//! cluster leaves it to a store that refuses older epochs.

use std::collections::BTreeMap;
use std::time::Duration;

use funk_proto::id::{Epoch, ShardId};
use funk_proto::{Ownership, Timestamp};

use super::clocks::Clocks;
use crate::checker::{Checker, Scene, Verdict};
use crate::host::{Facts, Host};

/// After a clock was out of bounds, leases of that time may still run.
const AFTER_DRIFT: Duration = Duration::from_secs(2);

/// At most one process may serve a shard.
#[derive(Debug, Default)]
pub struct OwnershipExclusivity {
    clocks: Clocks,
    served: BTreeMap<ShardId, Epoch>,
}

/// Hosts of a cluster that has exclusive owners.
fn is_ours(host: &Host) -> bool {
    !host.foreign && host.config.ownership == Ownership::Leased
}

/// Whether a host may serve one of the shards in `word` number `place`.
fn open(host: &Host, now: Timestamp, place: usize) -> u64 {
    if host.lease_ends() > now { host.shown_here().get(place).copied().unwrap_or(0) } else { 0 }
}

fn both(scene: Scene<'_>, at: usize, other: usize) -> Option<ShardId> {
    let (one, two) = (&scene.hosts[at], &scene.hosts[other]);
    for place in 0..one.shown_here().len() {
        let bits = open(one, scene.now, place) & open(two, scene.now, place);
        if bits != 0 {
            return Some(ShardId(u32::try_from(place).expect("few words") * 64 + bits.trailing_zeros()));
        }
    }
    let still = |(shard, until): (ShardId, Timestamp), host: &Host| {
        let running = host.clock.local(scene.now) < until;
        running.then_some(shard)
    };
    let of_two = two.closing().filter_map(|held| still(held, two));
    of_two.into_iter().find(|shard| open(one, scene.now, shard.0 as usize / 64) >> (shard.0 % 64) & 1 == 1)
}

impl Checker for OwnershipExclusivity {
    fn name(&self) -> &'static str {
        "ownership exclusivity"
    }

    fn on_change(&mut self, scene: Scene<'_>, at: usize, before: Option<&Facts>) -> Verdict {
        let host = &scene.hosts[at];
        let Some(facts) = host.facts() else { return Ok(()) };
        let same =
            |before: &Facts| before.lease_until == facts.lease_until && before.route_version == facts.route_version;
        if before.is_some_and(same)
            || host.lease_ends() <= scene.now
            || !self.clocks.are_trusted(scene.now)
            || !is_ours(host)
        {
            return Ok(());
        }
        for other in (0..scene.hosts.len()).filter(|&other| other != at && is_ours(&scene.hosts[other])) {
            if let Some(shard) = both(scene, at, other) {
                let (one, two) = (scene.name(at), scene.name(other));
                return Err(format!("{one} and {two} may both serve shard {shard}"));
            }
        }
        Ok(())
    }

    fn on_served(&mut self, scene: Scene<'_>, at: usize, shard: ShardId, epoch: Epoch) -> Verdict {
        let applies = self.clocks.are_trusted(scene.now) && is_ours(&scene.hosts[at]);
        let newest = self.served.entry(shard).or_insert(epoch);
        if epoch < *newest && applies {
            let name = scene.name(at);
            return Err(format!("{name} serves shard {shard} in {epoch} after it was served in {newest}"));
        }
        *newest = epoch.max(*newest);
        Ok(())
    }

    fn on_drift(&mut self, scene: Scene<'_>, within: bool) -> Verdict {
        self.clocks.note(scene.now, within, AFTER_DRIFT);
        Ok(())
    }
}
