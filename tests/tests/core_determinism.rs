//! The same seed gives the same bytes: within one process, between runs, and
//! between builds, since the expected hash is written down.

use std::time::Duration;

use funk_tests::harness::World;

fn story(seed: u64) -> u64 {
    let mut world = World::new(seed);
    for _ in 0..5 {
        world.start(100);
    }
    world.loss = 1;
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
    // `tests/check` compares this line between the two build profiles.
    println!("trace hash {hash:016x}");
    assert_eq!(hash, story(1));
    assert_ne!(story(1), story(2));
}
