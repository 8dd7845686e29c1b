//! What a shard's owner hands over is what the next one serves with: the last
//! that was given, whole, and nobody served the shard in between.

use std::collections::BTreeMap;

use bytes::Bytes;
use funk_proto::id::{Epoch, LogIndex, ShardId};

use crate::checker::{Checker, Scene, Verdict};

/// Whoever serves with a state that was handed over has the last one.
///
/// A node that is behind may get one with an ownership that is over by now; it
/// has no right to serve under that epoch, so that does no harm.
#[derive(Debug, Default)]
pub struct HandedStates {
    /// What was given of a shard for its last move, while nobody has served it since.
    given: BTreeMap<ShardId, (LogIndex, Option<Bytes>)>,
    /// What a host got with a shard, until it serves the shard.
    received: BTreeMap<(usize, ShardId), (Epoch, Bytes)>,
    /// A clock is out of bounds, or was: two may have served, in either order.
    untrusted: bool,
}

impl Checker for HandedStates {
    fn name(&self) -> &'static str {
        "handed states"
    }

    fn on_stop(&mut self, _scene: Scene<'_>, at: usize) -> Verdict {
        self.received.retain(|(host, _), _| *host != at);
        Ok(())
    }

    fn on_state_given(
        &mut self,
        scene: Scene<'_>,
        at: usize,
        change: LogIndex,
        shard: ShardId,
        state: Option<&Bytes>,
    ) -> Verdict {
        // A node that is behind gives for a move that is over.
        let last = self.given.get(&shard).map(|(change, _)| *change);
        if !scene.hosts[at].foreign && last.is_none_or(|last| last < change) {
            self.given.insert(shard, (change, state.cloned()));
        }
        Ok(())
    }

    fn on_state_received(
        &mut self,
        _scene: Scene<'_>,
        at: usize,
        shard: ShardId,
        epoch: Epoch,
        state: &Bytes,
    ) -> Verdict {
        self.received.insert((at, shard), (epoch, state.clone()));
        Ok(())
    }

    fn on_served(&mut self, scene: Scene<'_>, at: usize, shard: ShardId, epoch: Epoch) -> Verdict {
        let last = self.given.get_mut(&shard).and_then(|(_, state)| state.take());
        let Some((_, state)) = self.received.remove(&(at, shard)).filter(|(of, _)| *of == epoch) else {
            return Ok(());
        };
        if last == Some(state) || self.untrusted || scene.hosts[at].foreign {
            return Ok(());
        }
        let name = scene.name(at);
        Err(format!("{name} serves shard {shard} in {epoch} with a state that is not the last one of its former owner"))
    }

    fn on_drift(&mut self, _scene: Scene<'_>, within: bool) -> Verdict {
        self.untrusted |= !within;
        Ok(())
    }
}
