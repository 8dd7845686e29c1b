//! The service that every host runs unless the world is given another one: it
//! works on each request for a while, then answers under its right.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use funk_proto::Timestamp;
use funk_proto::id::ShardId;
use funk_proto::service::{Service, ServiceInput, ServiceOutput};

/// The first byte of a request on which a [`Worker`] works for a minute.
pub const FOREVER: u8 = u8::MAX;

/// A service that works on a request for as many milliseconds as its first byte says, or [`FOREVER`].
#[derive(Debug, Default)]
pub struct Worker {
    working: BTreeMap<(Timestamp, u64), Bytes>,
    outputs: VecDeque<ServiceOutput>,
    committed: u64,
    given: u64,
}

impl Worker {
    /// No two states are alike. Every sixth shard has none; of the others most fit one
    /// piece, and some take up to four.
    fn state_of(&mut self, shard: ShardId) -> Option<Bytes> {
        self.given += 1;
        let pieces = (shard.0 % 6).checked_sub(1)? as usize;
        let bytes = if self.given.is_multiple_of(8) { 50_000 } else { 500 };
        let mut state = vec![0; pieces * bytes];
        state.extend_from_slice(&self.given.to_be_bytes());
        Some(state.into())
    }
}

impl Service for Worker {
    fn handle(&mut self, input: ServiceInput, now: Timestamp) {
        match input {
            ServiceInput::Request { request, right: Some(_), bytes, .. } => {
                let work = match bytes.first() {
                    Some(&FOREVER) => Duration::from_secs(60),
                    first => Duration::from_millis(first.copied().unwrap_or(0).into()),
                };
                self.working.insert((now + work, request), bytes);
            }
            ServiceInput::Request { request, right: None, .. } => {
                self.outputs.push_back(ServiceOutput::Refuse { request });
            }
            ServiceInput::Node(funk_proto::Event::Committed { .. }) => self.committed += 1,
            ServiceInput::SnapshotWanted { index } => {
                let state = Bytes::copy_from_slice(&self.committed.to_be_bytes());
                self.outputs.push_back(ServiceOutput::Snapshot { index, state });
            }
            ServiceInput::SnapshotInstalled { state, .. } => {
                self.committed = state.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
            }
            ServiceInput::StateWanted { change, shards } => {
                for shard in shards {
                    let state = self.state_of(shard);
                    self.outputs.push_back(ServiceOutput::State { change, shard, state });
                }
            }
            ServiceInput::Node(_)
            | ServiceInput::Proposed { .. }
            | ServiceInput::StateReceived { .. }
            | ServiceInput::Timeout => {}
        }
        while let Some(entry) = self.working.first_entry() {
            let (due, request) = *entry.key();
            if due > now {
                break;
            }
            let bytes = entry.remove();
            self.outputs.push_back(ServiceOutput::Answer { request, bytes });
        }
    }

    fn poll_output(&mut self) -> Option<ServiceOutput> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        self.working.keys().next().map(|(due, _)| *due)
    }
}
