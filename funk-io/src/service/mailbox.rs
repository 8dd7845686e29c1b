//! What waits for the service's thread.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use funk_proto::id::ShardId;
use funk_proto::limits;
use funk_proto::service::ServiceInput;

use super::{AskError, Reply};

/// Two queues: what the node told goes before what clients ask. What the node
/// told is not bounded by count, since nothing of it may be lost and the driver
/// never waits.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    queues: Mutex<Queues>,
    bell: Condvar,
    /// Requests that have come in and not ended.
    open: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Queues {
    told: VecDeque<ServiceInput>,
    asked: VecDeque<Asked>,
    closed: bool,
}

/// A request on its way to the service.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) shard: ShardId,
    pub(super) bytes: Bytes,
    pub(super) reply: Reply,
    pub(super) ticket: Ticket,
}

/// One of the requests that may be in hand at one time.
#[derive(Debug)]
pub(super) struct Ticket(Arc<AtomicUsize>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Next {
    Told(ServiceInput),
    Asked(Asked),
    /// The wait is over.
    Late,
    /// The driver has stopped, and all that it told was read.
    Closed,
}

impl Mailbox {
    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tell(&self, input: ServiceInput) {
        self.queues().told.push_back(input);
        self.bell.notify_one();
    }

    pub(super) fn ask(&self, shard: ShardId, bytes: Bytes, reply: Reply) -> Result<(), AskError> {
        let mut queues = self.queues();
        if queues.closed {
            return Err(AskError::Stopped);
        }
        // Counted in before the look; the ticket counts out whatever happens.
        let before = self.open.fetch_add(1, Ordering::SeqCst);
        let ticket = Ticket(Arc::clone(&self.open));
        if before >= limits::SERVICE_REQUESTS_MAX {
            return Err(AskError::Busy);
        }
        queues.asked.push_back(Asked { shard, bytes, reply, ticket });
        self.bell.notify_one();
        Ok(())
    }

    /// What the node told, if anything waits.
    pub(super) fn told(&self) -> Option<ServiceInput> {
        self.queues().told.pop_front()
    }

    /// The next thing, waited for as long as `wait`, or for ever.
    pub(super) fn next(&self, wait: Option<Duration>) -> Next {
        let empty = |queues: &mut Queues| queues.told.is_empty() && queues.asked.is_empty() && !queues.closed;
        let queues = self.queues();
        let mut queues = match wait {
            Some(wait) => self.bell.wait_timeout_while(queues, wait, empty).unwrap_or_else(PoisonError::into_inner).0,
            None => self.bell.wait_while(queues, empty).unwrap_or_else(PoisonError::into_inner),
        };
        if let Some(input) = queues.told.pop_front() {
            return Next::Told(input);
        }
        if queues.closed {
            return Next::Closed;
        }
        queues.asked.pop_front().map_or(Next::Late, Next::Asked)
    }

    /// Nothing comes in any more; the askers that wait are told so.
    pub(super) fn close(&self) {
        let asked = {
            let mut queues = self.queues();
            queues.closed = true;
            std::mem::take(&mut queues.asked)
        };
        self.bell.notify_one();
        drop(asked);
    }
}
