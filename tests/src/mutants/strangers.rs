//! What a node must not take from whoever comes.

use std::collections::BTreeSet;
use std::time::Duration;

use funk_proto::id::{BootId, LogIndex, RaftId, Term};
use funk_proto::liveness::{Liveness, LivenessOutput, MemberView};
use funk_proto::wire::cluster::FrameBody;
use funk_proto::wire::liveness::Grant;
use funk_proto::{ClusterTiming, Timing};

use super::stage::{NOW, Stage, hello, record};

fn id(n: u64) -> RaftId {
    RaftId::new(n).expect("not zero")
}

/// A grant of an hour, in a cluster whose lease is not an hour.
pub(crate) fn long_grant() -> Option<String> {
    let (timing, hour) = (Timing::default(), Duration::from_secs(3600));
    let mut member = Liveness::new(id(2), BootId::new(2).expect("not zero"), timing);
    let Timing { lease, drift_ppm, .. } = timing;
    member.set_cluster_timing(ClusterTiming { lease, lease_min: lease, lease_max: lease, drift_ppm });
    member.handle_heartbeat(NOW, id(1), 1, Term(1), (hour, timing.drift_ppm));
    let Some(LivenessOutput::Send { counter, .. }) = member.poll_output() else { return Some("no ack".into()) };
    member.handle_grant(NOW, id(1), Grant { echo: counter, length: hour });
    let lease = member.lease_until() - NOW;
    (lease > timing.lease).then(|| format!("a lease of {lease:?} in a cluster whose lease is {:?}", timing.lease))
}

/// A follower, which never led, grants its leader a lease.
pub(crate) fn grant_of_a_follower() -> Option<String> {
    let timing = Timing::default();
    let mut leader = Liveness::new(id(1), BootId::new(1).expect("not zero"), timing);
    leader.lead(NOW, Term(1), Duration::ZERO);
    let boot = BootId::new(2).expect("not zero");
    let views = [MemberView { id: id(2), boot: Some(boot), floor: LogIndex(0) }];
    leader.set_members(NOW, &views, [id(1), id(2)].into(), BTreeSet::new());
    leader.set_ready(NOW);
    let Some(LivenessOutput::Send { counter, .. }) = leader.poll_output() else { return Some("no heartbeat".into()) };
    leader.handle_grant(NOW, id(2), Grant { echo: counter, length: timing.lease });
    (leader.lease_until() > NOW).then(|| "a follower's grant is a lease".into())
}

/// A datagram with a counter after which there is hardly any.
pub(crate) fn spent_counter() -> Option<String> {
    let mut member = Liveness::new(id(2), BootId::new(2).expect("not zero"), Timing::default());
    let boot = BootId::new(1).expect("not zero");
    member.admit(id(1), boot, 1);
    member.admit(id(1), boot, u64::MAX - 1);
    (!member.admit(id(1), boot, 2)).then(|| "after one datagram nothing is heard of its sender any more".into())
}

/// The leader of a cluster with one member, which acks this hash; whether the leader takes it for diverged.
fn is_diverged(own: &[(u64, u64)], told: (u64, u64)) -> bool {
    let mut leader = Liveness::new(id(1), BootId::new(1).expect("not zero"), Timing::default());
    leader.lead(NOW, Term(1), Duration::ZERO);
    let boot = BootId::new(2).expect("not zero");
    let views = [MemberView { id: id(2), boot: Some(boot), floor: LogIndex(0) }];
    leader.set_members(NOW, &views, [id(1), id(2)].into(), BTreeSet::new());
    own.iter().for_each(|&(index, hash)| leader.set_applied(LogIndex(index), hash));
    leader.compare_applied(NOW, id(2), boot, (LogIndex(told.0), told.1));
    leader.differs(id(2))
}

/// A member acks a hash that is not the leader's.
pub(crate) fn diverged_member() -> Option<String> {
    (!is_diverged(&[(5, 50)], (5, 51))).then(|| "a member that applied other entries goes on".into())
}

/// A member acks an entry that the leader's snapshot passed over.
pub(crate) fn slower_member() -> Option<String> {
    is_diverged(&[(5, 50), (9, 90)], (7, 70)).then(|| "a member that is behind is taken for diverged".into())
}

/// A stranger introduces itself and sends every kind of frame that is a member's to send.
pub(crate) fn forged_frames() -> Option<String> {
    let mut stage = Stage::new();
    let conn = stage.accept();
    stage.say(conn, FrameBody::Hello(hello(9, 9, 9)));
    stage.forge(conn)
}

/// The same, in the name of a member.
pub(crate) fn claimed_name() -> Option<String> {
    Stage::with_member(|mut stage| {
        let conn = stage.accept();
        stage.say(conn, FrameBody::Hello(hello(2, 102, 2)));
        stage.forge(conn)
    })
}

/// The same, from another address at which the stranger answers in the member's name, while the member is where it is
/// listed.
pub(crate) fn claimed_place() -> Option<String> {
    Stage::with_member(|mut stage| {
        stage.now = stage.now + Duration::from_millis(200);
        let conn = stage.accept();
        stage.say(conn, FrameBody::Hello(hello(2, 202, 9)));
        stage.say(conn, FrameBody::Join(record(202, 9)));
        let Some(called) = stage.dialled(9) else { return Some("who asks to join is not looked for".into()) };
        stage.say(called, FrameBody::Hello(hello(2, 202, 9)));
        stage.forge(called)
    })
}
