//! A sharded counter as a sans-IO service, with a bug to be found on demand.
//!
//! Each shard has one counter, kept by its owner and replicated through the
//! log. Nothing here opens a socket, reads a clock or starts a thread, so the
//! simulator runs it (`funk-sim/examples/counter.rs`) as well as real nodes do
//! (`examples/three.rs`, `tests/production.rs`).

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use funk::id::{Epoch, ShardId};
use funk::service::{Outcome, Service, ServiceInput, ServiceOutput};
use funk::{NodeEvent, Timestamp};

/// One process of the service.
#[derive(Debug, Default)]
pub struct Counter {
    bug: bool,
    /// By shard: the numbers given out so far, as the log has them.
    counts: BTreeMap<ShardId, u64>,
    /// Shards that this process has served.
    served: BTreeMap<ShardId, Epoch>,
    /// Requests that wait for their proposal.
    waiting: BTreeMap<u64, (u64, ShardId)>,
    next_tag: u64,
    outputs: VecDeque<ServiceOutput>,
}

/// What goes into the log: a shard, and a process-wide unique rest.
fn entry(shard: ShardId, epoch: Epoch, request: u64) -> Bytes {
    let mut bytes = Vec::from(shard.0.to_be_bytes());
    bytes.extend(epoch.0.to_be_bytes());
    bytes.extend(request.to_be_bytes());
    bytes.push(b'c');
    bytes.into()
}

impl Counter {
    /// A process that has counted nothing. With `bug`, it goes on answering for
    /// shards that it once owned, without a right.
    pub fn new(bug: bool) -> Self {
        Self { bug, ..Self::default() }
    }

    fn request(&mut self, request: u64, shard: ShardId, epoch: Option<Epoch>) {
        match epoch {
            Some(epoch) => {
                self.served.insert(shard, epoch);
                self.next_tag += 1;
                self.waiting.insert(self.next_tag, (request, shard));
                let bytes = entry(shard, epoch, request);
                self.outputs.push_back(ServiceOutput::Propose { tag: self.next_tag, bytes });
            }
            // The planted bug: whoever owned the shard once believes that it still does.
            None if self.bug && self.served.contains_key(&shard) => {
                let count = self.counts.entry(shard).or_default();
                *count += 1;
                let bytes = Bytes::copy_from_slice(&count.to_be_bytes());
                self.outputs.push_back(ServiceOutput::Tell { request, bytes });
            }
            None => self.outputs.push_back(ServiceOutput::Refuse { request }),
        }
    }

    fn committed(&mut self, bytes: &Bytes) {
        if let (Some(shard), Some(b'c')) = (bytes.first_chunk(), bytes.last()) {
            *self.counts.entry(ShardId(u32::from_be_bytes(*shard))).or_default() += 1;
        }
    }

    fn proposed(&mut self, tag: u64, outcome: &Outcome) {
        let Some((request, shard)) = self.waiting.remove(&tag) else { return };
        self.outputs.push_back(match outcome {
            // The commit was told of just before, and counted.
            Outcome::Committed(_) => {
                let count = self.counts.get(&shard).copied().unwrap_or(0);
                ServiceOutput::Answer { request, bytes: Bytes::copy_from_slice(&count.to_be_bytes()) }
            }
            _ => ServiceOutput::Refuse { request },
        });
    }
}

impl Service for Counter {
    fn handle(&mut self, input: ServiceInput, _now: Timestamp) {
        match input {
            ServiceInput::Request { request, shard, right, .. } => {
                self.request(request, shard, right.map(|right| right.epoch));
            }
            ServiceInput::Node(NodeEvent::Committed { bytes, .. }) => self.committed(&bytes),
            ServiceInput::Proposed { tag, outcome } => self.proposed(tag, &outcome),
            ServiceInput::SnapshotWanted { index } => {
                let pairs = self
                    .counts
                    .iter()
                    .flat_map(|(shard, count)| shard.0.to_be_bytes().into_iter().chain(count.to_be_bytes()));
                self.outputs.push_back(ServiceOutput::Snapshot { index, state: pairs.collect() });
            }
            ServiceInput::SnapshotInstalled { state, .. } => {
                let pair = |bytes: &[u8]| {
                    let shard = u32::from_be_bytes(*bytes.first_chunk()?);
                    Some((ShardId(shard), u64::from_be_bytes(*bytes.last_chunk()?)))
                };
                self.counts = state.chunks_exact(12).filter_map(pair).collect();
            }
            // Its counts are on the log, which every node has.
            ServiceInput::StateWanted { change, shards } => {
                let none = |shard| ServiceOutput::State { change, shard, state: None };
                self.outputs.extend(shards.into_iter().map(none));
            }
            ServiceInput::Node(_) | ServiceInput::StateReceived { .. } | ServiceInput::Timeout => {}
        }
    }

    fn poll_output(&mut self) -> Option<ServiceOutput> {
        self.outputs.pop_front()
    }
}
