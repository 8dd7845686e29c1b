//! Runs a [`Service`] in production: it is given what the simulator would give
//! it, in the same order.
//!
//! The service runs on a thread of its own, named `funk-<node>-service`, so
//! work that takes long delays its own requests and no heartbeat. What the node
//! says is queued for it before the route table that follows from it is
//! published. A request takes its guard first, then all that is queued from the
//! node goes in, then the request: so whoever is told of a right has seen all
//! commits and states that came before that right.

pub(crate) mod link;
pub(crate) mod mailbox;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_channel::Sender;
use bytes::Bytes;
use funk_proto::id::ShardId;
use funk_proto::service::{Right, Service, ServiceInput, ServiceOutput};
use link::Link;
pub(crate) use mailbox::Bounds;
use mailbox::{Asked, Mailbox, Next, Ticket};

use crate::cluster::Cluster;
use crate::error::StartError;
use crate::gate::guard::ShardGuard;
use crate::options::Options;
use crate::runtime::Runtime;
use crate::shared::{Command, Shared};
use crate::start::start_linked;

/// Starts a node with `service` on it. The handle works as after [`start`](crate::start()); requests
/// go through [`ServiceHandle`].
///
/// The service takes the place of `state_machine` and `handover` in the
/// options: with one of those the node does not start. Whether a moving shard's state goes along is
/// said by `options.node.hands_over_state`. If the service panics, the node
/// stops, and all requests end. A service that falls behind is asked nothing
/// while it catches up ([`AskError::Busy`]); one that takes nothing any more stops
/// the node with [`StopReason::ServiceStuck`](crate::StopReason::ServiceStuck), so that others serve.
///
/// # Errors
/// [`StartError`]: nothing runs.
pub fn start<R: Runtime>(
    options: Options,
    service: impl Service + Send + 'static,
) -> Result<(Cluster, ServiceHandle), StartError> {
    start_bounded::<R>(options, service, Bounds::default())
}

/// The same, with other bounds on what may wait for the service.
pub(crate) fn start_bounded<R: Runtime>(
    options: Options,
    service: impl Service + Send + 'static,
    bounds: Bounds,
) -> Result<(Cluster, ServiceHandle), StartError> {
    let mailbox = Arc::new(Mailbox::new(bounds));
    let link = Link::new(Arc::clone(&mailbox));
    let cluster = start_linked::<R>(options, Some(link))?;
    let worker = Worker {
        service,
        shared: Arc::clone(cluster.shared()),
        held: BTreeMap::new(),
        next_request: 0,
        end: End { mailbox: Arc::clone(&mailbox), shared: Arc::clone(cluster.shared()) },
    };
    let thread = std::thread::Builder::new().name(format!("funk-{}-service", cluster.name()));
    let spawned = thread.spawn(move || worker.run());
    // If it fails, the handle goes, and the node with it.
    spawned.map_err(|source: io::Error| StartError::Io { what: "starting the service's thread".into(), source })?;
    Ok((cluster, ServiceHandle { mailbox }))
}

/// Hands requests to the service of this node. Clones are cheap; they do not keep the node running.
#[derive(Clone, Debug)]
pub struct ServiceHandle {
    mailbox: Arc<Mailbox>,
}

impl ServiceHandle {
    /// Asks this node's service, whether or not the shard is this node's: where
    /// it is, [`Cluster::routes`] says. Waits for the service as long as that takes.
    ///
    /// # Errors
    /// [`AskError`] says what became of the request.
    pub async fn ask(&self, shard: ShardId, bytes: Bytes) -> Result<Bytes, AskError> {
        let (reply, answer) = async_channel::bounded(1);
        self.mailbox.ask(shard, bytes, reply)?;
        answer.recv().await.unwrap_or(Err(AskError::Stopped))
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AskError {
    /// [`SERVICE_REQUESTS_MAX`](crate::limits::SERVICE_REQUESTS_MAX) requests are in hand, or as many
    /// bytes as [`SERVICE_REQUEST_BYTES_MAX`](crate::limits::SERVICE_REQUEST_BYTES_MAX), or the service
    /// is far behind with what the node told it: nothing of this one was done.
    Busy,
    /// The service turned it away: nothing of it was or will be done.
    Refused,
    /// The right to the shard was over when the answer was there: it may have been done.
    RightLost,
    /// The node stopped before an answer: it may have been done.
    Stopped,
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "too many requests are in hand",
            Self::Refused => "the service refused the request",
            Self::RightLost => "the shard was lost before the answer",
            Self::Stopped => "the node stopped before the answer",
        })
    }
}

impl std::error::Error for AskError {}

/// What one request waits with.
type Reply = Sender<Result<Bytes, AskError>>;

/// A request in the service's hands.
struct Held {
    guard: Option<ShardGuard>,
    reply: Reply,
    _ticket: Ticket,
}

/// The service's thread.
struct Worker<S> {
    service: S,
    shared: Arc<Shared>,
    held: BTreeMap<u64, Held>,
    next_request: u64,
    /// Dropped last: by then no request is held.
    end: End,
}

/// However the thread ends, nobody waits for ever, and no node stays without its service.
struct End {
    mailbox: Arc<Mailbox>,
    shared: Arc<Shared>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.mailbox.close();
        self.shared.orphaned.store(true, Ordering::SeqCst);
        self.shared.wake.wake_by_ref();
    }
}

impl<S: Service> Worker<S> {
    fn run(mut self) {
        loop {
            let due = self.service.poll_timeout();
            let now = self.shared.gate.now();
            if due.is_some_and(|due| due <= now) {
                self.hand_in(ServiceInput::Timeout);
            }
            match self.end.mailbox.next(due.map(|due| due - now)) {
                Next::Told(input) => self.hand_in(input),
                Next::Asked(asked) => self.request(asked),
                Next::Late => {}
                Next::Closed => return,
            }
        }
    }

    fn request(&mut self, asked: Asked) {
        let Asked { shard, bytes, reply, ticket } = asked;
        // The guard before what was told: see the head of this file.
        let guard = self.shared.gate.guard(shard).ok();
        while let Some(input) = self.end.mailbox.told() {
            self.hand_in(input);
        }
        let guard = guard.filter(ShardGuard::is_valid);
        let right = guard.as_ref().map(|guard| Right { epoch: guard.epoch(), valid_until: guard.valid_until() });
        self.next_request += 1;
        let request = self.next_request;
        self.held.insert(request, Held { guard, reply, _ticket: ticket });
        self.hand_in(ServiceInput::Request { request, shard, right, bytes });
    }

    /// Hands one thing in and does all that the service says.
    fn hand_in(&mut self, input: ServiceInput) {
        self.service.handle(input, self.shared.gate.now());
        while let Some(output) = self.service.poll_output() {
            self.carry_out(output);
        }
    }

    fn carry_out(&mut self, output: ServiceOutput) {
        match output {
            ServiceOutput::Answer { request, bytes } => self.reply(request, |held| {
                let valid = held.guard.as_ref().is_some_and(ShardGuard::is_valid);
                if valid { Ok(bytes) } else { Err(AskError::RightLost) }
            }),
            ServiceOutput::Tell { request, bytes } => self.reply(request, |_| Ok(bytes)),
            ServiceOutput::Refuse { request } => self.reply(request, |_| Err(AskError::Refused)),
            ServiceOutput::Propose { tag, bytes } => self.send(Command::ServicePropose { tag, bytes }),
            ServiceOutput::State { change, shard, state } => self.send(Command::StateGiven { change, shard, state }),
            ServiceOutput::Snapshot { index, state } => self.send(Command::SnapshotTaken { index, state }),
        }
    }

    /// A request leaves the service's hands; its guard is dropped after the answer went out.
    fn reply(&mut self, request: u64, answer: impl FnOnce(&Held) -> Result<Bytes, AskError>) {
        let Some(held) = self.held.remove(&request) else { return };
        // An asker that has gone away needs no answer.
        let _ = held.reply.try_send(answer(&held));
    }

    fn send(&self, command: Command) {
        // A driver that has stopped closes the mailbox, which ends this thread.
        if self.shared.inbox.send_blocking(command).is_ok() {
            self.shared.wake.wake_by_ref();
        }
    }
}
