//! The driver's one timer.

use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use funk_proto::Timestamp;

use super::hub::{Hub, Source};
use crate::clock::Clock;
use crate::runtime::Runtime;

/// A timer that is armed again only for an earlier instant, or once it fired:
/// most deadlines move back and back again, and one wake-up too early now and
/// then costs less than arming for each.
pub(super) struct Alarm<R: Runtime> {
    timer: Option<R::Timer>,
    source: Arc<Source>,
    waker: Waker,
    armed: Option<Timestamp>,
    fired: bool,
}

impl<R: Runtime> Alarm<R> {
    pub(super) fn new(hub: &Arc<Hub>) -> Self {
        let source = Source::new(hub);
        Self { timer: None, waker: Waker::from(Arc::clone(&source)), source, armed: None, fired: false }
    }

    /// How much later than promised the pass that began `now` comes.
    pub(super) fn lateness(&self, now: Timestamp) -> Option<Duration> {
        self.armed.map(|at| now.since(at))
    }

    /// Takes note if the timer fired.
    pub(super) fn poll(&mut self) {
        // Taken in any case: a flag left standing would swallow the next wake-up.
        let woken = self.source.take() && !self.fired;
        if let Some(timer) = self.timer.as_mut().filter(|_| woken) {
            self.fired = R::poll_timer(timer, &mut Context::from_waker(&self.waker)).is_ready();
        }
    }

    /// Promises, in a pass that `began` then, the next one at `next`. A deadline
    /// that was over already counts as one at the beginning of this pass: what
    /// the node asks for at once is no lateness, a pass that was stopped is.
    pub(super) fn promise(&mut self, next: Option<Timestamp>, began: Timestamp, clock: Clock) {
        let Some(next) = next.map(|next| next.max(began)) else {
            // An armed timer may fire for nothing; but it promises no pass any more.
            self.armed = None;
            return;
        };
        let now = clock.now();
        // The timer's clock may be a little ahead of ours: what fired must be
        // armed again even if its instant has not come here.
        let over = std::mem::take(&mut self.fired) || self.armed.is_some_and(|at| at <= now);
        if !over && self.armed.is_some_and(|at| at <= next) {
            return;
        }
        self.armed = Some(next);
        let at = Instant::now() + next.since(now);
        let timer = match &mut self.timer {
            Some(timer) => {
                R::arm(timer, at);
                timer
            }
            none => none.insert(R::timer(at)),
        };
        if R::poll_timer(timer, &mut Context::from_waker(&self.waker)).is_ready() {
            self.fired = true;
            self.waker.wake_by_ref();
        }
    }
}
