//! Worker ids: no two processes may use one at the same time, nor the next one
//! before the guard time after the last lease of the one before has passed,
//! while every clock keeps to the drift bound.

use std::collections::BTreeMap;
use std::time::Duration;

use funk_proto::Timestamp;
use funk_proto::id::{BootId, ClusterId, WorkerId};
use funk_proto::limits::WORKER_ID_GUARD;

use super::clocks::Clocks;
use crate::checker::{Checker, Scene, Verdict};
use crate::host::{Facts, Host};

/// After a clock was out of bounds, waits of that time may still count.
const AFTER_DRIFT: Duration = Duration::from_secs(4);

/// Who used an id last.
#[derive(Debug)]
struct Use {
    at: usize,
    boot: BootId,
    /// True time at which its lease ends, as far as it was seen.
    until: Timestamp,
}

/// No two may have one worker id.
#[derive(Debug, Default)]
pub struct WorkerIds {
    clocks: Clocks,
    last: BTreeMap<(ClusterId, WorkerId), Use>,
}

/// The id that a host may use now, and in which cluster.
fn usable(host: &Host, now: Timestamp) -> Option<(ClusterId, WorkerId)> {
    let look = host.node().filter(|_| host.lease_ends() > now && !host.foreign)?.inspect();
    Some((look.cluster()?, look.worker_id()?))
}

impl Checker for WorkerIds {
    fn name(&self) -> &'static str {
        "worker ids"
    }

    fn on_change(&mut self, scene: Scene<'_>, at: usize, before: Option<&Facts>) -> Verdict {
        let host = &scene.hosts[at];
        let Some(facts) = host.facts() else { return Ok(()) };
        let same =
            |before: &Facts| before.lease_until == facts.lease_until && before.route_version == facts.route_version;
        if before.is_some_and(same) {
            return Ok(());
        }
        let Some(id) = usable(host, scene.now) else { return Ok(()) };
        let until = host.lease_ends();
        let new = Use { at, boot: facts.boot, until };
        let Some(last) = self.last.insert(id, new).filter(|last| last.boot != facts.boot) else { return Ok(()) };
        if self.clocks.are_trusted(scene.now) && scene.now < last.until + WORKER_ID_GUARD {
            let (one, two, id, until) = (scene.name(at), scene.name(last.at), id.1, last.until);
            return Err(format!("{one} may use worker id {id}, which {two} could use until {until}"));
        }
        Ok(())
    }

    fn on_drift(&mut self, scene: Scene<'_>, within: bool) -> Verdict {
        self.clocks.note(scene.now, within, AFTER_DRIFT);
        Ok(())
    }
}
