//! State machine safety: a committed index holds the same entry on every node,
//! equal indexes give equal states, and nobody is told otherwise.

use std::collections::BTreeMap;
use std::hash::Hasher;

use funk_proto::id::LogIndex;
use funk_proto::{Event, Refusal};
use siphasher::sip::SipHasher13;

use crate::checker::{Checker, Scene, Verdict};
use crate::host::Facts;

/// Every so many applied entries the whole state is compared.
const COMPARE_EVERY: u64 = 4;

/// A committed index holds the same entry everywhere.
#[derive(Debug, Default)]
pub struct StateMachineSafety {
    /// Term and digest by index.
    committed: Vec<Option<(u64, u64)>>,
    /// Digest of the replicated state by applied index.
    states: BTreeMap<u64, u64>,
}

impl StateMachineSafety {
    fn compare_entries(&mut self, scene: Scene<'_>, at: usize, from: u64, to: u64) -> Verdict {
        let Some(node) = scene.hosts[at].node() else { return Ok(()) };
        let look = node.inspect();
        if self.committed.len() as u64 <= to {
            self.committed.resize(usize::try_from(to).expect("a log fits memory") + 1, None);
        }
        for index in from..=to {
            let entry = look.entry_digest(LogIndex(index));
            let Some((term, digest)) = look.term_at(LogIndex(index)).zip(entry) else { continue };
            let slot = &mut self.committed[usize::try_from(index).expect("as above")];
            if *slot.get_or_insert((term.0, digest)) != (term.0, digest) {
                return Err(format!("{} commits another entry {index} than a node before it", scene.name(at)));
            }
        }
        Ok(())
    }
}

impl Checker for StateMachineSafety {
    fn name(&self) -> &'static str {
        "state machine safety"
    }

    fn on_change(&mut self, scene: Scene<'_>, at: usize, before: Option<&Facts>) -> Verdict {
        let host = &scene.hosts[at];
        let (Some(facts), Some(node)) = (host.facts(), host.node()) else { return Ok(()) };
        let from = before.map_or(0, |before| before.commit.0);
        if facts.commit.0 < from {
            return Err(format!("{} takes back commits from {from} to {}", scene.name(at), facts.commit));
        }
        if facts.commit.0 > from {
            self.compare_entries(scene, at, from + 1, facts.commit.0)?;
        }
        let applied = facts.applied.0;
        let was = before.map_or(0, |before| before.applied.0);
        if applied < was || facts.applied > facts.commit {
            return Err(format!("{} applied {applied} after {was}, with {} committed", scene.name(at), facts.commit));
        }
        if applied > was && applied % COMPARE_EVERY == 0 {
            let mut hasher = SipHasher13::new();
            hasher.write(&node.inspect().state_bytes().unwrap_or_default());
            let digest = hasher.finish();
            if *self.states.entry(applied).or_insert(digest) != digest {
                return Err(format!("{} has another state at {applied} than a node before it", scene.name(at)));
            }
        }
        Ok(())
    }

    fn on_event(&mut self, scene: Scene<'_>, at: usize, event: &Event) -> Verdict {
        let Event::Refused(Refusal::Diverged { index }) = event else { return Ok(()) };
        // A real difference would have been found here first.
        Err(format!("{} is told that it applied other entries up to {index}", scene.name(at)))
    }
}
