//! Lives in gossip: a member that a node holds for dead, or left, with some
//! incarnation is never alive again for that node with that one or an older one.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use funk_proto::Timestamp;
use funk_proto::gossip::GossipLife;

use crate::checker::{Checker, Scene, Verdict};
use crate::host::Facts;

/// Whoever was gone for so long may be forgotten: who shows up under its name is new.
const FORGOTTEN: Duration = Duration::from_secs(25);

/// Nobody comes back to life by an old word.
#[derive(Debug, Default)]
pub struct GossipLives {
    /// What each host's node held last, by name, and since when.
    held: Vec<BTreeMap<Bytes, (Timestamp, GossipLife)>>,
}

pub(super) fn check(before: &GossipLife, after: &GossipLife) -> Verdict {
    let name = String::from_utf8_lossy(&after.name);
    let (was, is) = (before.incarnation, after.incarnation);
    // Another process under that name has incarnations of its own.
    if before.address != after.address {
        return Ok(());
    }
    if is < was {
        let gone = if before.gone { "gone" } else { "alive" };
        return Err(format!("holds {name} at {} for incarnation {is} after {was}, {gone}", after.address));
    }
    if before.gone && !after.gone && is == was {
        return Err(format!("holds {name} for alive again with incarnation {is}, with which it was gone"));
    }
    Ok(())
}

impl Checker for GossipLives {
    fn name(&self) -> &'static str {
        "gossip lives"
    }

    fn on_start(&mut self, scene: Scene<'_>, at: usize) -> Verdict {
        self.held.resize_with(scene.hosts.len(), BTreeMap::new);
        self.held[at].clear();
        Ok(())
    }

    fn on_change(&mut self, scene: Scene<'_>, at: usize, before: Option<&Facts>) -> Verdict {
        let host = &scene.hosts[at];
        let (Some(facts), Some(node)) = (host.facts(), host.node()) else { return Ok(()) };
        if before.is_some_and(|before| before.gossip == facts.gossip) {
            return Ok(());
        }
        let held = std::mem::take(&mut self.held[at]);
        let mut broken = Ok(());
        for life in node.inspect().gossip_lives().1 {
            let mut since = scene.now;
            if let Some((before_since, before)) = held.get(&life.name) {
                if !before.gone || scene.now - *before_since < FORGOTTEN {
                    broken = broken.and_then(|()| check(before, &life));
                }
                if before.gone == life.gone {
                    since = *before_since;
                }
            }
            self.held[at].insert(life.name.clone(), (since, life));
        }
        broken.map_err(|what| format!("{} {what}", scene.name(at)))
    }
}
