//! Election safety: one leader at most in each term.

use std::collections::BTreeMap;

use funk_proto::consensus::RaftRole;
use funk_proto::id::{BootId, Term};

use crate::checker::{Checker, Scene, Verdict};
use crate::host::Facts;

/// One leader at most in each term.
#[derive(Debug, Default)]
pub struct ElectionSafety {
    leaders: BTreeMap<Term, (BootId, usize)>,
}

impl Checker for ElectionSafety {
    fn name(&self) -> &'static str {
        "election safety"
    }

    fn on_change(&mut self, scene: Scene<'_>, at: usize, before: Option<&Facts>) -> Verdict {
        let Some(facts) = scene.hosts[at].facts().filter(|facts| facts.role == RaftRole::Leader) else { return Ok(()) };
        if before.is_some_and(|before| before.role == RaftRole::Leader && before.term == facts.term) {
            return Ok(());
        }
        let (boot, other) = *self.leaders.entry(facts.term).or_insert((facts.boot, at));
        if boot != facts.boot {
            return Err(format!("{} and {} both lead in term {}", scene.name(other), scene.name(at), facts.term));
        }
        Ok(())
    }
}
