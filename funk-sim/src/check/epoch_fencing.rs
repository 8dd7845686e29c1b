//! Epoch fencing: a shard's epoch names one owner for ever, and never goes
//! back; so a store that refuses older epochs takes writes of one owner at a
//! time, whatever the clocks do.

use std::collections::BTreeMap;

use funk_proto::id::{BootId, Epoch, ShardId};

use crate::checker::{Checker, Scene, Verdict};
use crate::host::Facts;

/// An epoch of a shard names one owner.
#[derive(Debug, Default)]
pub struct EpochFencing {
    owners: BTreeMap<(ShardId, Epoch), BootId>,
    /// The newest epoch that each host saw.
    seen: Vec<Vec<Epoch>>,
    /// The store: the newest epoch that wrote each shard.
    store: BTreeMap<ShardId, Epoch>,
    /// Writes that the store refused.
    pub refused: u64,
}

impl Checker for EpochFencing {
    fn name(&self) -> &'static str {
        "epoch fencing"
    }

    fn on_start(&mut self, scene: Scene<'_>, at: usize) -> Verdict {
        self.seen.resize_with(scene.hosts.len(), Vec::new);
        self.seen[at].clear();
        Ok(())
    }

    fn on_change(&mut self, scene: Scene<'_>, at: usize, before: Option<&Facts>) -> Verdict {
        let Some(routes) = scene.new_routes(at, before) else { return Ok(()) };
        let seen = &mut self.seen[at];
        seen.resize(routes.shards() as usize, Epoch::default());
        for shard in (0..routes.shards()).map(ShardId) {
            let Some((owner, epoch)) = routes.owner(shard) else { continue };
            let newest = &mut seen[shard.0 as usize];
            if epoch < *newest {
                return Err(format!("{}: shard {shard} goes back from {newest} to {epoch}", scene.name(at)));
            }
            if epoch == *newest {
                continue;
            }
            *newest = epoch;
            if *self.owners.entry((shard, epoch)).or_insert(owner.boot) != owner.boot {
                return Err(format!("{}: shard {shard} has two owners in {epoch}", scene.name(at)));
            }
        }
        Ok(())
    }

    fn on_served(&mut self, scene: Scene<'_>, at: usize, shard: ShardId, epoch: Epoch) -> Verdict {
        let newest = self.store.entry(shard).or_insert(epoch);
        if epoch < *newest {
            self.refused += 1;
            return Ok(());
        }
        *newest = epoch;
        let boot = scene.hosts[at].facts().map(|facts| facts.boot);
        if self.owners.get(&(shard, epoch)).copied() != boot {
            return Err(format!("{} writes shard {shard} in {epoch}, which is not its own", scene.name(at)));
        }
        Ok(())
    }
}
