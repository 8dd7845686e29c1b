//! The shard map at two sizes: assignment, look-up, bytes and changes.

#![allow(missing_docs, reason = "criterion's macros make public functions without any")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use funk_proto::Ownership;
use funk_proto::id::{BootId, ClusterId, Epoch, LogIndex, RaftId, ShardId};
use funk_proto::rng::{Rng, Seed, Stream};
use funk_proto::shards::assign::{Share, assign};
use funk_proto::shards::{RouteNode, RouteTable};
use funk_proto::state::owner_index::{Group, OwnerIndex};
use funk_proto::state::{ClusterValues, State, set, snapshot};
use funk_proto::wire::cluster::{Command, DownRecord, MemberRecord, Op, Operation, Transfer};
use prost::Message;

/// Shards and members of a benched map.
const SIZES: [(u32, u64); 2] = [(10_000, 50), (1_000_000, 1_000)];
/// The replicated state holds at most this many members.
const STATE_SIZES: [(u32, u64); 2] = [(10_000, 50), (1_000_000, 250)];

fn label(shards: u32, nodes: u64) -> String {
    format!("{shards}x{nodes}")
}

/// Owners as they are after a long life: spread at random.
fn spread(shards: u32, nodes: u64) -> Vec<usize> {
    let mut rng = Rng::new(Seed::from_u64(1), Stream::Peers);
    (0..shards).map(|_| usize::try_from(rng.below(nodes)).expect("small")).collect()
}

/// Owners as groups: each has got all of its shards at one time.
fn grouped(owners: &[OwnerIndex], nodes: u64) -> (Vec<u32>, Vec<Group>) {
    let group = |owner: usize| Group { owner: OwnerIndex::of(owner), since: 1, shards: 0 };
    let mut groups: Vec<Group> = (0..usize::try_from(nodes).expect("small")).map(group).collect();
    let cells: Vec<u32> =
        owners.iter().map(|owner| u32::try_from(owner.get().expect("owned")).expect("small")).collect();
    cells.iter().for_each(|&cell| groups[cell as usize].shards += 1);
    (cells, groups)
}

fn assignments(c: &mut Criterion) {
    let mut group = c.benchmark_group("assign");
    for (shards, nodes) in SIZES {
        let equal: Vec<Share> = (0..nodes).map(|_| Share { weight: 1, capacity: None }).collect();
        let count = shards as usize;
        let (cells, nobody) = (vec![0; count], [Group { owner: OwnerIndex::NOBODY, since: 0, shards: count }]);
        group.bench_function(BenchmarkId::new("from nothing", label(shards, nodes)), |b| {
            b.iter(|| assign(black_box(&cells), &nobody, &equal, &[]));
        });
        let settled = assign(&cells, &nobody, &equal, &[]);
        let (cells, mut groups) = grouped(&settled, nodes);
        let more: Vec<Share> =
            (0..=nodes).map(|n| Share { weight: 1 + u32::from(n == nodes), capacity: None }).collect();
        group.bench_function(BenchmarkId::new("one node of weight two joined", label(shards, nodes)), |b| {
            b.iter(|| assign(black_box(&cells), &groups, &more, &[]));
        });
        // The last member died: its shards go to the others.
        groups.last_mut().expect("there are members").owner = OwnerIndex::NOBODY;
        group.bench_function(BenchmarkId::new("one node lost", label(shards, nodes)), |b| {
            b.iter(|| assign(black_box(&cells), &groups, &equal[1..], &[]));
        });
        // As it is after a long life.
        let mixed: Vec<OwnerIndex> = spread(shards, nodes).into_iter().map(OwnerIndex::of).collect();
        let (cells, groups) = grouped(&mixed, nodes);
        group.bench_function(BenchmarkId::new("owners spread at random", label(shards, nodes)), |b| {
            b.iter(|| assign(black_box(&cells), &groups, &equal, &[]));
        });
    }
    group.finish();
}

fn table(shards: u32, nodes: u64) -> RouteTable {
    let node = |n: u64| RouteNode {
        id: RaftId::new(n + 1).expect("not zero"),
        boot: BootId::new(n + 1).expect("not zero"),
        name: format!("n{n}").parse().expect("legal"),
        endpoints: BTreeMap::new(),
        up: true,
        leaving: false,
    };
    let epochs = (1..=u64::from(shards)).collect();
    RouteTable::new(
        Epoch(7),
        (0..nodes).map(node).collect(),
        Some(0),
        spread(shards, nodes).into_iter().map(Some),
        epochs,
        [],
    )
}

fn look_ups(c: &mut Criterion) {
    const ASKED: usize = 4096;
    let mut group = c.benchmark_group("lookup");
    group.throughput(Throughput::Elements(ASKED as u64));
    for (shards, nodes) in SIZES {
        let table = table(shards, nodes);
        let mut rng = Rng::new(Seed::from_u64(2), Stream::Peers);
        let keys: Vec<_> =
            (0..ASKED).map(|_| ShardId(u32::try_from(rng.below(shards.into())).expect("small"))).collect();
        group.bench_function(BenchmarkId::from_parameter(label(shards, nodes)), |b| {
            b.iter(|| {
                for &shard in &keys {
                    black_box(table.place(shard));
                }
            });
        });
    }
    group.finish();
}

fn record(n: u64) -> MemberRecord {
    MemberRecord {
        id: n,
        boot: 100 + n,
        name: format!("n{n}"),
        raft: format!("10.0.{}.{}:2", n / 250, n % 250),
        liveness: format!("10.0.{}.{}:3", n / 250, n % 250),
        serf: format!("10.0.{}.{}:1", n / 250, n % 250),
        weight: 1,
        ..MemberRecord::default()
    }
}

fn command(ops: Vec<Op>) -> Command {
    Command { operations: ops.into_iter().map(|op| Operation { op: Some(op) }).collect() }
}

/// Gives member `to` all shards that `owners` has at member `of`.
fn owned(seen: u64, of: u64, to: u64, owners: &[usize]) -> Op {
    let has = |(shard, &owner): (u32, &usize)| (owner as u64 + 1 == of).then_some(ShardId(shard));
    let shards: Vec<ShardId> = (0..).zip(owners).filter_map(has).collect();
    Op::Owned(Transfer { seen, to, boot: 100 + to, shards: set::encode(&shards) })
}

fn state(shards: u32, nodes: u64) -> State {
    let cluster = ClusterValues {
        id: ClusterId::new(7).expect("not zero"),
        name: "bench".into(),
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
    let mut state = State::new(cluster, shards);
    state.apply(LogIndex(2), command((1..=nodes).map(|n| Op::Up(record(n))).collect()));
    let owners = spread(shards, nodes);
    // One entry a member, so that epochs differ as they do in life.
    for n in 1..=nodes {
        state.apply(LogIndex(2 + n), command(vec![owned(1 + n, n, n, &owners)]));
    }
    state
}

fn bytes(c: &mut Criterion) {
    let mut group = c.benchmark_group("map");
    for (shards, nodes) in STATE_SIZES {
        let state = state(shards, nodes);
        let encoded = snapshot::encode(&state);
        println!("map {}: {} bytes, owners spread at random", label(shards, nodes), encoded.len());
        group.bench_function(BenchmarkId::new("encode", label(shards, nodes)), |b| b.iter(|| snapshot::encode(&state)));
        group.bench_function(BenchmarkId::new("decode and check", label(shards, nodes)), |b| {
            b.iter(|| snapshot::decode(black_box(&encoded)).expect("its own bytes"));
        });
        let seen = 2 + nodes;
        let delta = command(vec![
            Op::Down(DownRecord { id: 1, boot: 101, stopped: false }),
            owned(seen, 1, 2, &spread(shards, nodes)),
        ]);
        println!("map {}: {} bytes for the shards of one dead member", label(shards, nodes), delta.encoded_len());
        group.bench_function(BenchmarkId::new("apply a death", label(shards, nodes)), |b| {
            let fresh = || (state.clone(), delta.clone());
            b.iter_batched(fresh, |(mut state, delta)| state.apply(LogIndex(seen + 1), delta), BatchSize::LargeInput);
        });
    }
    group.finish();
}

criterion_group!(benches, assignments, look_ups, bytes);
criterion_main!(benches);
