//! Voters that have just become some: their quorum may know nothing of what
//! the quorum before it promised, so the old one counts for a while longer.

use std::time::Duration;

use funk_proto::Timing;
use funk_sim::{Violation, World};

/// Worlds that are tried.
const WORLDS: u64 = 5;

/// One voter becomes three, and the one counts until its promises are over.
pub(super) fn voters_change_slowly() -> Option<String> {
    (0..WORLDS).find_map(|seed| change(seed).unwrap_or_else(|violation| Some(violation.property.to_owned())))
}

fn change(seed: u64) -> Result<Option<String>, Violation> {
    let (mut world, limit) = (World::new(seed), Duration::from_secs(2));
    world.start(12);
    world.run(limit)?;
    world.start(12);
    world.start(12);
    let joint = |world: &World| world.voters().0.len() == 3 && !world.voters().1.is_empty();
    let done = |world: &World| world.voters().0.len() == 3 && world.voters().1.is_empty();
    if world.run_until(limit, joint)?.is_none() {
        return Ok(Some("three nodes never have three voters".into()));
    }
    let took = world.run_until(limit, done)?;
    let lease = Timing::default().lease;
    let too_soon = took.is_some_and(|took| took < lease);
    Ok(too_soon.then(|| "new voters decide alone before old promises are over".to_owned()))
}
