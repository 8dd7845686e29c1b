//! Log matching: an index and a term name one entry, and one history before
//! it. Leader append-only: a leader never takes back what it appended.
//!
//! A sole voter elects itself before its term is stable; killed then, it leads
//! in that term again. Nobody was sent what it appended, so an entry counts
//! from when its process's disk holds the entry's term.

use std::collections::BTreeMap;

use funk_proto::consensus::RaftRole;
use funk_proto::id::LogIndex;
use funk_proto::{Persist, Token};

use super::disks::Disks;
use crate::checker::{Checker, Scene, Verdict};
use crate::host::Facts;

/// What one process's log held at its last step: terms from an index on.
#[derive(Debug, Default)]
struct Shadow {
    first: u64,
    terms: Vec<u64>,
}

impl Shadow {
    fn term(&self, index: u64) -> Option<u64> {
        let place = usize::try_from(index.checked_sub(self.first)?).ok()?;
        self.terms.get(place).copied()
    }

    /// Replaces all from `first` on.
    fn replace(&mut self, first: u64, terms: impl Iterator<Item = u64>) {
        let keep = first.checked_sub(self.first).and_then(|keep| usize::try_from(keep).ok());
        match keep.filter(|&keep| keep <= self.terms.len()) {
            Some(keep) => self.terms.truncate(keep),
            None => {
                self.terms.clear();
                self.first = first;
            }
        }
        self.terms.extend(terms);
    }
}

/// An index and a term name one entry and one history.
#[derive(Debug, Default)]
pub struct LogMatching {
    /// By index and term: term of the entry before, and a digest.
    entries: BTreeMap<(u64, u64), (u64, u64)>,
    shadows: Vec<Shadow>,
    disks: Disks,
}

impl Checker for LogMatching {
    fn name(&self) -> &'static str {
        "log matching"
    }

    fn on_start(&mut self, scene: Scene<'_>, at: usize) -> Verdict {
        self.shadows.resize_with(scene.hosts.len(), Shadow::default);
        self.shadows[at] = Shadow::default();
        self.disks.start(scene, at);
        Ok(())
    }

    fn on_persist(&mut self, _scene: Scene<'_>, at: usize, persist: &Persist) -> Verdict {
        self.disks.persist(at, persist);
        Ok(())
    }

    fn on_persisted(&mut self, scene: Scene<'_>, at: usize, token: Token) -> Verdict {
        self.disks.persisted(at, token);
        let ours = scene.hosts[at].known && !scene.hosts[at].foreign;
        if ours { self.walk(scene, at).map(|_| ()) } else { Ok(()) }
    }

    fn on_change(&mut self, scene: Scene<'_>, at: usize, before: Option<&Facts>) -> Verdict {
        let Some(facts) = scene.hosts[at].facts() else { return Ok(()) };
        if before.is_some_and(|b| (b.last_index, b.last_term) == (facts.last_index, facts.last_term)) {
            return Ok(());
        }
        let replaced = self.walk(scene, at)?;
        let led = |facts: &Facts| facts.role == RaftRole::Leader;
        let leads_on = before.is_some_and(|before| led(before) && led(facts) && before.term == facts.term);
        match replaced.filter(|_| leads_on) {
            Some(index) => Err(format!("{} leads and takes entry {index} back", scene.name(at))),
            None => Ok(()),
        }
    }
}

impl LogMatching {
    /// Looks at all entries that were not there at the process's last step. Tells the first that took another's place.
    fn walk(&mut self, scene: Scene<'_>, at: usize) -> Result<Option<u64>, String> {
        let host = &scene.hosts[at];
        let (Some(facts), Some(node)) = (host.facts(), host.node()) else { return Ok(None) };
        let look = node.inspect();
        let (shadow, stable) = (&mut self.shadows[at], self.disks.stable(at).term);
        let mut fresh = Vec::new();
        let mut index = facts.last_index.0;
        while index > 0 {
            let Some(term) = look.term_at(LogIndex(index)) else { break };
            if shadow.term(index) == Some(term.0) {
                break;
            }
            if term.0 <= stable {
                fresh.push(term.0);
                let history = look.term_at(LogIndex(index - 1)).map_or(0, |term| term.0);
                if let Some(digest) = look.entry_digest(LogIndex(index))
                    && *self.entries.entry((index, term.0)).or_insert((history, digest)) != (history, digest)
                {
                    let name = scene.name(at);
                    return Err(format!("{name} has another entry {index} of term {term} than a node before it"));
                }
            }
            index -= 1;
        }
        let replaced = shadow.term(index + 1).is_some() && index < facts.last_index.0;
        shadow.replace(index + 1, fresh.into_iter().rev());
        Ok(replaced.then_some(index + 1))
    }
}
