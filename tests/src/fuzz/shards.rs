//! The replicated state: commands from a log, and snapshots.

use std::time::Duration;

use bytes::Bytes;
use funk_proto::id::{BootId, ClusterId, Incarnation, LogIndex, RaftId};
use funk_proto::shards::plan::{Releases, Waits, plan};
use funk_proto::state::set;
use funk_proto::state::{ClusterValues, State, snapshot};
use funk_proto::wire::cluster::{Command, Op};
use funk_proto::{Ownership, Timestamp};
use prost::Message;

/// Entries applied from one input.
const ENTRIES_MAX: u64 = 64;
/// The map on which commands are tried.
const SHARDS: u32 = 200;

fn empty() -> State {
    let cluster = ClusterValues {
        id: ClusterId::new(7).expect("not zero"),
        name: "fuzz".into(),
        created_ns: 5,
        lease: Duration::from_millis(150),
        lease_min: Duration::from_millis(150),
        lease_max: Duration::from_millis(600),
        lease_reason: funk_proto::state::LeaseReason::default(),
        drift_ppm: 10_000,
        ownership: Ownership::default(),
        generation: 1,
        former: Vec::new(),
    };
    State::new(cluster, SHARDS)
}

/// The snapshot of a node that has applied this much, as consensus carries it.
pub(super) fn saved(applied: u64) -> Bytes {
    #[derive(Clone, PartialEq, Message)]
    struct Body {
        #[prost(bytes = "bytes", tag = "1")]
        state: Bytes,
    }
    let mut state = empty();
    state.applied = LogIndex(applied);
    Bytes::from(Body { state: snapshot::encode(&state) }.encode_to_vec())
}

/// Commands, each behind two bytes of length, applied to one state in turn.
pub(super) fn commands(mut data: &[u8]) {
    let mut state = empty();
    for index in 2..2 + ENTRIES_MAX {
        let Some((length, rest)) = data.split_first_chunk::<2>() else { break };
        let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
        let (bytes, rest) = rest.split_at(length);
        data = rest;
        let Ok(command) = Command::decode(Bytes::copy_from_slice(bytes)) else { continue };
        for operation in &command.operations {
            if let Some(Op::Moving(transfer) | Op::Owned(transfer)) = &operation.op {
                shard_list(&transfer.shards);
            }
        }
        state.apply(LogIndex(index), command);
        assert_eq!(state.applied, LogIndex(index));
    }
    settle(state);
}

fn shard_list(bytes: &[u8]) {
    if let Some(shards) = set::decode(bytes, SHARDS) {
        assert_eq!(set::decode(&set::encode(&shards), SHARDS), Some(shards));
    }
}

/// A snapshot as bytes.
pub(super) fn snapshot(data: &[u8]) {
    if let Some(state) = snapshot::decode(data) {
        settle(state);
    }
}

/// A state goes to bytes and back, and a leader can plan from it.
fn settle(mut state: State) {
    let bytes = snapshot::encode(&state);
    let again = snapshot::decode(&bytes).expect("what was encoded decodes");
    assert_eq!(again, state);
    assert_eq!(snapshot::encode(&again), bytes);
    let held: u64 = state.map.owners().iter().map(|&owner| u64::from(state.map.held_by(owner))).sum();
    let owned = state.map.iter().filter(|(_, shard)| shard.owner.is_some()).count() as u64;
    let twice = state.map.owners().iter().collect::<std::collections::BTreeSet<_>>().len() < state.map.owners().len();
    assert!(held == owned || twice, "{held} held of {owned} owned");
    let me = Incarnation { id: RaftId::new(1).expect("not zero"), boot: BootId::new(1).expect("not zero") };
    let grant_end = |_| Timestamp::ZERO;
    for _ in 0..4 {
        let now = Timestamp::from_millis(1);
        let waits = Waits {
            now,
            me,
            inherited_until: Timestamp::ZERO,
            ended: &|_| false,
            grant_end: &grant_end,
            answers: &|_| true,
        };
        let next = plan(&state, &Releases::default(), &waits);
        if next.operations.is_empty() {
            break;
        }
        let operations = next.operations.into_iter().map(|op| funk_proto::wire::cluster::Operation { op: Some(op) });
        state.apply(LogIndex(state.applied.0.saturating_add(1)), Command { operations: operations.collect() });
    }
}
