//! A service on the real driver: what it is told, in which order, and how much may wait for it.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use bytes::Bytes;
use funk_proto::id::{LogIndex, ShardId};
use funk_proto::service::{Service, ServiceInput, ServiceOutput};
use funk_proto::{Event, Timestamp};

use super::{LOOPBACK, node, run};
use crate::runtime::Runtime;
use crate::service::{AskError, Bounds, ServiceHandle, start, start_bounded};
use crate::{Cluster, Options, Sockets, StateMachine, StopReason};

/// What a [`Recorder`] has by now.
#[derive(Debug, Default)]
struct Record {
    /// Proposals, in order: those of a snapshot, then those that were told.
    log: Vec<Bytes>,
    snapshots: usize,
    states: BTreeMap<ShardId, Bytes>,
}

/// Keeps what it is told; answers a request with what came along with the shard.
struct Recorder {
    name: &'static str,
    record: Arc<Mutex<Record>>,
    outputs: VecDeque<ServiceOutput>,
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Of several sizes: some are empty, some take several messages.
fn state(name: &str, shard: ShardId) -> Bytes {
    format!("{shard} of {name};").repeat(shard.0 as usize % 7 * 2_000).into()
}

impl Service for Recorder {
    fn handle(&mut self, input: ServiceInput, _now: Timestamp) {
        let mut record = lock(&self.record);
        match input {
            ServiceInput::Node(Event::Committed { bytes, .. }) => record.log.push(bytes),
            ServiceInput::SnapshotWanted { index } => {
                let state = record.log.join(&b'\n').into();
                self.outputs.push_back(ServiceOutput::Snapshot { index, state });
            }
            ServiceInput::SnapshotInstalled { state, .. } => {
                record.snapshots += 1;
                record.log = state.split(|&byte| byte == b'\n').map(Bytes::copy_from_slice).collect();
            }
            ServiceInput::StateWanted { change, shards } => {
                for shard in shards {
                    let state = Some(state(self.name, shard));
                    self.outputs.push_back(ServiceOutput::State { change, shard, state });
                }
            }
            ServiceInput::StateReceived { shard, state, .. } => drop(record.states.insert(shard, state)),
            ServiceInput::Request { request, shard, right: Some(_), .. } => {
                let bytes = record.states.get(&shard).cloned().unwrap_or_default();
                self.outputs.push_back(ServiceOutput::Answer { request, bytes });
            }
            ServiceInput::Request { request, .. } => self.outputs.push_back(ServiceOutput::Refuse { request }),
            ServiceInput::Node(_) | ServiceInput::Proposed { .. } | ServiceInput::Timeout => {}
        }
    }

    fn poll_output(&mut self) -> Option<ServiceOutput> {
        self.outputs.pop_front()
    }
}

/// What a service does itself is refused beside it, and nothing runs then.
pub fn a_service_takes_no_other_part_beside_it<R: Runtime>() {
    let quiet = || Recorder { name: "both", record: Arc::default(), outputs: VecDeque::new() };
    let refused = |options| start::<R>(options, quiet()).expect_err("two would have one duty").to_string();
    let handover = options("both", None).with_handover(|_| None);
    assert!(refused(handover).contains("handover"));
    let machine = Options { state_machine: Some(Box::new(Idle)), ..options("both", None) };
    assert!(refused(machine).contains("state_machine"));
}

/// Keeps nothing.
#[derive(Debug)]
struct Idle;

impl StateMachine for Idle {
    fn apply(&mut self, _: LogIndex, _: &Bytes) {}

    fn snapshot(&mut self) -> Bytes {
        Bytes::new()
    }

    fn restore(&mut self, _: LogIndex, _: &Bytes) {}
}

fn options(name: &str, join: Option<SocketAddr>) -> Options {
    let mut config = node::config(name);
    (config.bootstrap, config.join) = (join.is_none(), Vec::from_iter(join));
    node::be_patient(&mut config);
    config.hands_over_state = true;
    Options::new(config, Sockets::any(LOOPBACK).expect("loopback has free ports"))
}

fn recorder<R: Runtime>(name: &'static str, join: Option<SocketAddr>) -> (Cluster, ServiceHandle, Arc<Mutex<Record>>) {
    let record: Arc<Mutex<Record>> = Arc::default();
    let service = Recorder { name, record: Arc::clone(&record), outputs: VecDeque::new() };
    let (cluster, requests) = start::<R>(options(name, join), service).expect("the node starts");
    (cluster, requests, record)
}

/// A new node's service gets the state of all that was committed before, then
/// what comes after; whoever is told of its right to a shard has what the former owner gave.
pub fn a_service_is_handed_snapshots_and_states<R: Runtime>() {
    run::<R>(async {
        let (first, _, wrote) = recorder::<R>("first", None);
        node::serving(&first).await;
        for n in 0..50_u32 {
            first.propose(format!("entry {n}").into()).await.expect("it leads");
        }
        let contact = node::address(&first, "ep.serf").await;
        let (second, requests, read) = recorder::<R>("second", Some(contact));
        node::serving_some(&second).await;
        second.propose("the last".into()).await.expect("a leader is known");
        while lock(&wrote).log.len() < 51 || lock(&read).log.len() < 51 {
            // No event tells what a service has done.
            R::sleep(std::time::Duration::from_millis(5)).await;
        }
        assert_eq!(lock(&read).log, lock(&wrote).log);
        assert!(lock(&read).snapshots > 0, "the log before it came as a state");

        // Half of them move, one after the other.
        let mut answered = 0;
        while answered < 30 {
            answered = 0;
            for shard in (0..60).map(ShardId) {
                if let Ok(answer) = requests.ask(shard, Bytes::new()).await {
                    assert_eq!(answer, state("first", shard), "{shard}");
                    answered += 1;
                }
            }
            R::sleep(std::time::Duration::from_millis(5)).await;
        }
    });
}

/// Stands still at the first commit, until it is let go.
struct Sleeper {
    wake: mpsc::Receiver<()>,
}

impl Service for Sleeper {
    fn handle(&mut self, input: ServiceInput, _now: Timestamp) {
        if matches!(input, ServiceInput::Node(Event::Committed { .. })) {
            // An error is the end of the test, and of the sleep.
            let _ = self.wake.recv();
        }
    }

    fn poll_output(&mut self) -> Option<ServiceOutput> {
        None
    }
}

/// A service that stands still is asked nothing more, and then stops its node:
/// others are to serve its shards.
pub fn a_service_that_stands_still_stops_its_node<R: Runtime>() {
    run::<R>(async {
        let (_end, wake) = mpsc::channel();
        let bounds = Bounds { told: 200, ..Bounds::default() };
        let (cluster, requests) =
            start_bounded::<R>(options("stuck", None), Sleeper { wake }, bounds).expect("the node starts");
        node::serving(&cluster).await;
        let mut proposed = 0;
        // The last may end with the node.
        while cluster.propose("entry".into()).await.is_ok() {
            proposed += 1;
            assert!(proposed < 1_000, "nobody takes what the node tells, and it goes on");
            if proposed == 150 {
                assert_eq!(requests.ask(ShardId(0), Bytes::new()).await, Err(AskError::Busy));
            }
        }
        assert_eq!(cluster.stopped().await, StopReason::ServiceStuck);
        assert!(cluster.guard(ShardId(0)).is_err(), "the gate is closed");
    });
}
