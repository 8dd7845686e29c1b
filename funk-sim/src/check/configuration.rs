//! Configuration: every node has the same voters at the same index, a step from
//! one set to the next keeps their majorities overlapping, and nobody goes on
//! leading without a vote of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use funk_proto::Timestamp;
use funk_proto::consensus::RaftRole;
use funk_proto::id::RaftId;

use crate::checker::{Checker, Scene, Verdict};
use crate::host::Facts;

type Voters = (BTreeSet<RaftId>, BTreeSet<RaftId>);

/// A node that finds out by its own log that it votes no more may lead for so long.
const LEADS_WITHOUT_VOTE_MAX: Duration = Duration::from_secs(4);

/// Voters change in steps whose majorities overlap, and leaders are among them.
#[derive(Debug, Default)]
pub struct Configuration {
    by_index: BTreeMap<u64, Voters>,
    last: Vec<Option<(u64, Voters)>>,
    /// Since when a host leads without a vote.
    voteless: BTreeMap<usize, Timestamp>,
}

fn may_follow(before: &Voters, after: &Voters) -> bool {
    let ((was, was_out), (is, is_out)) = (before, after);
    before == after
        || was.is_empty()
        || was_out.is_empty() && is_out == was
        || !was_out.is_empty() && is_out.is_empty() && is == was
        || was_out.is_empty() && is_out.is_empty() && was.symmetric_difference(is).count() <= 1
}

impl Configuration {
    /// A leader without a vote hands leadership over, or takes its vote back.
    fn leads_with_a_vote(&mut self, scene: Scene<'_>, at: usize, votes: bool) -> Verdict {
        let host = &scene.hosts[at];
        let leads = host.facts().is_some_and(|facts| facts.role == RaftRole::Leader);
        if !leads || votes {
            self.voteless.remove(&at);
            return Ok(());
        }
        let since = *self.voteless.entry(at).or_insert(scene.now);
        let length = (scene.now - since).min(host.calm_for(scene.now));
        if length > LEADS_WITHOUT_VOTE_MAX {
            return Err(format!("{} has led for {length:?} without a vote of its own", scene.name(at)));
        }
        Ok(())
    }
}

impl Checker for Configuration {
    fn name(&self) -> &'static str {
        "configuration"
    }

    fn on_start(&mut self, scene: Scene<'_>, at: usize) -> Verdict {
        self.last.resize_with(scene.hosts.len(), || None);
        self.last[at] = None;
        self.voteless.remove(&at);
        Ok(())
    }

    fn on_change(&mut self, scene: Scene<'_>, at: usize, before: Option<&Facts>) -> Verdict {
        let host = &scene.hosts[at];
        let (Some(facts), Some(node)) = (host.facts(), host.node()) else { return Ok(()) };
        if facts.role == RaftRole::Leader || self.voteless.contains_key(&at) {
            let look = node.inspect();
            let votes = look.voters().contains(&facts.id) || look.outgoing_voters().contains(&facts.id);
            self.leads_with_a_vote(scene, at, votes)?;
        }
        // With a snapshot on its way to the disk, the voters are ahead of what is applied.
        let ahead = facts.applied != facts.commit || facts.applied.0 == 0;
        if ahead || before.is_some_and(|before| before.applied == facts.applied && before.commit == facts.commit) {
            return Ok(());
        }
        let voters = (node.inspect().voters(), node.inspect().outgoing_voters());
        let known = self.by_index.entry(facts.applied.0).or_insert_with(|| voters.clone());
        if *known != voters {
            let (name, applied) = (scene.name(at), facts.applied);
            return Err(format!("{name} has voters {voters:?} at {applied}, a node before it {known:?}"));
        }
        let last = self.last[at].replace((facts.applied.0, voters.clone()));
        if let Some((index, last)) = last.filter(|(index, _)| index + 1 == facts.applied.0)
            && !may_follow(&last, &voters)
        {
            let name = scene.name(at);
            return Err(format!("{name} goes from voters {last:?} at {index} straight to {voters:?}"));
        }
        Ok(())
    }
}
