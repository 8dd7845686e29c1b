//! What waits for the service's thread.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use funk_proto::Event;
use funk_proto::id::ShardId;
use funk_proto::service::ServiceInput;

use super::{AskError, Reply};
use crate::limits;

/// Two queues: what the node told goes before what clients ask. Nothing of what
/// the node told may be lost, and the driver never waits: while much of it
/// waits, requests are turned away; when it is too much, the node stops.
#[derive(Debug)]
pub(crate) struct Mailbox {
    queues: Mutex<Queues>,
    bell: Condvar,
    open: Arc<Open>,
    bounds: Bounds,
}

/// What may wait for a service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Things that the node told.
    pub(crate) told: usize,
    /// Bytes of them.
    pub(crate) told_bytes: usize,
    /// Requests in hand.
    pub(crate) requests: usize,
    /// Bytes of them.
    pub(crate) request_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            told: limits::SERVICE_TOLD_MAX,
            told_bytes: limits::SERVICE_TOLD_BYTES_MAX,
            requests: limits::SERVICE_REQUESTS_MAX,
            request_bytes: limits::SERVICE_REQUEST_BYTES_MAX,
        }
    }
}

/// The service has not taken what it was told, and there is no room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stuck;

/// Requests that have come in and not ended, and their bytes.
#[derive(Debug, Default)]
struct Open {
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

#[derive(Debug, Default)]
struct Queues {
    told: VecDeque<ServiceInput>,
    told_bytes: usize,
    asked: VecDeque<Asked>,
    closed: bool,
}

impl Queues {
    fn take_told(&mut self) -> Option<ServiceInput> {
        let input = self.told.pop_front()?;
        self.told_bytes -= bytes_of(&input);
        Some(input)
    }
}

/// Bytes that came from outside.
fn bytes_of(input: &ServiceInput) -> usize {
    match input {
        ServiceInput::SnapshotInstalled { state, .. } | ServiceInput::StateReceived { state, .. } => state.len(),
        ServiceInput::Node(Event::Committed { bytes, .. }) => bytes.len(),
        ServiceInput::Node(Event::Owned { shards, .. }) | ServiceInput::StateWanted { shards, .. } => {
            size_of_val(shards.as_slice())
        }
        _ => 0,
    }
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
pub(super) struct Ticket {
    open: Arc<Open>,
    bytes: usize,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.open.requests.fetch_sub(1, Ordering::SeqCst);
        self.open.bytes.fetch_sub(self.bytes, Ordering::SeqCst);
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
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { queues: Mutex::default(), bell: Condvar::new(), open: Arc::default(), bounds }
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues what the node told; a service that has ended needs none of it.
    pub(super) fn tell(&self, input: ServiceInput) -> Result<(), Stuck> {
        let mut queues = self.queues();
        if queues.closed {
            return Ok(());
        }
        let bytes = queues.told_bytes + bytes_of(&input);
        // One thing of any size always has room: the core bounds its size.
        let full = queues.told.len() >= self.bounds.told || bytes > self.bounds.told_bytes && !queues.told.is_empty();
        if full {
            return Err(Stuck);
        }
        queues.told_bytes = bytes;
        queues.told.push_back(input);
        self.bell.notify_one();
        Ok(())
    }

    pub(super) fn ask(&self, shard: ShardId, bytes: Bytes, reply: Reply) -> Result<(), AskError> {
        let mut queues = self.queues();
        if queues.closed {
            return Err(AskError::Stopped);
        }
        // Counted in before the look; the ticket counts out whatever happens.
        let requests = self.open.requests.fetch_add(1, Ordering::SeqCst);
        let before = self.open.bytes.fetch_add(bytes.len(), Ordering::SeqCst);
        let ticket = Ticket { open: Arc::clone(&self.open), bytes: bytes.len() };
        let large = before + bytes.len() > self.bounds.request_bytes;
        let behind = queues.told.len() > self.bounds.told / 4 || queues.told_bytes > self.bounds.told_bytes / 4;
        if requests >= self.bounds.requests || large || behind {
            return Err(AskError::Busy);
        }
        queues.asked.push_back(Asked { shard, bytes, reply, ticket });
        self.bell.notify_one();
        Ok(())
    }

    /// What the node told, if anything waits.
    pub(super) fn told(&self) -> Option<ServiceInput> {
        self.queues().take_told()
    }

    /// The next thing, waited for as long as `wait`, or for ever.
    pub(super) fn next(&self, wait: Option<Duration>) -> Next {
        let empty = |queues: &mut Queues| queues.told.is_empty() && queues.asked.is_empty() && !queues.closed;
        let queues = self.queues();
        let mut queues = match wait {
            Some(wait) => self.bell.wait_timeout_while(queues, wait, empty).unwrap_or_else(PoisonError::into_inner).0,
            None => self.bell.wait_while(queues, empty).unwrap_or_else(PoisonError::into_inner),
        };
        if let Some(input) = queues.take_told() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use funk_proto::id::LogIndex;

    const BOUNDS: Bounds = Bounds { told: 8, told_bytes: 100, requests: 3, request_bytes: 50 };

    fn told(bytes: usize) -> ServiceInput {
        ServiceInput::SnapshotInstalled { index: LogIndex(1), state: vec![0; bytes].into() }
    }

    fn ask(mailbox: &Mailbox, bytes: usize) -> Result<(), AskError> {
        let (reply, answer) = async_channel::bounded(1);
        drop(answer);
        mailbox.ask(ShardId(0), vec![0; bytes].into(), reply)
    }

    #[test]
    fn who_takes_nothing_is_stuck_at_the_bound_of_things() {
        let mailbox = Mailbox::new(BOUNDS);
        for _ in 0..8 {
            assert_eq!(mailbox.tell(told(0)), Ok(()));
        }
        assert_eq!(mailbox.tell(told(0)), Err(Stuck));
        assert!(mailbox.told().is_some());
        assert_eq!(mailbox.tell(told(0)), Ok(()), "there is room again");
    }

    #[test]
    fn who_takes_nothing_is_stuck_at_the_bound_of_bytes() {
        let mailbox = Mailbox::new(BOUNDS);
        assert_eq!(mailbox.tell(told(500)), Ok(()), "one thing always has room");
        assert_eq!(mailbox.tell(told(1)), Err(Stuck));
        assert!(mailbox.told().is_some());
        assert_eq!((mailbox.tell(told(60)), mailbox.tell(told(60))), (Ok(()), Err(Stuck)));
    }

    #[test]
    fn requests_are_turned_away_while_much_waits() {
        let mailbox = Mailbox::new(BOUNDS);
        for _ in 0..3 {
            assert_eq!(mailbox.tell(told(0)), Ok(()));
        }
        assert_eq!(ask(&mailbox, 1), Err(AskError::Busy));
        assert!(mailbox.told().is_some());
        assert_eq!(ask(&mailbox, 1), Ok(()));
    }

    #[test]
    fn requests_are_bounded_by_count_and_bytes_and_make_room_when_they_end() {
        let mailbox = Mailbox::new(BOUNDS);
        assert_eq!((ask(&mailbox, 30), ask(&mailbox, 30)), (Ok(()), Err(AskError::Busy)));
        assert_eq!((ask(&mailbox, 10), ask(&mailbox, 10), ask(&mailbox, 0)), (Ok(()), Ok(()), Err(AskError::Busy)));
        let Next::Asked(asked) = mailbox.next(None) else { panic!("a request waits") };
        drop(asked);
        assert_eq!(ask(&mailbox, 30), Ok(()));
    }

    #[test]
    fn a_service_that_has_ended_is_told_nothing() {
        let mailbox = Mailbox::new(BOUNDS);
        mailbox.close();
        assert!((0..20).all(|_| mailbox.tell(told(90)).is_ok()));
        assert!(mailbox.told().is_none());
    }
}
