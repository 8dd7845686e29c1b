//! Members that were away while the gossip keys changed.

use std::time::Duration;

use funk_sim::Violation;

use crate::keys::{cluster, rotate};

/// Two of five were down through a rotation, and ask each other too.
pub(super) fn two_were_away() -> Option<String> {
    (1..=4).find_map(|seed| away(seed).err().map(|violation| violation.property.to_owned()))
}

fn away(seed: u64) -> Result<(), Violation> {
    let mut world = cluster(seed, 5, 7, true)?;
    world.kill(3);
    world.kill(4);
    world.run(Duration::from_secs(5))?;
    rotate(&mut world, 7, 8)?;
    for at in [3, 4] {
        world.host_mut(at).config.join.clear();
        world.boot(at);
    }
    world.run(Duration::from_secs(10))
}
