//! How the application learns where the nodes' endpoints are.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_listener::Event as Notify;
use funk_proto::{EndpointEvent, EndpointSet};

use crate::error::Stopped;

/// Tells each endpoint of each live node, and what becomes of it.
///
/// First come those that are there already, as added. From then on the events
/// lead from one snapshot to a later one: a subscriber that is slow misses
/// steps in between (an endpoint that came and went, two moves as one) but
/// never ends up with a wrong snapshot, and what waits for it is bounded by
/// the endpoints that there are.
#[derive(Debug)]
pub struct Endpoints {
    watchers: Arc<EndpointWatchers>,
    name: Option<String>,
    seen: Arc<EndpointSet>,
    pending: VecDeque<EndpointEvent>,
}

impl Endpoints {
    pub(crate) fn new(watchers: &Arc<EndpointWatchers>, name: Option<&str>) -> Self {
        let (watchers, name) = (Arc::clone(watchers), name.map(Into::into));
        Self { watchers, name, seen: Arc::default(), pending: VecDeque::new() }
    }

    /// The next event. Dropping the future loses none.
    ///
    /// # Errors
    /// [`Stopped`] when the driver has stopped and all events were read.
    pub async fn next(&mut self) -> Result<EndpointEvent, Stopped> {
        loop {
            let changed = self.watchers.changed.listen();
            if let Some(next) = self.try_next() {
                return next;
            }
            changed.await;
        }
    }

    /// The next event if there is one already.
    pub fn try_next(&mut self) -> Option<Result<EndpointEvent, Stopped>> {
        if self.pending.is_empty() {
            let (set, ended) = self.watchers.read();
            let wanted = |name: &str| self.name.as_deref().is_none_or(|wanted| wanted == name);
            self.pending = set.changes_since(&self.seen, wanted).into();
            self.seen = set;
            if ended && self.pending.is_empty() {
                return Some(Err(Stopped));
            }
        }
        self.pending.pop_front().map(Ok)
    }
}

/// The latest snapshot, published by the driver.
#[derive(Debug, Default)]
pub(crate) struct EndpointWatchers {
    shown: Mutex<Shown>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Shown {
    set: Arc<EndpointSet>,
    version: u64,
    ended: bool,
}

impl EndpointWatchers {
    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> (Arc<EndpointSet>, bool) {
        let shown = self.shown();
        (Arc::clone(&shown.set), shown.ended)
    }

    pub(crate) fn set(&self) -> Arc<EndpointSet> {
        self.read().0
    }

    /// Shows a snapshot, if `version` is new.
    pub(crate) fn publish(&self, version: u64, set: impl FnOnce() -> Arc<EndpointSet>) {
        let mut shown = self.shown();
        if shown.version != version {
            shown.version = version;
            shown.set = set();
            drop(shown);
            self.changed.notify(usize::MAX);
        }
    }

    /// No snapshot will follow.
    pub(crate) fn end(&self) {
        self.shown().ended = true;
        self.changed.notify(usize::MAX);
    }
}
