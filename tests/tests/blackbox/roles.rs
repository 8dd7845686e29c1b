//! Nodes that do not take part like the others.

use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS};
use funk_tests::blackbox::{Tested, wait_for};

#[test]
fn a_non_voting_node_owns_shards_and_never_votes() -> Tested {
    let mut cluster = DemoCluster::start("non-voting", 2)?;
    cluster.set_extra(&["--non-voting"]);
    let node = cluster.join()?;
    let all = cluster.converged(GENEROUS)?;
    // Three members would make three voters; with one that never votes there stays one.
    assert_eq!(all[0].voters(), 1, "{}", all[0].brief());
    assert_eq!(all[node].role, "NonVoter");
    assert!(all[node].shards_owned > 3_000, "{}", all[node].brief());
    Ok(())
}

#[test]
fn a_heavier_node_owns_its_larger_share() -> Tested {
    let mut cluster = DemoCluster::start("weight", 1)?;
    cluster.set_extra(&["--weight", "3"]);
    let heavy = cluster.join()?;
    wait_for("shares by weight", GENEROUS, || {
        let status = cluster.status(heavy)?;
        let shares = (status.shards_of("n0"), status.shards_of("n1"));
        if shares == (2_500, 7_500) { Ok(()) } else { Err(status.brief()) }
    })?;
    Ok(())
}

#[test]
fn a_non_member_sees_the_cluster_and_owns_nothing() -> Tested {
    let mut cluster = DemoCluster::start("non-member", 2)?;
    cluster.set_extra(&["--non-member"]);
    let observer = cluster.join()?;
    wait_for("the observer to see the members", GENEROUS, || {
        let status = cluster.status(observer)?;
        let seen = ["n0", "n1"].iter().all(|id| status.members.get(*id).is_some_and(|member| member.serf == "alive"));
        if seen && status.role == "NonMember" { Ok(()) } else { Err(status.brief()) }
    })?;
    let status = cluster.status(observer)?;
    assert!(!status.may_serve && status.shards_owned == 0, "{}", status.brief());
    let members = cluster.converged_among(&[0, 1], GENEROUS)?;
    assert!(members[0].members.get("n2").is_none_or(|member| member.raft.is_empty()), "{}", members[0].brief());
    Ok(())
}
