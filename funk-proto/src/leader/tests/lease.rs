//! How long the lease is.

use std::time::Duration;

use super::stage::{Stage, at, id, node};
use crate::state::LeaseReason;
use crate::wire::cluster::{DownRecord, Op};

const SHORT: Duration = Duration::from_millis(150);
const LONGER: Duration = Duration::from_millis(300);

#[test]
fn three_late_answers_within_ten_seconds_make_it_longer() {
    let mut stage = Stage::of(3);
    stage.answer_late(2);
    stage.answer_late(3);
    assert_eq!(stage.proposed_lease(), None, "two may be one pause of the machine");
    stage.answer_late(3);
    assert_eq!(stage.proposed_lease(), Some((LONGER, LeaseReason::LateAnswers(id(3)))));
}

#[test]
fn late_answers_far_apart_change_nothing() {
    let mut stage = Stage::of(3);
    for _ in 0..4 {
        stage.answer_late(2);
        stage.answer_for(Duration::from_secs(6));
        assert_eq!(stage.proposed_lease(), None);
    }
}

#[test]
fn nothing_is_due_while_all_are_on_time_and_it_is_as_short_as_may_be() {
    let mut stage = Stage::of(3);
    assert_eq!(stage.proposed_lease(), None);
    stage.answer_for(Duration::from_secs(60));
    assert_eq!(stage.leader.poll_round(None), None);
    stage.answer_late(2);
    assert!(stage.leader.poll_round(None).is_some(), "a late answer is looked at");
}

#[test]
fn one_that_is_never_to_change_does_not() {
    let mut stage = Stage::of(3);
    stage.state.cluster.lease_max = SHORT;
    (0..9).for_each(|_| stage.answer_late(2));
    assert_eq!(stage.proposed_lease(), None);
}

#[test]
fn it_is_halved_when_answers_have_been_on_time_for_long() {
    let mut stage = Stage::of(3);
    stage.change_lease(LONGER * 2);
    stage.answer_for(Duration::from_secs(19));
    assert_eq!(stage.proposed_lease(), None);
    stage.answer_for(Duration::from_secs(2));
    assert_eq!(stage.proposed_lease(), Some((LONGER, LeaseReason::Calm)));
    stage.change_lease(LONGER);
    stage.answer_for(Duration::from_secs(15));
    // In time for this lease, and not for half of it.
    stage.answer_late(2);
    stage.answer_for(Duration::from_secs(15));
    assert_eq!(stage.proposed_lease(), None);
    stage.answer_for(Duration::from_secs(7));
    assert_eq!(stage.proposed_lease(), Some((SHORT, LeaseReason::Calm)));
}

#[test]
fn leaders_that_are_replaced_though_they_live_make_it_longer() {
    let mut stage = Stage::of(3);
    for leader in [2, 3, 1] {
        stage.leader.note_leader(at(900), node(leader));
    }
    stage.leader.wake();
    assert_eq!(stage.proposed_lease(), None, "two were replaced");
    stage.leader.note_leader(at(950), node(2));
    stage.leader.wake();
    assert_eq!(stage.proposed_lease(), Some((LONGER, LeaseReason::LeaderChanges)));
}

#[test]
fn leaders_that_have_died_are_no_reason() {
    let mut stage = Stage::of(3);
    for leader in [2, 2, 2, 2] {
        stage.leader.note_leader(at(900), node(leader));
    }
    stage.apply([Op::Down(DownRecord::failed(node(2)))]);
    assert_eq!(stage.proposed_lease(), None);
}
