//! Nodes that hear nobody, and nodes that were found dead.

use std::time::Duration;

use funk_proto::status::Role;

use crate::cuts::{
    Cut, boot_after_evidence, clock_stands_still, cluster, cut, entries_while_datagrams_are_lost, newcomers_end,
    shards_of, watch, with_role,
};

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

/// One voter alone misses the leader, whom the other two hear: it stays.
pub(super) fn one_misses_the_leader() -> Option<String> {
    (1..=3).find_map(|seed| {
        let stays = cluster(seed, 3).and_then(|mut world| {
            let (leader, witness) = (with_role(&world, Role::Leader), with_role(&world, Role::Follower));
            let term = world.status(leader).term;
            world.network.cut(leader, witness);
            world.network.cut(witness, leader);
            world.run(Duration::from_secs(1))?;
            Ok((world.status(leader).role, world.status(leader).term) == (Role::Leader, term))
        });
        match stays {
            Ok(true) => None,
            Ok(false) => Some("one voter deposes a leader whom the others hear".to_owned()),
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

/// A member that does not hear, or is not heard, must not be thrown out and taken in several times a second.
pub(super) fn one_way_datagrams() -> Option<String> {
    [Cut::In, Cut::Out].into_iter().find_map(|which| match entries_while_datagrams_are_lost(1, which) {
        Ok(entries) if entries <= 150 => None,
        Ok(entries) => Some(format!("a member that does not stay costs {entries} entries in 20 s")),
        Err(violation) => Some(violation.property.to_owned()),
    })
}

/// Who was let in a moment ago must not take the majority of those who stayed.
pub(super) fn newcomers() -> Option<String> {
    (1..=2).find_map(|seed| match newcomers_end(seed) {
        Ok(wrong) => wrong.map(str::to_owned),
        Err(violation) => Some(violation.property.to_owned()),
    })
}
