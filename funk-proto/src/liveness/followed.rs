//! The leader that a node follows, and since when it is not heard.

use std::time::Duration;

use crate::id::RaftId;
use crate::time::Timestamp;

/// A leader, and when it was heard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Followed {
    pub(super) leader: RaftId,
    pub(super) last_heard: Timestamp,
    /// The lease that its heartbeats say.
    pub(super) lease: Duration,
    /// It was given up.
    pub(super) silent: bool,
}

impl Followed {
    /// A leader that is heard just now.
    pub(super) fn new(leader: RaftId, now: Timestamp, lease: Duration) -> Self {
        Self { leader, last_heard: now, lease, silent: false }
    }

    /// When it was last heard, if it is this node.
    pub(super) fn heard(&self, id: RaftId) -> Option<Timestamp> {
        (self.leader == id).then_some(self.last_heard)
    }

    /// A frame came on a stream of `from`. A leader that was given up, and still says something,
    /// runs and has only stopped to lead: it sends no heartbeats that could be missed.
    pub(super) fn handle_frame(&mut self, now: Timestamp, from: RaftId) {
        if self.silent && self.leader == from {
            self.last_heard = now;
        }
    }

    /// When it is given up, unless it is already.
    pub(super) fn due(&self, timeout: Duration) -> Option<Timestamp> {
        (!self.silent).then(|| self.last_heard + timeout)
    }

    /// This process did not run for `gap`, and could hear nobody.
    pub(super) fn prolong(&mut self, now: Timestamp, gap: Duration) {
        self.last_heard = (self.last_heard + gap).min(now);
    }
}
