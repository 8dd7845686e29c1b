//! Membership events: each member joins before it leaves or fails, and does
//! neither twice in a row.

use std::collections::{BTreeMap, BTreeSet};

use funk_proto::Event;
use funk_proto::id::RaftId;

use crate::checker::{Checker, Scene, Verdict};

/// Members come before they go.
#[derive(Debug, Default)]
pub struct MembershipEvents {
    up: Vec<BTreeSet<RaftId>>,
    seen: BTreeMap<RaftId, String>,
}

impl Checker for MembershipEvents {
    fn name(&self) -> &'static str {
        "membership events"
    }

    fn on_start(&mut self, scene: Scene<'_>, at: usize) -> Verdict {
        self.up.resize_with(scene.hosts.len(), BTreeSet::new);
        self.up[at].clear();
        Ok(())
    }

    fn on_event(&mut self, scene: Scene<'_>, at: usize, event: &Event) -> Verdict {
        match event {
            Event::MemberJoined { name, id } => {
                self.seen.insert(*id, name.to_string());
                if !self.up[at].insert(*id) {
                    return Err(format!("{} is told twice that {name} joined", scene.name(at)));
                }
            }
            Event::MemberFailed { name, id } if !self.up[at].remove(id) => {
                return Err(format!("{} is told that {name} failed, and never that it joined", scene.name(at)));
            }
            // A member that was declared dead may be taken out of the table later.
            Event::MemberLeft { id, .. } => {
                self.up[at].remove(id);
            }
            _ => {}
        }
        Ok(())
    }
}
