//! Nodes that hear nobody, and nodes that were found dead.

use std::time::Duration;

use funk_proto::status::Role;

use crate::cuts::{Cut, boot_after_evidence, clock_stands_still, cluster, cut, shards_of, watch, with_role};

/// Nothing reaches the leader: the others' shards must not pause.
pub(super) fn deaf_leader() -> Option<String> {
    (1..=3).find_map(|seed| {
        let pauses = cluster(seed, 3).and_then(|mut world| {
            let leader = with_role(&world, Role::Leader);
            let had = shards_of(&world, leader);
            cut(&mut world, leader, Cut::In);
            watch(&mut world, &had, Duration::from_secs(1))
        });
        match pauses {
            Ok(pauses) if pauses.others < Duration::from_millis(100) => None,
            Ok(_) => Some("a leader that hears nobody stops all".to_owned()),
            Err(violation) => Some(violation.property.to_owned()),
        }
    })
}

/// What was found of one boot must not count for the next.
pub(super) fn another_boot() -> Option<String> {
    (1..=3).find_map(|seed| match boot_after_evidence(seed) {
        Ok(wrong) => wrong.map(str::to_owned),
        Err(violation) => Some(violation.property.to_owned()),
    })
}

/// What others' clocks tell of one's own.
pub(super) fn stopped_clock() -> Option<String> {
    (1..=3).find_map(|seed| {
        let wrong = clock_stands_still(seed, if seed == 1 { Role::Leader } else { Role::Follower });
        wrong.map_or_else(|violation| Some(violation.property.to_owned()), |wrong| wrong.map(str::to_owned))
    })
}
