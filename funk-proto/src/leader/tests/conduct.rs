//! Members that do not stay.

use std::time::Duration;

use super::stage::{Stage, id};
use crate::evidence::Proof;
use crate::id::{BootId, Incarnation};
use crate::leader::{Cause, LeaderOutput};
use crate::state::tests::record;
use crate::wire::cluster::{DownRecord, MemberRecord, Op};

/// This process of member 3 is declared dead: it fell silent, or it said that it ended.
fn lose(stage: &mut Stage, boot: u64, is_silent: bool) {
    let lost = Incarnation { id: id(3), boot: BootId::new(boot).unwrap() };
    if is_silent {
        stage.silence(3);
    } else {
        stage.evidence.endings.insert(lost, Proof::Said);
        stage.leader.wake();
    }
    let down = Op::Down(DownRecord::failed(lost));
    assert!(stage.proposed().contains(&down));
    stage.apply([down]);
    if is_silent {
        stage.answer();
    }
}

/// This node asks until it is let in: for how many milliseconds, and what was said of it.
fn admit(stage: &mut Stage, join: &MemberRecord) -> (u64, Vec<Cause>) {
    stage.introduce(join);
    let (asked, mut causes) = (stage.now, Vec::new());
    loop {
        stage.join(join);
        let round = stage.round();
        causes.extend(round.iter().filter_map(|output| match output {
            LeaderOutput::Flaps { cause, .. } => Some(*cause),
            _ => None,
        }));
        let is_up = |op: &Op| matches!(op, Op::Up(_));
        let is_in = round.iter().any(|output| matches!(output, LeaderOutput::Propose(ops) if ops.iter().any(is_up)));
        stage.apply(is_in.then(|| Op::Up(join.clone())));
        if is_in {
            return (u64::try_from(stage.now.since(asked).as_millis()).unwrap(), causes);
        }
        stage.answer();
    }
}

/// Member 3 is lost and comes back this many times; `next` is who comes back then.
fn flap(stage: &mut Stage, times: u64, next: impl Fn(u64) -> MemberRecord) -> (Vec<u64>, Vec<Cause>) {
    let (mut pauses, mut all) = (Vec::new(), Vec::new());
    for n in 1..=times {
        let last = stage.state.members.get(id(3)).and_then(|member| member.boot).expect("3 is up").get();
        lose(stage, last, next(n).boot == last);
        let (pause, causes) = admit(stage, &next(n));
        pauses.push(pause);
        all.extend(causes);
    }
    (pauses, all)
}

#[test]
fn a_member_that_hears_nothing_is_let_in_with_growing_pauses_and_one_warning() {
    let (pauses, causes) = flap(&mut Stage::of(3), 10, |_| MemberRecord { answered: 7, ..record(3) });
    assert_eq!(pauses, [0, 0, 0, 500, 1000, 2000, 4000, 4000, 4000, 4000]);
    assert_eq!(causes, [Cause::DoesNotHear], "it never answered more heartbeats than before");
}

#[test]
fn a_member_whose_answers_are_lost_waits_as_long_and_the_warning_says_so() {
    let (pauses, causes) = flap(&mut Stage::of(3), 5, |n| MemberRecord { answered: 7 * n, ..record(3) });
    assert_eq!((pauses, causes), (vec![0, 0, 0, 500, 1000], vec![Cause::IsNotHeard]));
}

#[test]
fn a_process_that_restarts_in_a_loop_waits_as_long() {
    let (pauses, causes) = flap(&mut Stage::of(3), 5, |n| MemberRecord { boot: 900 + n, ..record(3) });
    assert_eq!((pauses, causes), (vec![0, 0, 0, 500, 1000], vec![Cause::Restarts]));
}

#[test]
fn a_member_that_stayed_for_a_while_does_not_wait() {
    let mut stage = Stage::of(3);
    flap(&mut stage, 6, |_| record(3));
    let (out, stayed) = (stage.now, Duration::from_secs(3));
    while stage.now < out + stayed {
        stage.answer();
    }
    assert_eq!(flap(&mut stage, 4, |_| record(3)), (vec![0, 0, 0, 500], vec![Cause::DoesNotHear]));
}

/// The voters that are wanted now.
fn voters(stage: &mut Stage) -> Vec<u64> {
    stage.leader.wake();
    let round = stage.round();
    let wanted = round.into_iter().find_map(|output| match output {
        LeaderOutput::ChangeVoters { voters, .. } => Some(voters),
        _ => None,
    });
    wanted.unwrap_or_else(|| stage.quorum.voters.clone()).into_iter().map(crate::id::RaftId::get).collect()
}

/// A leader that has been alone for this long, and two newcomers that have caught up.
fn two_newcomers(alone: Duration) -> Stage {
    let mut stage = Stage::of(1);
    let until = stage.now + alone;
    while stage.now < until {
        stage.answer();
    }
    for n in [2, 3] {
        admit(&mut stage, &record(n));
        stage.quorum.matched.insert(id(n), stage.quorum.last_index);
    }
    stage
}

#[test]
fn newcomers_take_no_majority_before_they_have_stayed_for_a_while() {
    let mut stage = two_newcomers(Duration::from_secs(10));
    assert_eq!(voters(&mut stage), [1]);
    let came = stage.now;
    while stage.now < came + Duration::from_secs(2) {
        stage.answer();
    }
    assert_eq!(voters(&mut stage), [1, 2, 3], "both at once: of two voters none may be lost");
}

#[test]
fn a_newcomer_that_starts_again_has_to_stay_anew() {
    let mut stage = two_newcomers(Duration::from_secs(10));
    let came = stage.now;
    while stage.now < came + Duration::from_secs(1) {
        stage.answer();
    }
    lose(&mut stage, record(3).boot, false);
    admit(&mut stage, &MemberRecord { boot: 999, ..record(3) });
    while stage.now < came + Duration::from_secs(2) {
        stage.answer();
    }
    assert_eq!(voters(&mut stage), [1], "one newcomer alone makes no majority, and takes one");
}

#[test]
fn a_cluster_that_begins_has_its_voters_at_once() {
    assert_eq!(voters(&mut two_newcomers(Duration::from_secs(1))), [1, 2, 3]);
}
