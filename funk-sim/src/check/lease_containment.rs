//! Lease containment: a lease never reaches further than its length from now,
//! and none outlives a stop of its process.

use std::time::Duration;

use crate::checker::{Checker, Scene, Verdict};
use crate::host::Facts;

/// A lease is never longer than the longest that any node knew the cluster's lease to be, and none outlives a stop.
#[derive(Debug, Default)]
pub struct LeaseContainment {
    longest: Duration,
}

impl Checker for LeaseContainment {
    fn name(&self) -> &'static str {
        "lease containment"
    }

    fn on_change(&mut self, scene: Scene<'_>, at: usize, before: Option<&Facts>) -> Verdict {
        let host = &scene.hosts[at];
        let Some(facts) = host.facts() else { return Ok(()) };
        if before.is_some_and(|before| before.lease_until == facts.lease_until) {
            return Ok(());
        }
        let length = facts.lease_until.since(host.clock.local(scene.now));
        if length > self.longest {
            let known = scene.hosts.iter().filter_map(|host| Some(host.node()?.lease()));
            self.longest = known.max().unwrap_or_default().max(self.longest);
        }
        if length > self.longest {
            return Err(format!("{} has a lease for another {length:?}", scene.name(at)));
        }
        Ok(())
    }

    fn on_resume(&mut self, scene: Scene<'_>, at: usize) -> Verdict {
        let host = &scene.hosts[at];
        let Some(facts) = host.facts() else { return Ok(()) };
        let now = host.clock.local(scene.now);
        let voters = host.node().map_or(0, |node| node.inspect().voters().len());
        // A sole voter takes its lease anew at once; it has nobody to ask.
        if voters > 1 && facts.lease_until > now && host.resumed_after_gap() {
            return Err(format!("{} goes on with a lease from before it stood still", scene.name(at)));
        }
        Ok(())
    }
}
