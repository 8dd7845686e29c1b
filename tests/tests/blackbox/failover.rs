//! Nodes are killed and stopped; the others take over.
//!
//! A cell passes when the survivors converge as they should. How fast they do
//! is printed here and judged by `make failover`, on a machine at rest.

use std::time::Duration;

use funk_tests::blackbox::Tested;
use funk_tests::blackbox::fault::{Fault, Victim};
use funk_tests::blackbox::trial::{Plan, run};

/// Trials in each cell.
const TRIALS: usize = 2;

/// How long the map must stand still after a fail-over.
const SETTLE: Duration = Duration::from_secs(3);

fn cell(nodes: usize, fault: Fault, victim: Victim) -> Tested {
    let plan = Plan { nodes, fault, victim, settle: SETTLE, load: false };
    for _ in 0..TRIALS {
        let outcome = run(&plan, &format!("failover-{nodes}-{fault}-{victim}"))?;
        println!("{plan}: {:?}", outcome.times);
        assert_eq!(outcome.later_epochs, 0, "{plan}: the epoch moved again: {outcome:?}");
        assert!(outcome.moved <= outcome.moved_max, "{plan}: too many shards moved: {outcome:?}");
        assert_eq!(outcome.rejoined.is_some(), fault == Fault::Stop);
    }
    Ok(())
}

macro_rules! cells {
    ($($name:ident: $nodes:literal, $fault:ident, $victim:ident;)*) => {$(
        #[test]
        fn $name() -> Tested {
            cell($nodes, Fault::$fault, Victim::$victim)
        }
    )*};
}

cells! {
    two_of_three_take_over_from_a_killed_leader: 3, Kill, Leader;
    two_of_three_take_over_from_a_killed_follower: 3, Kill, Follower;
    two_of_three_take_over_from_a_stopped_leader_which_comes_back: 3, Stop, Leader;
    two_of_three_take_over_from_a_stopped_follower_which_comes_back: 3, Stop, Follower;
    four_of_five_take_over_from_a_killed_leader: 5, Kill, Leader;
    four_of_five_take_over_from_a_killed_follower: 5, Kill, Follower;
    four_of_five_take_over_from_a_stopped_leader_which_comes_back: 5, Stop, Leader;
    four_of_five_take_over_from_a_stopped_follower_which_comes_back: 5, Stop, Follower;
}
