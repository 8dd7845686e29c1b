//! The one loop that owns the node.
//!
//! A pass goes in this order: a gap in time, if the pass comes late; what each
//! socket and stream holds, at most [`limits::PASS_MESSAGES_MAX`] messages
//! each and for [`limits::STEP_MAX`] together; what the application asks, for
//! as long at most; the node's timer, if one is due. Then it
//! carries out all that the node says, and what follows from that. A heartbeat
//! that is in the socket already always beats the timer that it refutes.
//!
//! The clock is read after each receipt and before each answer: a node that
//! waits counts from when it heard, a node that holds from before it spoke, so
//! a thread that is not scheduled in between errs on the safe side.
//!
//! | file | what |
//! |---|---|
//! | `parts` | what it is made of |
//! | `hub` | who woke the driver |
//! | `alarm` | the one timer |
//! | `datagrams` | the two UDP sockets |
//! | `acceptor` | the two listeners |
//! | `stream` | one stream |
//! | `socket`, `decoder`, `queue`, `tls` | its parts |
//! | `streams` | all of them |
//! | `quic` | streams over QUIC |
//! | `carry_out` | what is done with each output |
//! | `counters` | what the driver counts |

mod acceptor;
mod alarm;
mod carry_out;
pub(crate) mod counters;
mod datagrams;
mod decoder;
pub(crate) mod hub;
pub(crate) mod parts;
mod queue;
#[cfg(feature = "quic")]
pub(crate) mod quic;
#[cfg(not(feature = "quic"))]
#[path = "driver/no_quic.rs"]
pub(crate) mod quic;
mod socket;
mod stream;
mod streams;
pub(crate) mod tls;

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use alarm::Alarm;
use async_channel::Sender;
use datagrams::Datagrams;
use funk_proto::time::earliest;
use funk_proto::{Input, Node, Outcome, Output, Request, RequestError, RequestId, Timestamp};
use hub::{Hub, Source};
use parts::Parts;
use streams::Streams;

use crate::application::Application;
use crate::clock::Clock;
use crate::error::StopReason;
use crate::gate::publisher::Publisher;
use crate::keyring::KeyringThread;
use crate::limits;
use crate::meters::{FailoverWatch, LeaseWatch, Step, StepWatch};
use crate::runtime::Runtime;
use crate::seldom::SeldomEach;
use crate::shared::{Command, Inbox, Reply, Shared};
use crate::sockets::Sockets;
use crate::store::{Store, StoreError};

/// Time for the last bytes of a stopping node to leave.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(200);

type Waiting = Sender<Result<Outcome, RequestError>>;

pub(crate) struct Driver<'a, R: Runtime> {
    clock: Clock,
    node: Node,
    shared: Arc<Shared>,
    publisher: &'a mut Publisher,
    inbox: Inbox,
    inbox_source: Arc<Source>,
    drain_source: Arc<Source>,
    store_source: Arc<Source>,
    hub: Arc<Hub>,
    alarm: Alarm<R>,
    datagrams: Datagrams<R>,
    streams: Streams<R>,
    store: Store,
    application: Application,
    keyring: Option<KeyringThread>,
    /// What the node said last; empty between rounds, kept for its memory.
    outputs: Vec<Output>,
    /// What the driver's own work gives back to the node, in order.
    echoes: VecDeque<Input>,
    /// Requests whose outcome somebody waits for.
    askers: BTreeMap<RequestId, Waiting>,
    leave_by: Option<Timestamp>,
    stopping: Option<Stopping>,
    lease_watch: LeaseWatch,
    failover_watch: FailoverWatch,
    /// Whose gossip is refused.
    refused: SeldomEach,
}

/// The driver is to stop: the gate is sealed.
struct Stopping {
    why: StopReason,
    since: Timestamp,
    /// The peers were told.
    said: bool,
}

impl<'a, R: Runtime> Driver<'a, R> {
    pub(crate) fn new(parts: Parts, sockets: Sockets, publisher: &'a mut Publisher) -> io::Result<Self> {
        let Parts { clock, node, store, application, keyring, shared, inbox, hub, trust, quic, .. } = parts;
        let Parts { inbox_source, drain_source, store_source, .. } = parts;
        let Sockets { serf_tcp, serf_udp, raft, liveness, .. } = sockets;
        Ok(Self {
            clock,
            node,
            publisher,
            inbox,
            inbox_source,
            drain_source,
            store_source,
            alarm: Alarm::new(&hub),
            datagrams: Datagrams::new(liveness, serf_udp, &hub, Arc::clone(&shared.counters))?,
            streams: Streams::new(raft, serf_tcp, &hub, clock, Arc::clone(&shared.counters), (trust, quic))?,
            hub,
            shared,
            store,
            application,
            keyring,
            outputs: Vec::new(),
            echoes: VecDeque::new(),
            askers: BTreeMap::new(),
            leave_by: None,
            stopping: None,
            lease_watch: LeaseWatch::default(),
            failover_watch: FailoverWatch::default(),
            refused: SeldomEach::new(limits::REFUSED_GOSSIP_PAUSE),
        })
    }

    /// Runs until the node is to stop.
    pub(crate) async fn run(mut self) -> StopReason {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &Context<'_>) -> Poll<StopReason> {
        self.hub.register(context);
        self.shared.counters.passes.add_one();
        let began = self.clock.now();
        self.alarm.poll();
        if self.stopping.is_none() {
            self.pass(began);
        }
        if let Some(why) = self.stop_step(began) {
            return Poll::Ready(why);
        }
        let deadlines = [
            self.node.poll_timeout().filter(|_| self.stopping.is_none()),
            self.streams.next_deadline(),
            self.leave_by,
            self.stop_deadline(began),
        ];
        let next = deadlines.into_iter().fold(None, earliest);
        self.alarm.promise(next, began, self.clock);
        Poll::Pending
    }

    fn pass(&mut self, began: Timestamp) {
        if self.shared.orphaned.load(Ordering::SeqCst) {
            self.stop(began, StopReason::Dropped);
        }
        if let Some(late) = self.alarm.lateness(began).filter(|late| is_gap(*late, self.node.lease())) {
            tracing::warn!(node = %self.shared.name, ?late, "the process did not run");
            self.node.handle(began, Input::ClockGap { gap: late });
        }
        let mut watch = StepWatch::begin(self.clock.now());
        let Self { node, clock, datagrams, streams, publisher, shared, .. } = self;
        let mut ends = |step| watch.end(step, clock.now(), &shared.meters);
        // A step takes in no more when it has lasted long.
        let mut step_began = clock.now();
        datagrams.receive(|input| {
            node.handle(clock.now(), input);
            clock.now().since(step_began) < limits::STEP_MAX
        });
        ends(Step::Datagrams);
        step_began = clock.now();
        let unfinished = streams.receive(began, |input| {
            node.handle(clock.now(), input);
            clock.now().since(step_began) < limits::STEP_MAX
        });
        if unfinished {
            shared.wake.wake_by_ref();
        }
        ends(Step::Streams);
        if self.drain_source.take() {
            publisher.sweep(|input| node.handle(clock.now(), input));
            ends(Step::Drains);
        }
        self.take_commands();
        self.end_step(&mut watch, Step::Commands);
        // What is stable is looked for while the outputs are carried out; here only the flag is lowered.
        self.store_source.take();
        self.fire_timers(began);
        self.end_step(&mut watch, Step::Timers);
        self.carry_out();
        self.end_step(&mut watch, Step::Outputs);
        if self.leave_by.is_some_and(|by| began >= by) {
            self.stop(began, StopReason::Left);
        }
    }

    fn end_step(&self, watch: &mut StepWatch, step: Step) {
        watch.end(step, self.clock.now(), &self.shared.meters);
    }

    /// The timers that were due when the pass began, unless something in a
    /// socket refutes them: the sockets are read once more for that, past what
    /// the runtime knows of them.
    fn fire_timers(&mut self, began: Timestamp) {
        let due = |node: &Node| node.poll_timeout().is_some_and(|at| at <= began);
        if due(&self.node) {
            let Self { node, clock, datagrams, .. } = self;
            datagrams.receive_at_once(|input| node.handle(clock.now(), input));
            if due(&self.node) {
                self.node.handle(began, Input::Timeout);
            }
        }
    }

    fn take_commands(&mut self) {
        if !self.inbox_source.take() {
            return;
        }
        let began = self.clock.now();
        for _ in 0..limits::PASS_MESSAGES_MAX {
            let Ok(command) = self.inbox.try_recv() else { return };
            self.take_command(command);
            if self.clock.now().since(began) >= limits::STEP_MAX {
                break;
            }
        }
        self.shared.wake.wake_by_ref();
    }

    fn take_command(&mut self, command: Command) {
        let now = self.clock.now();
        match command {
            Command::Request { request: Request::Leave, .. } if self.leave_by.is_some() => {}
            Command::Request { request, reply } => {
                if request == Request::Leave {
                    self.leave_by = Some(now + self.shared.drain_timeout + limits::LEAVE_MARGIN);
                }
                self.request(now, request, reply);
            }
            Command::Status(asker) => answer(&asker, self.node.status_draft()),
            Command::Plan(change, asker) => answer(&asker, self.node.dry_run(&change)),
            Command::ServicePropose { tag, bytes } => {
                let taken = self.node.request(now, Request::Propose(bytes));
                let told = self.application.proposed(tag, taken);
                if told.is_err() {
                    self.stop(now, StopReason::ServiceStuck);
                }
            }
            Command::SnapshotTaken { index, state } => self.node.handle(now, Input::SnapshotTaken { index, state }),
            Command::StateGiven { change, shard, state } => {
                self.node.handle(now, Input::StateGiven { change, shard, state });
            }
            Command::RingKept(result) => self.node.handle(now, Input::RingKept(result)),
        }
    }

    fn request(&mut self, now: Timestamp, request: Request, reply: Option<Reply>) {
        let taken = self.node.request(now, request);
        match (reply, taken) {
            (Some(Reply::Done(asker)), Ok(id)) => drop(self.askers.insert(id, asker)),
            (Some(Reply::Done(asker)), Err(error)) => answer(&asker, Err(error)),
            (Some(Reply::Taken(asker)), taken) => answer(&asker, taken.map(|_| ())),
            (None, Ok(_)) => {}
            (None, Err(error)) => tracing::warn!(node = %self.shared.name, %error, "a request was refused"),
        }
    }

    /// The disk failed: nothing that depends on it may happen any more, so the
    /// gate closes before anything else does.
    fn stop_for(&mut self, error: StoreError) {
        self.stop(self.clock.now(), StopReason::Store(error));
    }

    fn stop(&mut self, now: Timestamp, why: StopReason) {
        if self.stopping.is_none() {
            self.publisher.close();
            self.stopping = Some(Stopping { why, since: now, said: false });
        }
    }

    /// Says goodbye as soon as nobody is inside any more, and lets the last
    /// bytes leave. Gives the reason when both are done, or have taken too long.
    fn stop_step(&mut self, began: Timestamp) -> Option<StopReason> {
        let stopping = self.stopping.as_mut()?;
        if !stopping.said && self.shared.gate.is_deserted() {
            stopping.said = true;
            self.shared.words.send();
        }
        self.drain_source.take();
        self.streams.retry();
        let flushed = self.streams.flush(&mut self.echoes) || began >= stopping.since + FLUSH_TIMEOUT;
        let said = stopping.said || began >= stopping.since + limits::GOODBYE_WAIT_MAX;
        let is_done = flushed && said;
        if is_done {
            self.streams.end();
        }
        is_done.then(|| stopping.why.clone())
    }

    /// When to look again at what a stop waits for.
    fn stop_deadline(&self, began: Timestamp) -> Option<Timestamp> {
        let since = self.stopping.as_ref()?.since;
        let deserted_at = self.shared.gate.sealed_until()?;
        let waits = [since + FLUSH_TIMEOUT, deserted_at, since + limits::GOODBYE_WAIT_MAX];
        waits.into_iter().filter(|at| *at > began).min()
    }
}

/// Whether a pass that comes so late stood still for a time that matters: more than half of the cluster's lease.
fn is_gap(late: Duration, lease: Duration) -> bool {
    late > lease / 2
}

/// An asker that has gone away needs no answer.
fn answer<T>(asker: &Sender<T>, answer: T) {
    let _ = asker.try_send(answer);
}
