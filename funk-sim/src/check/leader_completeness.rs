//! Leader completeness: whoever leads has every entry that was committed before.

use funk_proto::consensus::RaftRole;
use funk_proto::id::LogIndex;

use crate::checker::{Checker, Scene, Verdict};
use crate::host::Facts;

/// Whoever leads has every committed entry.
#[derive(Debug, Default)]
pub struct LeaderCompleteness {
    /// Of the committed entries, by index: their term, 0 where nobody looked, and the term in which they were
    /// seen committed first.
    committed: Vec<(u64, u64)>,
}

impl Checker for LeaderCompleteness {
    fn name(&self) -> &'static str {
        "leader completeness"
    }

    fn on_change(&mut self, scene: Scene<'_>, at: usize, before: Option<&Facts>) -> Verdict {
        let host = &scene.hosts[at];
        let (Some(facts), Some(node)) = (host.facts(), host.node()) else { return Ok(()) };
        let look = node.inspect();
        let newly = before.is_none_or(|before| before.role != RaftRole::Leader || before.term != facts.term);
        if newly && facts.role == RaftRole::Leader {
            // What is below its snapshot it cannot show, and has.
            for (index, &(term, seen_in)) in self.committed.iter().enumerate().rev() {
                let has = look.term_at(LogIndex(index as u64));
                // A leader that wakes up in an old term owes nothing that later terms committed.
                if term == 0 || seen_in > facts.term.0 || has.is_some_and(|has| has.0 == term) {
                    continue;
                }
                if has.is_none() && index as u64 <= facts.last_index.0 {
                    break;
                }
                return Err(format!("{} leads in term {} without entry {index}", scene.name(at), facts.term));
            }
        }
        let known = self.committed.len() as u64;
        if facts.commit.0 >= known {
            for index in known..=facts.commit.0 {
                let term = look.term_at(LogIndex(index)).map_or(0, |term| term.0);
                self.committed.push((term, facts.term.0));
            }
        }
        Ok(())
    }
}
