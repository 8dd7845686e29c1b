//! The whole core, a cluster in one thread without sockets or disks: what an
//! idle second and each input cost, and what a commit costs all nodes together
//! (with the simulator around them).

#![allow(missing_docs, reason = "criterion's macros make public functions without any")]

use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use funk_proto::status::NodeState;
use funk_proto::{Event, Request};
use funk_sim::World;

/// A settled cluster.
fn settled(nodes: usize) -> World {
    // What is checked at each step would take most of the time.
    let mut world = World::new(7).with_events().with_checkers(Vec::new());
    for _ in 0..nodes {
        world.start(1_000);
    }
    let ready = |world: &World| (0..nodes).all(|at| world.status(at).state == NodeState::Operational);
    world
        .run_until(Duration::from_secs(30), ready)
        .expect("no checker looks")
        .expect("a healthy cluster becomes Operational");
    world.run(Duration::from_secs(2)).expect("no checker looks");
    world
}

fn idle(c: &mut Criterion) {
    let mut group = c.benchmark_group("core");
    group.sample_size(10);
    for nodes in [3, 5] {
        let mut world = settled(nodes);
        let before = world.tally.inputs;
        world.run(Duration::from_secs(100)).expect("no checker looks");
        // The mean of a long run; the cluster is at rest, so each second is like the others.
        group.throughput(Throughput::Elements((world.tally.inputs - before) / 100));
        group.bench_function(BenchmarkId::new("an idle second, per input", format!("{nodes} nodes")), |b| {
            b.iter(|| world.run(Duration::from_secs(1)));
        });
    }
    group.finish();
}

fn commits(c: &mut Criterion) {
    const AT_ONCE: usize = 64;
    let mut group = c.benchmark_group("commit");
    group.sample_size(10);
    for (nodes, at_once) in [(3, 1), (3, AT_ONCE), (5, 1), (5, AT_ONCE)] {
        let mut world = settled(nodes);
        group.throughput(Throughput::Elements(at_once as u64));
        group.bench_function(BenchmarkId::new(format!("{at_once} at once"), format!("{nodes} nodes")), |b| {
            b.iter(|| commit(&mut world, at_once));
        });
    }
    group.finish();
}

/// Proposes at the first node and runs until it has applied all of it.
fn commit(world: &mut World, count: usize) {
    for _ in 0..count {
        world.request(0, Request::Propose(Bytes::from_static(&[7; 200]))).expect("it is taken");
    }
    let (mut seen, mut left) = (world.events(0).len(), count);
    let done = |world: &World| {
        // Only what is new, since the world keeps all events of its life.
        let new = &world.events(0)[seen..];
        left -= new.iter().filter(|event| matches!(event, Event::Committed { .. })).count();
        seen += new.len();
        left == 0
    };
    world.run_until(Duration::from_secs(5), done).expect("no checker looks").expect("a healthy cluster commits");
}

criterion_group!(benches, idle, commits);
criterion_main!(benches);
