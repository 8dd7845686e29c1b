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
    /// A source that is ready at first, so that the next pass looks at it and it
    /// registers itself. That pass comes at once.
    pub(crate) fn new(hub: &Arc<Hub>) -> Arc<Self> {
        hub.wake();
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Debug, Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_source_wakes_the_task_once_until_it_is_taken() {
        let (hub, count) = (Arc::new(Hub::default()), Arc::new(Count::default()));
        let task = Waker::from(Arc::clone(&count));
        hub.register(&Context::from_waker(&task));
        let source = Source::new(&hub);
        assert_eq!(count.0.load(Ordering::SeqCst), 1, "a new source is looked at in a pass that comes at once");
        assert!(source.take() && !source.take());
        let waker = Waker::from(Arc::clone(&source));
        waker.wake_by_ref();
        waker.wake();
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
        assert!(source.take());
    }
}
