//! No false positives: a leader that nothing disturbs does not declare a
//! member dead that runs, and that nothing disturbs either.

use std::collections::VecDeque;
use std::time::Duration;

use funk_proto::consensus::RaftRole;
use funk_proto::id::LogIndex;
use funk_proto::status::NodeState;
use funk_proto::{Event, Timestamp};

use crate::checker::{Checker, Scene, Verdict};
use crate::host::{Facts, Host};

/// What was wrong before that may still be felt within it: some member timeouts.
const CALM: Duration = Duration::from_secs(1);

/// Nobody is declared dead who answers in time.
#[derive(Debug, Default)]
pub struct FalsePositives {
    /// The last entry of each host's log, and when it got there, while it leads:
    /// what is committed only now may have been decided long ago.
    logs: Vec<VecDeque<(LogIndex, Timestamp)>>,
}

/// Whether its own table holds this process for up, and it does not leave.
fn is_in(host: &Host) -> bool {
    let (Some(node), Some(facts)) = (host.node(), host.facts()) else { return false };
    let leaves = matches!(node.status().state, NodeState::Draining | NodeState::Stopping);
    !leaves && node.inspect().up().contains(&(facts.id, facts.boot))
}

impl Checker for FalsePositives {
    fn name(&self) -> &'static str {
        "false positives"
    }

    fn on_change(&mut self, scene: Scene<'_>, at: usize, before: Option<&Facts>) -> Verdict {
        self.logs.resize_with(scene.hosts.len(), VecDeque::new);
        let (log, Some(facts)) = (&mut self.logs[at], scene.hosts[at].facts()) else { return Ok(()) };
        if before.is_none_or(|before| (before.role, before.term) != (facts.role, facts.term)) {
            log.clear();
            // What is in it by now is of other times and leaders.
            log.push_back((before.map_or(facts.last_index, |before| before.last_index), Timestamp::ZERO));
        }
        if facts.role == RaftRole::Leader && log.back().is_none_or(|(last, _)| *last < facts.last_index) {
            log.push_back((facts.last_index, scene.now));
        }
        while log.front().is_some_and(|(last, _)| *last <= facts.applied) {
            log.pop_front();
        }
        Ok(())
    }

    fn on_event(&mut self, scene: Scene<'_>, at: usize, event: &Event) -> Verdict {
        let Event::MemberFailed { name, id } = event else { return Ok(()) };
        let host = &scene.hosts[at];
        // The entry that says so is behind those that were applied before this step.
        let decided = self.logs.get(at).and_then(|log| log.front()).map(|(_, when)| *when);
        let Some(decided) = decided.filter(|_| host.facts().is_some_and(|facts| facts.role == RaftRole::Leader)) else {
            return Ok(());
        };
        let calm = |host: &Host| host.calm_for(scene.now) >= CALM + (scene.now - decided);
        if !calm(host) {
            return Ok(());
        }
        let lives = |host: &&Host| host.facts().is_some_and(|facts| facts.id == *id) && is_in(host);
        match scene.hosts.iter().find(lives).filter(|host| calm(host)) {
            Some(_) => Err(format!("{} declares {name} dead, which runs undisturbed", scene.name(at))),
            None => Ok(()),
        }
    }
}
