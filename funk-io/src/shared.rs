//! What the handle to a node, its driver and its helpers' threads share.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use bytes::Bytes;
use event_listener::Event as Bell;
use funk_proto::error::OperationRefused;
use funk_proto::id::{LogIndex, NodeName, ShardId};
use funk_proto::shards::dry_run::{DryRun, WhatIf};
use funk_proto::status::StatusDraft;
use funk_proto::{Outcome, Request, RequestError};

use crate::discovery::switch::Switch;
use crate::driver::counters::Counters;
use crate::endpoints::EndpointWatchers;
use crate::error::{StopReason, Stopped};
use crate::events::Bus;
use crate::gate::Gate;
use crate::last_words::Words;
use crate::meters::Meters;

/// What handle and driver share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) name: NodeName,
    /// How long a planned move waits for requests in flight.
    pub(crate) drain_timeout: Duration,
    pub(crate) gate: Arc<Gate>,
    pub(crate) bus: Bus,
    /// The live nodes' endpoints.
    pub(crate) endpoint_watchers: Arc<EndpointWatchers>,
    /// What the peers are told when this process ends.
    pub(crate) words: Arc<Words>,
    pub(crate) inbox: Sender<Command>,
    /// A second receiver, for commands that the driver never saw.
    leftovers: Inbox,
    /// Wakes the driver for its inbox.
    pub(crate) wake: Waker,
    pub(crate) counters: Arc<Counters>,
    pub(crate) meters: Arc<Meters>,
    /// Whether the last handle was dropped.
    pub(crate) orphaned: AtomicBool,
    /// Names of this node's endpoints, counted here so that one too many is refused at once.
    pub(crate) endpoints: Mutex<BTreeSet<String>>,
    /// Of the thread that finds other nodes.
    pub(crate) search: Switch,
    stop: Mutex<Option<StopReason>>,
    pub(crate) stopped: Bell,
}

/// Who waits for what becomes of a request.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Until the node took it or refused it; what follows is told by events.
    Taken(Sender<Result<(), RequestError>>),
    /// Until it is done.
    Done(Sender<Result<Outcome, RequestError>>),
}

/// What the application asks of the driver.
#[derive(Debug)]
pub(crate) enum Command {
    /// A request to the node; `None` if nobody waits for an answer.
    Request {
        request: Request,
        reply: Option<Reply>,
    },
    Status(Sender<StatusDraft>),
    /// What a change would move.
    Plan(WhatIf, Sender<Result<DryRun, OperationRefused>>),
    /// The service appends to the log.
    ServicePropose {
        tag: u64,
        bytes: Bytes,
    },
    /// The service's answer: its state at the index.
    SnapshotTaken {
        index: LogIndex,
        state: Bytes,
    },
    /// The application's answer: what the shard's next owner is to have.
    StateGiven {
        change: LogIndex,
        shard: ShardId,
        state: Option<Bytes>,
    },
    /// The keyring's file is written, or cannot be.
    RingKept(Result<(), String>),
}

/// Stops the driver when the last handle is dropped.
#[derive(Debug)]
pub(crate) struct Alive(pub(crate) Arc<Shared>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.orphaned.store(true, Ordering::SeqCst);
        self.0.wake.wake_by_ref();
    }
}

impl Shared {
    pub(crate) fn new(
        (name, drain_timeout): (NodeName, Duration),
        gate: Arc<Gate>,
        (inbox, leftovers): (Sender<Command>, Inbox),
        wake: Waker,
        endpoints: BTreeSet<String>,
        meters: Arc<Meters>,
    ) -> Self {
        Self {
            name,
            drain_timeout,
            gate,
            bus: Bus::default(),
            endpoint_watchers: Arc::default(),
            words: Arc::default(),
            inbox,
            leftovers,
            wake,
            counters: Arc::default(),
            meters,
            orphaned: AtomicBool::new(false),
            endpoints: Mutex::new(endpoints),
            search: Switch::default(),
            stop: Mutex::new(None),
            stopped: Bell::new(),
        }
    }

    /// The driver has stopped, its sockets are closed: nobody waits any longer.
    pub(crate) fn end(&self, why: StopReason) {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        self.inbox.close();
        // Their askers wait for an answer until the command is dropped.
        while self.leftovers.try_recv().is_ok() {}
        self.bus.end();
        self.endpoint_watchers.end();
        self.search.stop();
        self.stopped.notify(usize::MAX);
    }

    /// The search has ended, and with it the registration of this node.
    pub(crate) fn search_ended(&self) {
        self.stopped.notify(usize::MAX);
    }

    pub(crate) fn stop_reason(&self) -> Option<StopReason> {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) async fn send(&self, command: Command) -> Result<(), Stopped> {
        self.inbox.send(command).await.map_err(|_| Stopped)?;
        self.wake.wake_by_ref();
        Ok(())
    }
}

/// The driver's end of the inbox.
pub(crate) type Inbox = Receiver<Command>;
