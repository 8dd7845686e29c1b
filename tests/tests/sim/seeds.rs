//! Some seeds of the simulator, and the plans that once broke something. The
//! many are run by `make sim SEEDS=300`.

use std::path::PathBuf;

use funk_sim::{Plan, run};

#[test]
fn some_seeds_hold_every_property() {
    for seed in 0..2 {
        let outcome = run(&Plan::draw(seed), false);
        assert_eq!(outcome.violation, None, "make sim SEED={seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_with_or_without_its_story() {
    let mut plan = Plan::draw(5);
    (plan.heal_at, plan.end_at) = (10_000, 20_000);
    let hash = |seed, story| run(&Plan { seed, ..plan.clone() }, story).hash;
    assert_eq!(hash(5, false), hash(5, true));
    assert_ne!(hash(5, false), hash(6, false));
}

#[test]
fn what_was_broken_once_stays_mended() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../funk-sim/regressions");
    let mut plans = 0;
    for file in std::fs::read_dir(directory).expect("it is part of the sources") {
        let path = file.expect("readable").path();
        let plan: Plan = std::fs::read_to_string(&path).expect("readable").parse().expect("a plan");
        assert_eq!(run(&plan, false).violation, None, "make sim PLAN={}", path.display());
        plans += 1;
    }
    assert!(plans > 0);
}
