//! Gossip keys: a member sends another the ring that the replicated state names and no other, and no record has a key in it.

use funk_proto::wire::cluster::FrameBody;
use funk_proto::{GossipKey, Persist};

use crate::checker::{Checker, Scene, Verdict};

/// Keys go to members that lack them, as the cluster's, and nowhere else.
#[derive(Debug, Default)]
pub struct GossipKeys;

impl Checker for GossipKeys {
    fn name(&self) -> &'static str {
        "gossip keys"
    }

    fn on_frame(&mut self, scene: Scene<'_>, at: usize, frame: &FrameBody) -> Verdict {
        let (FrameBody::Ring(given), Some(node)) = (frame, scene.hosts[at].node()) else { return Ok(()) };
        let mut ids: Vec<_> = given.keys.iter().filter_map(|key| Some(GossipKey::new(key).ok()?.id())).collect();
        ids.get_mut(1..).unwrap_or_default().sort_unstable();
        let (version, mark, _) = node.inspect().ring();
        if ids == mark {
            return Ok(());
        }
        Err(format!("{} sends the keys {ids:?}, and those of version {version} are {mark:?}", scene.name(at)))
    }

    fn on_persist(&mut self, scene: Scene<'_>, at: usize, persist: &Persist) -> Verdict {
        let Some(keys) = &scene.hosts[at].config.gossip_keys else { return Ok(()) };
        let has = |key: &GossipKey| persist.record.windows(key.as_bytes().len()).any(|part| part == key.as_bytes());
        if keys.ring.keys().iter().any(has) {
            return Err(format!("{} writes a gossip key into a record", scene.name(at)));
        }
        Ok(())
    }
}
