//! Who woke the driver: one flag for each socket, stream and timer, so that a
//! pass looks only at those that have something to say.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};

/// The driver task's own waker.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    task: Mutex<Option<Waker>>,
}

impl Hub {
    /// To be called at the start of each poll of the driver's task.
    pub(crate) fn register(&self, context: &Context<'_>) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        match &*task {
            Some(task) if task.will_wake(context.waker()) => {}
            _ => *task = Some(context.waker().clone()),
        }
    }

    fn wake(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

/// One thing that wakes the driver.
#[derive(Debug)]
pub(crate) struct Source {
    hub: Arc<Hub>,
    ready: AtomicBool,
}

impl Source {
    /// A source that is ready at first: it is looked at once, and registers itself then.
    pub(crate) fn new(hub: &Arc<Hub>) -> Arc<Self> {
        Arc::new(Self { hub: Arc::clone(hub), ready: AtomicBool::new(true) })
    }

    /// Whether it woke the driver since it was last taken.
    pub(crate) fn take(&self) -> bool {
        // A load first: most sources are quiet, and a swap would claim the cache line.
        self.ready.load(Ordering::Acquire) && self.ready.swap(false, Ordering::AcqRel)
    }
}

impl Wake for Source {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.ready.swap(true, Ordering::AcqRel) {
            self.hub.wake();
        }
    }
}
