//! A cluster in the simulator for tests that tell it what to do step by step: a
//! property that is broken fails the test at once.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use bytes::Bytes;
use funk_proto::id::NodeName;
use funk_proto::status::Role;
use funk_proto::{Event, Node, Outcome, Request};
use funk_sim::World;
use funk_sim::disk::DiskConditions;

/// A simulated world whose checkers panic.
#[derive(Debug)]
pub struct TestWorld(World);

impl Deref for TestWorld {
    type Target = World;

    fn deref(&self) -> &World {
        &self.0
    }
}

impl DerefMut for TestWorld {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.0
    }
}

impl TestWorld {
    /// An empty world that keeps what nodes tell their applications.
    pub fn new(seed: u64) -> Self {
        World::new(seed).into()
    }

    /// The same with disks that outlive the processes.
    pub fn durable(seed: u64) -> Self {
        World::new(seed).with_durable_disks().into()
    }

    /// Lets time pass.
    pub fn run(&mut self, length: Duration) {
        self.0.run(length).expect("no property is broken");
    }

    /// Runs until `done` says so; gives how long it took, or `None` after `limit`.
    pub fn run_until(&mut self, limit: Duration, done: impl FnMut(&World) -> bool) -> Option<Duration> {
        self.0.run_until(limit, done).expect("no property is broken")
    }

    /// Hands a node a request that it takes.
    pub fn request(&mut self, at: usize, request: Request) {
        self.0.request(at, request).expect("the node takes it");
    }

    /// Proposes through a node, which takes it.
    pub fn propose(&mut self, at: usize, bytes: impl Into<Bytes>) {
        self.0.propose_through(at, &bytes.into()).expect("the node takes it");
    }

    /// Starts a process again as it was started first, and joining through nobody: its data directory must do.
    pub fn resume_from_disk(&mut self, at: usize) {
        self.host_mut(at).config.join.clear();
        self.boot(at);
    }

    /// From now on no write of a host becomes stable.
    pub fn hang_disk(&mut self, at: usize) {
        let never = Duration::from_secs(1_000_000);
        self.host_mut(at).disk.conditions = DiskConditions { flush_min: never, flush_max: never, full: false };
    }

    /// Loses so many datagrams of a hundred; as many pieces of streams come late.
    pub fn lose(&mut self, percent: u64) {
        self.network.conditions.loss = u32::try_from(percent * 10_000).expect("a part of a million");
    }
}

impl From<World> for TestWorld {
    fn from(world: World) -> Self {
        Self(world.with_events())
    }
}

/// A host's name.
pub fn name(at: usize) -> NodeName {
    format!("n{at}").parse().expect("legal")
}

/// A host's node.
///
/// # Panics
/// If no process exists there.
pub fn node(world: &World, at: usize) -> &Node {
    world.hosts()[at].node().expect("its process exists")
}

/// The host that leads.
///
/// # Panics
/// If none does.
pub fn leader(world: &World) -> usize {
    crate::cuts::with_role(world, Role::Leader)
}

/// The first host that does not lead.
///
/// # Panics
/// If none runs.
pub fn follower(world: &World) -> usize {
    world.running().into_iter().find(|&at| world.status(at).role != Role::Leader).expect("somebody follows")
}

/// Voters, as a host has them.
pub fn voters(world: &World, at: usize) -> usize {
    world.status(at).members.iter().filter(|member| member.raft.as_str() == "Voter").count()
}

/// Time left of a host's lease, if it has not run out.
pub fn lease_left(world: &World, at: usize) -> Option<Duration> {
    let left = node(world, at).lease_until() - world.hosts()[at].clock.local(world.now());
    (!left.is_zero()).then_some(left)
}

/// What a host's application saw committed, in order, from this event of all its starts on.
pub fn committed(world: &World, at: usize, since: usize) -> Vec<Bytes> {
    let bytes = |event: &Event| match event {
        Event::Committed { bytes, .. } => Some(bytes.clone()),
        _ => None,
    };
    world.events(at)[since..].iter().filter_map(bytes).collect()
}

/// How the requests to a host ended, in order.
pub fn outcomes(world: &World, at: usize) -> Vec<Outcome> {
    let ended = |event: &Event| match event {
        Event::RequestDone { outcome, .. } => Some(outcome.clone()),
        _ => None,
    };
    world.events(at).iter().filter_map(ended).collect()
}

/// Fails with what every running node says of itself.
pub fn report(world: &World) -> ! {
    for at in world.running() {
        eprintln!("{at}: {:#?}", world.status(at));
    }
    panic!("not converged at {}", world.now());
}
