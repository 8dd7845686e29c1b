//! Voters are lost one after another and nobody is started again. `FUNK_PAUSE=SECONDS` loses one so often;
//! without it the next goes as soon as the dead one's vote is another's.

use std::time::{Duration, Instant};

use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS};
use funk_tests::blackbox::status::Status;
use funk_tests::blackbox::{Tested, wait_for};
use rustix::process::Signal;

const NODES: usize = 12;
const LOST: usize = 8;

fn votes(status: &Status) -> impl Iterator<Item = &String> {
    status.members.iter().filter(|(_, member)| member.raft == "Voter").map(|(id, _)| id)
}

/// Ids of voters that no longer run.
fn dead_voters(cluster: &mut DemoCluster, status: &Status) -> Vec<String> {
    let live: Vec<String> = cluster.live().into_iter().map(|node| cluster.nodes[node].id.clone()).collect();
    votes(status).filter(|id| !live.contains(*id)).cloned().collect()
}

#[test]
fn twelve_nodes_lose_eight_voters_and_the_last_four_serve_everything() -> Tested {
    let pause = match std::env::var("FUNK_PAUSE") {
        Ok(seconds) => Some(Duration::from_secs(seconds.parse().map_err(|_| "FUNK_PAUSE is no number of seconds")?)),
        Err(_) => None,
    };
    let mut cluster = DemoCluster::start("attrition", NODES)?;
    five_vote(&mut cluster)?;
    for round in 0..LOST {
        let leader = cluster.leader()?;
        let status = cluster.status(leader)?;
        let live = cluster.live();
        let follows = |node: &usize| *node != leader && votes(&status).any(|id| *id == cluster.nodes[*node].id);
        let follower = live.into_iter().find(follows).ok_or("nobody but the leader votes")?;
        let victim = if round % 2 == 0 { leader } else { follower };
        let lost = Instant::now();
        cluster.nodes[victim].process.signal(Signal::KILL);
        cluster.nodes[victim].process.wait(GENEROUS)?;
        let all = cluster.converged(GENEROUS)?;
        println!("round {round}, {}: served again {:?} after the kill", cluster.nodes[victim].id, lost.elapsed());
        let owned: u64 = all.iter().map(|status| status.shards_owned).sum();
        assert_eq!((all.len(), owned), (NODES - 1 - round, 10_000), "round {round}");
        match pause {
            Some(pause) => std::thread::sleep(pause.saturating_sub(lost.elapsed())),
            None if round + 1 < LOST => five_vote(&mut cluster)?,
            None => {}
        }
    }
    let last = cluster.converged(GENEROUS)?;
    assert_eq!(last.len(), NODES - LOST);
    assert!(last.iter().all(|status| status.may_serve && status.leader.is_some()));
    let dead = dead_voters(&mut cluster, &last[0]).len();
    assert!(dead * 2 < last[0].voters(), "{dead} of {} voters are dead", last[0].voters());
    Ok(())
}

/// Waits until five live nodes vote, and nobody else.
fn five_vote(cluster: &mut DemoCluster) -> Result<(), String> {
    wait_for("five live voters", GENEROUS, || {
        let leader = cluster.leader()?;
        let status = cluster.status(leader)?;
        let dead = dead_voters(cluster, &status);
        if status.voters() == 5 && dead.is_empty() { Ok(()) } else { Err(format!("{} dead: {dead:?}", status.brief())) }
    })
}
