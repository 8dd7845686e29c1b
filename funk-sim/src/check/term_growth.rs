//! Term growth: while nothing disturbs any node, and nobody asks for anything
//! that changes the cluster, no new term begins.

use std::time::Duration;

use funk_proto::id::Term;

use crate::checker::{Checker, Scene, Verdict};
use crate::host::{Facts, Host};

/// What was wrong before that may still be felt within it: the slowest elections, and changes of voters after them.
const CALM: Duration = Duration::from_secs(4);

/// No election without a cause.
#[derive(Debug, Default)]
pub struct TermGrowth {
    highest: Term,
}

/// Whether a host does not matter: it is none of ours, or has its own end before it.
fn is_apart(host: &Host) -> bool {
    !host.exists() || host.foreign || host.is_refused()
}

impl Checker for TermGrowth {
    fn name(&self) -> &'static str {
        "term growth"
    }

    fn on_change(&mut self, scene: Scene<'_>, at: usize, _before: Option<&Facts>) -> Verdict {
        let Some(facts) = scene.hosts[at].facts() else { return Ok(()) };
        if facts.term <= self.highest {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.highest, facts.term);
        let calm = |host: &Host| is_apart(host) || host.calm_for(scene.now) >= CALM;
        if before != Term::default() && scene.hosts.iter().all(calm) {
            return Err(format!("{} begins term {} after {before} undisturbed", scene.name(at), facts.term));
        }
        Ok(())
    }
}
