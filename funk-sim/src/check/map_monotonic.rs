//! Map: a node's map never goes back, and equal epochs are equal maps.

use std::collections::BTreeMap;
use std::hash::Hasher;

use funk_proto::id::{Epoch, ShardId};
use siphasher::sip::SipHasher13;

use crate::checker::{Checker, Scene, Verdict};
use crate::host::Facts;

/// Equal epochs are equal maps, and none goes back.
#[derive(Debug, Default)]
pub struct MapMonotonic {
    maps: BTreeMap<Epoch, u64>,
    newest: Vec<Epoch>,
}

impl Checker for MapMonotonic {
    fn name(&self) -> &'static str {
        "map"
    }

    fn on_start(&mut self, scene: Scene<'_>, at: usize) -> Verdict {
        self.newest.resize(scene.hosts.len(), Epoch::default());
        self.newest[at] = Epoch::default();
        Ok(())
    }

    fn on_change(&mut self, scene: Scene<'_>, at: usize, before: Option<&Facts>) -> Verdict {
        let Some(routes) = scene.new_routes(at, before) else { return Ok(()) };
        let epoch = routes.epoch();
        if epoch < self.newest[at] {
            return Err(format!("{} goes back from map {} to {epoch}", scene.name(at), self.newest[at]));
        }
        self.newest[at] = epoch;
        // Before the first change there is no map to compare.
        if epoch == Epoch::default() {
            return Ok(());
        }
        let mut hasher = SipHasher13::new();
        for shard in (0..routes.shards()).map(ShardId) {
            if let Some((owner, epoch)) = routes.owner(shard) {
                hasher.write_u64(owner.boot.get());
                hasher.write_u64(epoch.0);
            } else {
                hasher.write_u8(0);
            }
        }
        let digest = hasher.finish();
        if *self.maps.entry(epoch).or_insert(digest) != digest {
            return Err(format!("{} has another map in {epoch} than a node before it", scene.name(at)));
        }
        Ok(())
    }
}
