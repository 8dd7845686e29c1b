//! Clusters with gossip keys in the simulator.

use std::time::Duration;

use funk_proto::status::Role;
use funk_proto::{Event, GossipKey, KeyOrder, KeyReport, Keyring, Outcome, Request};
use funk_sim::{Violation, World};

const SHARDS: u32 = 12;

/// A key that is told from others by its number.
///
/// # Panics
/// Never: 32 bytes are a key.
pub fn key(n: u8) -> GossipKey {
    GossipKey::new(&[n; 32]).expect("32 bytes are a key")
}

/// Starts a durable cluster whose nodes have this key, and whose streams show certificates if they are to.
///
/// # Errors
/// The first property that is broken.
pub fn cluster(seed: u64, nodes: usize, n: u8, is_certified: bool) -> Result<World, Violation> {
    let mut world = World::new(seed).with_durable_disks().with_events();
    if is_certified {
        world = world.with_certificates();
    }
    for _ in 0..nodes {
        world.start_with(|config| {
            config.shards = SHARDS;
            config.gossip_keys = Some(Keyring::new(key(n)).into());
        });
    }
    world.run_until(Duration::from_secs(20), World::converged)?;
    Ok(world)
}

/// What came of an order that was given to a node last.
pub fn reported(world: &World, at: usize) -> Option<KeyReport> {
    let last = world.events(at).iter().rev().find_map(|event| match event {
        Event::RequestDone { outcome, .. } => Some(outcome),
        _ => None,
    });
    match last? {
        Outcome::Keys(report) => Some(report.clone()),
        _ => None,
    }
}

/// Gives an order to the leader, and waits for what comes of it; `None` if nobody leads or nothing came.
///
/// # Errors
/// The first property that is broken.
pub fn order(world: &mut World, order: KeyOrder) -> Result<Option<KeyReport>, Violation> {
    let Some(at) = world.running().into_iter().find(|&at| world.status(at).role == Role::Leader) else {
        return Ok(None);
    };
    let before = world.events(at).len();
    if world.request(at, Request::Keys { order, wait: Duration::from_secs(5) }).is_err() {
        return Ok(None);
    }
    let done = |event: &Event| matches!(event, Event::RequestDone { .. });
    world.run_until(Duration::from_secs(6), |world| world.events(at)[before..].iter().any(done))?;
    Ok(reported(world, at))
}

/// Replaces a key by another in three steps; what came of each.
///
/// # Errors
/// The first property that is broken.
pub fn rotate(world: &mut World, from: u8, to: u8) -> Result<Vec<KeyReport>, Violation> {
    let (old, new) = (key(from).id().to_string(), key(to).id().to_string());
    let mut reports = Vec::new();
    for step in [KeyOrder::Install(key(to)), KeyOrder::Use(new), KeyOrder::Remove(old)] {
        reports.extend(order(world, step)?);
    }
    Ok(reports)
}
