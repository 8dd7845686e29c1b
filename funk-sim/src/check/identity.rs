//! Identity: a Raft id and a boot belong to one process, and an id that comes
//! back has not forgotten its log.

use std::collections::BTreeMap;

use funk_proto::id::{BootId, LogIndex, RaftId};

use crate::checker::{Checker, Scene, Verdict};
use crate::host::Facts;

/// A Raft id belongs to one disk, a boot to one process.
#[derive(Debug, Default)]
pub struct Identity {
    boots: BTreeMap<BootId, usize>,
    ids: BTreeMap<RaftId, usize>,
    /// Commits that an id knew of on its disk.
    known: BTreeMap<RaftId, LogIndex>,
}

impl Checker for Identity {
    fn name(&self) -> &'static str {
        "identity"
    }

    fn on_start(&mut self, scene: Scene<'_>, at: usize) -> Verdict {
        let Some(facts) = scene.hosts[at].facts() else { return Ok(()) };
        if let Some(other) = self.boots.insert(facts.boot, at) {
            return Err(format!("{} starts with a boot that {} had", scene.name(at), scene.name(other)));
        }
        if let Some(&other) = self.ids.get(&facts.id).filter(|&&other| other != at) {
            return Err(format!("{} starts with the Raft id of {}", scene.name(at), scene.name(other)));
        }
        self.ids.insert(facts.id, at);
        let known = self.known.get(&facts.id).copied().unwrap_or_default();
        if facts.last_index < known {
            return Err(format!(
                "{} starts with {} entries and had committed {known}",
                scene.name(at),
                facts.last_index
            ));
        }
        Ok(())
    }

    fn on_change(&mut self, scene: Scene<'_>, at: usize, before: Option<&Facts>) -> Verdict {
        let Some(facts) = scene.hosts[at].facts() else { return Ok(()) };
        if let Some(before) = before.filter(|before| before.boot != facts.boot || before.id != facts.id) {
            return Err(format!("{} turns from {} into {}", scene.name(at), before.id, facts.id));
        }
        Ok(())
    }

    fn on_stop(&mut self, scene: Scene<'_>, at: usize) -> Verdict {
        // What is stable is known when the process ends; what it applied had to be, but for a log that it just began
        // with a snapshot, whether another's or, in a recovery, its own.
        let Some(facts) = scene.hosts[at].facts() else { return Ok(()) };
        if !facts.is_beginning && !scene.hosts[at].disk.stable().is_empty() {
            self.known.insert(facts.id, facts.applied);
        }
        Ok(())
    }
}
