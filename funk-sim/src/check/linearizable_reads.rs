//! Linearizable reads: who was told that it sees all that was committed before
//! it asked sees what anybody had applied by then.

use std::collections::BTreeMap;

use funk_proto::id::{BootId, LogIndex};
use funk_proto::{Event, Outcome, RequestId};

use crate::checker::{Checker, Scene, Verdict};

/// A barrier stands behind whatever anybody saw before it.
#[derive(Debug, Default)]
pub struct LinearizableReads {
    /// The newest entry that was applied anywhere.
    newest: LogIndex,
    /// Barriers that were asked for, with the newest entry of that moment.
    open: BTreeMap<(BootId, RequestId), LogIndex>,
}

impl Checker for LinearizableReads {
    fn name(&self) -> &'static str {
        "linearizable reads"
    }

    fn on_barrier(&mut self, scene: Scene<'_>, at: usize, id: RequestId) -> Verdict {
        let host = &scene.hosts[at];
        if let Some(facts) = host.facts().filter(|_| !host.foreign) {
            self.open.insert((facts.boot, id), self.newest);
        }
        Ok(())
    }

    fn on_event(&mut self, scene: Scene<'_>, at: usize, event: &Event) -> Verdict {
        let host = &scene.hosts[at];
        let Some(facts) = host.facts().filter(|_| !host.foreign) else { return Ok(()) };
        match event {
            Event::Committed { index, .. } => self.newest = self.newest.max(*index),
            Event::RequestDone { id, outcome: Outcome::Committed(index) } => {
                let before = self.open.remove(&(facts.boot, *id));
                if let Some(before) = before.filter(|before| index <= before) {
                    let name = scene.name(at);
                    return Err(format!("{name} reads as of {index}, and {before} was applied before it asked"));
                }
                self.newest = self.newest.max(*index);
            }
            _ => {}
        }
        Ok(())
    }
}
