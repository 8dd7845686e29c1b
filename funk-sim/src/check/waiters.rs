//! Waiters: whoever asked for something gets an end of it, while the process lives.

use std::collections::BTreeMap;
use std::time::Duration;

use funk_proto::id::BootId;
use funk_proto::limits::OPERATION_TIMEOUT;
use funk_proto::{Event, RequestId, Timestamp};

use crate::checker::{Checker, Scene, Verdict};
use crate::host::Facts;

/// Nobody waits longer for an operation, whatever clocks and pauses do.
const WAIT_MAX: Duration = Duration::from_secs(OPERATION_TIMEOUT.as_secs() + 15);

/// No request goes without an end.
#[derive(Debug, Default)]
pub struct Waiters {
    open: BTreeMap<(BootId, RequestId), Timestamp>,
}

impl Waiters {
    fn look(&self, scene: Scene<'_>, at: usize) -> Verdict {
        let Some(facts) = scene.hosts[at].facts().filter(|_| scene.hosts[at].runs()) else { return Ok(()) };
        let mut own = self.open.range((facts.boot, RequestId(0))..=(facts.boot, RequestId(u64::MAX)));
        match own.find(|(_, since)| scene.now - **since > WAIT_MAX) {
            Some(((_, id), since)) => Err(format!("{} still waits for request {} of {since}", scene.name(at), id.0)),
            None => Ok(()),
        }
    }
}

impl Checker for Waiters {
    fn name(&self) -> &'static str {
        "waiters"
    }

    fn on_request(&mut self, scene: Scene<'_>, at: usize, id: RequestId) -> Verdict {
        self.open.extend(scene.hosts[at].facts().map(|facts| ((facts.boot, id), scene.now)));
        Ok(())
    }

    fn on_event(&mut self, scene: Scene<'_>, at: usize, event: &Event) -> Verdict {
        let (Event::RequestDone { id, .. }, Some(facts)) = (event, scene.hosts[at].facts()) else { return Ok(()) };
        self.open.remove(&(facts.boot, *id));
        Ok(())
    }

    fn on_stop(&mut self, scene: Scene<'_>, at: usize) -> Verdict {
        let Some(facts) = scene.hosts[at].facts() else { return Ok(()) };
        self.open.retain(|(boot, _), _| *boot != facts.boot);
        Ok(())
    }

    fn on_change(&mut self, scene: Scene<'_>, at: usize, _before: Option<&Facts>) -> Verdict {
        self.look(scene, at)
    }

    fn at_end(&mut self, scene: Scene<'_>) -> Verdict {
        (0..scene.hosts.len()).try_for_each(|at| self.look(scene, at))
    }
}
