//! Clusters on slow and lossy networks.

use std::time::Duration;

use funk_tests::slow::{Loss, changes, lost_leaders, second_bootstrap, slow, three};

/// In millionths.
const A_TENTH: u32 = 100_000;
/// Two seconds, in which twelve messages get through one after the other, and one more.
const LONGEST: Duration = Duration::from_millis(2_140);

#[test]
fn a_slow_or_lossy_network_changes_no_leader_once_the_lease_has_had_ten_seconds_to_fit() {
    for seed in 1..=8 {
        for loss in [0, A_TENTH] {
            let mut world = three(seed, slow(loss), Duration::from_secs(10)).expect("no property is broken");
            let changes = changes(&mut world, Duration::from_secs(60)).expect("no property is broken");
            assert_eq!(changes, 0, "seed {seed}, loss {loss}");
            let led = world.running().iter().all(|&at| world.status(at).leader.is_some());
            assert!(led, "seed {seed}, loss {loss}");
        }
    }
}

#[test]
fn a_leader_that_is_lost_on_a_slow_network_is_missed_for_hardly_more_than_two_seconds() {
    for how in [Loss::Reaped, Loss::Killed, Loss::Cut] {
        assert_eq!(lost_leaders(how, 1..=12, LONGEST), None);
    }
}

#[test]
fn a_bootstrap_waits_for_the_answer_of_a_cluster_that_is_far_away() {
    assert_eq!(second_bootstrap(), None);
}
