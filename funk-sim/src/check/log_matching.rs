//! Log matching: an index and a term name one entry, and one history before
//! it. Leader append-only: a leader never takes back what it appended.

use std::collections::BTreeMap;

use funk_proto::consensus::Role;
use funk_proto::id::LogIndex;

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
}

impl Checker for LogMatching {
    fn name(&self) -> &'static str {
        "log matching"
    }

    fn on_start(&mut self, scene: Scene<'_>, at: usize) -> Verdict {
        self.shadows.resize_with(scene.hosts.len(), Shadow::default);
        self.shadows[at] = Shadow::default();
        Ok(())
    }

    fn on_change(&mut self, scene: Scene<'_>, at: usize, before: Option<&Facts>) -> Verdict {
        let host = &scene.hosts[at];
        let (Some(facts), Some(node)) = (host.facts(), host.node()) else { return Ok(()) };
        if before.is_some_and(|b| (b.last_index, b.last_term) == (facts.last_index, facts.last_term)) {
            return Ok(());
        }
        let look = node.inspect();
        let shadow = &mut self.shadows[at];
        let mut fresh = Vec::new();
        let mut index = facts.last_index.0;
        while index > 0 {
            let Some(term) = look.term_at(LogIndex(index)) else { break };
            if shadow.term(index) == Some(term.0) {
                break;
            }
            fresh.push(term.0);
            if let Some(digest) = look.entry_digest(LogIndex(index)) {
                let history = look.term_at(LogIndex(index - 1)).map_or(0, |term| term.0);
                let known = *self.entries.entry((index, term.0)).or_insert((history, digest));
                if known != (history, digest) {
                    let name = scene.name(at);
                    return Err(format!("{name} has another entry {index} of term {term} than a node before it"));
                }
            }
            index -= 1;
        }
        let led = |facts: &Facts| facts.role == Role::Leader;
        if let Some(before) = before.filter(|before| led(before) && led(facts) && before.term == facts.term)
            && index < before.last_index.0
            && shadow.term(index + 1).is_some()
        {
            return Err(format!("{} leads and takes entry {} back", scene.name(at), index + 1));
        }
        shadow.replace(index + 1, fresh.into_iter().rev());
        Ok(())
    }
}
