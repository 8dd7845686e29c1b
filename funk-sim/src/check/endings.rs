//! Endings: a node takes a boot for ended only when that process is gone. What
//! is said of one boot says nothing of the next, and nobody else can say it.

use std::collections::BTreeSet;

use funk_proto::id::BootId;

use crate::checker::{Checker, Scene, Verdict};
use crate::host::Facts;

/// Who is held for ended has ended.
#[derive(Debug, Default)]
pub struct Endings {
    gone: BTreeSet<BootId>,
}

impl Checker for Endings {
    fn name(&self) -> &'static str {
        "endings"
    }

    fn on_stop(&mut self, scene: Scene<'_>, at: usize) -> Verdict {
        self.gone.extend(scene.hosts[at].facts().map(|facts| facts.boot));
        Ok(())
    }

    fn on_change(&mut self, scene: Scene<'_>, at: usize, before: Option<&Facts>) -> Verdict {
        let host = &scene.hosts[at];
        let (Some(facts), Some(node)) = (host.facts(), host.node()) else { return Ok(()) };
        if before.map_or(0, |before| before.goodbyes) == facts.goodbyes {
            return Ok(());
        }
        match node.inspect().ended().iter().find(|(_, boot)| !self.gone.contains(boot)) {
            Some((id, boot)) => Err(format!("{} holds {id} of boot {boot} for ended, and it lives", scene.name(at))),
            None => Ok(()),
        }
    }
}
