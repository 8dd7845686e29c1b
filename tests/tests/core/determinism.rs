//! The same seed gives the same bytes.

use std::time::Duration;

use funk_tests::world::TestWorld;

/// A story with joins, loss, a kill, a restart and a stopped node; returns
/// the hash over all that every node said.
fn story(seed: u64) -> u64 {
    let mut world = TestWorld::new(seed);
    for _ in 0..5 {
        world.start(100);
    }
    world.lose(1);
    world.run(Duration::from_secs(3));
    world.kill(0);
    world.run(Duration::from_secs(1));
    world.restart(0);
    world.pause(2);
    world.run(Duration::from_secs(1));
    world.resume(2);
    world.run(Duration::from_secs(2));
    world.hash()
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let hash = story(1);
    assert_eq!(hash, story(1));
    assert_ne!(hash, story(2));
}
