//! Proposals: what was acknowledged is there, what was rejected never comes,
//! nothing comes twice, and every node sees one order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use funk_proto::id::{BootId, LogIndex};
use funk_proto::{Event, Outcome, RequestId, Timestamp};

use crate::checker::{Checker, Scene, Verdict};

/// At the end of a run nobody has waited longer for a proposal to end.
const WAIT_MAX: Duration = Duration::from_secs(15);

/// No acknowledged proposal is lost, no rejected one applied.
#[derive(Debug, Default)]
pub struct Proposals {
    /// With the time at which each went in.
    open: BTreeMap<(BootId, RequestId), (Timestamp, Bytes)>,
    applied: BTreeMap<LogIndex, Bytes>,
    places: BTreeMap<Bytes, LogIndex>,
    promised: BTreeMap<LogIndex, Bytes>,
    rejected: BTreeSet<Bytes>,
    last: Vec<LogIndex>,
}

impl Proposals {
    fn applied(&mut self, scene: Scene<'_>, at: usize, index: LogIndex, bytes: &Bytes) -> Verdict {
        let name = scene.name(at);
        if index <= self.last[at] {
            return Err(format!("{name} applies {index} after {}", self.last[at]));
        }
        self.last[at] = index;
        let known = self.applied.entry(index).or_insert_with(|| bytes.clone());
        if known != bytes || self.promised.get(&index).is_some_and(|promised| promised != bytes) {
            return Err(format!("{name} applies another proposal at {index} than was promised or applied before"));
        }
        if *self.places.entry(bytes.clone()).or_insert(index) != index {
            return Err(format!("{name} applies the proposal of {index} a second time"));
        }
        if self.rejected.contains(bytes) {
            return Err(format!("{name} applies at {index} what was rejected"));
        }
        Ok(())
    }
}

impl Checker for Proposals {
    fn name(&self) -> &'static str {
        "proposals"
    }

    fn on_start(&mut self, scene: Scene<'_>, at: usize) -> Verdict {
        self.last.resize(scene.hosts.len(), LogIndex(0));
        self.last[at] = LogIndex(0);
        Ok(())
    }

    fn on_propose(&mut self, scene: Scene<'_>, at: usize, id: RequestId, bytes: &[u8]) -> Verdict {
        if let Some(facts) = scene.hosts[at].facts() {
            self.open.insert((facts.boot, id), (scene.now, Bytes::copy_from_slice(bytes)));
        }
        Ok(())
    }

    fn on_event(&mut self, scene: Scene<'_>, at: usize, event: &Event) -> Verdict {
        match event {
            Event::Committed { index, bytes } => self.applied(scene, at, *index, bytes),
            Event::RequestDone { id, outcome } => {
                let Some(facts) = scene.hosts[at].facts() else { return Ok(()) };
                let Some((_, bytes)) = self.open.remove(&(facts.boot, *id)) else { return Ok(()) };
                match outcome {
                    Outcome::Committed(index) => {
                        if self.applied.get(index).is_some_and(|applied| *applied != bytes) {
                            return Err(format!("{} promised {index} to another proposal", scene.name(at)));
                        }
                        self.promised.insert(*index, bytes);
                    }
                    Outcome::Rejected(_) => {
                        if self.places.contains_key(&bytes) {
                            return Err(format!("{} rejects what was applied", scene.name(at)));
                        }
                        self.rejected.insert(bytes);
                    }
                    _ => {}
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn at_end(&mut self, scene: Scene<'_>) -> Verdict {
        for host in scene.hosts.iter().filter(|host| host.runs() && !host.foreign && !host.is_refused()) {
            let Some(facts) = host.facts() else { continue };
            let waiting =
                self.open.iter().find(|((boot, _), (since, _))| *boot == facts.boot && scene.now - *since > WAIT_MAX);
            if let Some(((_, id), (since, _))) = waiting {
                return Err(format!("{} still waits for request {} of {since}", host.config.name, id.0));
            }
        }
        Ok(())
    }
}
