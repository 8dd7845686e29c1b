//! One owner at a time, with real processes that are stopped, cut off and killed.

use std::path::Path;
use std::time::Duration;

use funk_benches::ownership::Plant;
use funk_benches::ownership::round::{FAULTS, Outcome, Trial};
use funk_tests::blackbox::Tested;
use funk_tests::blackbox::namespaces::with_tools;

const TOOLS: [&str; 4] = ["ip", "unshare", "nsenter", "nft"];

/// Long enough for a shard to move, and back.
const PAUSE: Duration = Duration::from_millis(1500);

fn outcome(label: &str, plant: Plant, rounds: usize) -> Result<Outcome, String> {
    let program = Path::new(env!("CARGO_BIN_EXE_ownership"));
    Trial::start(program, label, plant)?.run(rounds, PAUSE, |line| println!("{line}"))
}

#[test]
fn no_shard_has_two_owners_while_nodes_are_stopped_cut_off_and_killed() -> Tested {
    with_tools("ownership", &TOOLS, || {
        let outcome = outcome("ownership", Plant::None, FAULTS.len() + 1)?;
        assert!(outcome.is_clean(), "{outcome:?}");
        assert!(outcome.moves > 0 && outcome.held > 0 && outcome.acknowledged > 0, "nothing happened: {outcome:?}");
        Ok(())
    })
}

#[test]
fn nodes_that_go_on_after_their_lease_are_found() -> Tested {
    with_tools("ownership-guard", &TOOLS, || {
        let outcome = outcome("ownership-guard", Plant::Guard, 2)?;
        assert!(!outcome.overlaps.is_empty(), "no overlap of {} times", outcome.held);
        Ok(())
    })
}

#[test]
fn a_store_that_forgets_is_found() -> Tested {
    with_tools("ownership-loss", &TOOLS, || {
        let outcome = outcome("ownership-loss", Plant::Loss, 2)?;
        assert!(!outcome.lost.is_empty(), "{} acknowledged", outcome.acknowledged);
        Ok(())
    })
}
