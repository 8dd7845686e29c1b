//! New certificates, new authorities and denials while a cluster serves.

use std::time::{Duration, Instant};

use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS};
use funk_tests::blackbox::load::{CLIENT, Load};
use funk_tests::blackbox::{Tested, wait_for};
use rustix::process::Signal;

use super::strangers::OpenSsl;
use super::{RATE, counted, ctrlc, endpoint, said, wait_for_line};

/// A load long enough for three nodes to look at their files.
const LOAD: Duration = Duration::from_secs(3);

/// Streams of those who are not believed any more end so soon after the reload.
const STREAMS_END: Duration = Duration::from_secs(1);

fn id(cluster: &DemoCluster, node: usize) -> String {
    cluster.nodes[node].id.clone()
}

/// Lets a node look at its files, and waits until it has taken them over.
fn reload(cluster: &mut DemoCluster, node: usize) -> Result<(), String> {
    let before = counted(cluster, node, "funk_tls_generation", &[])?;
    cluster.nodes[node].process.signal(Signal::HUP);
    let taken = wait_for("the new files", GENEROUS, || {
        let now = counted(cluster, node, "funk_tls_generation", &[])?;
        if now > before { Ok(()) } else { Err(format!("generation {now}")) }
    });
    taken.map_err(|error| format!("{error}\n{}", cluster.tails(&[node])))
}

/// Does something to the files of each node in turn while requests are sent; none is lost, and the leader stays.
fn under_load(
    cluster: &mut DemoCluster,
    order: [usize; 3],
    change: impl Fn(&mut DemoCluster, usize) -> Result<(), String>,
) -> Tested {
    let before = cluster.status(0)?;
    let mut load = Load::start_at(cluster, RATE, LOAD)?;
    load.running(cluster)?;
    for node in order {
        change(cluster, node)?;
        reload(cluster, node)?;
    }
    assert!(load.is_running(), "the client sends requests until all nodes have looked at their files");
    load.finish()?;
    for node in order {
        let after = cluster.status(node)?;
        assert_eq!((after.term, &after.leader), (before.term, &before.leader), "{}", after.brief());
    }
    Ok(())
}

#[test]
fn certificates_are_replaced_under_load_and_a_file_that_is_none_keeps_the_old_one() -> Tested {
    let mut cluster = DemoCluster::start_with_tls("tls-reload", 3, &[])?;
    under_load(&mut cluster, [2, 0, 1], |cluster, node| {
        let (pki, id) = (cluster.pki()?, id(cluster, node));
        // Half of a new certificate, as somebody sees it who looks while it is written.
        let path = pki.of(&id).join("cert.pem");
        let whole = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
        pki.write(&id, "cert.pem", &whole[..whole.len() / 2])?;
        let generation = counted(cluster, node, "funk_tls_generation", &[])?;
        cluster.nodes[node].process.signal(Signal::HUP);
        wait_for_line(cluster, node, &["ERROR", "--tls-cert", &path.to_string_lossy()])?;
        if counted(cluster, node, "funk_tls_generation", &[])? > generation {
            return Err("half of a certificate was taken for one".into());
        }
        let failures = counted(cluster, node, "funk_tls_reload_failures_total", &[])?;
        if failures < 1.0 {
            return Err(format!("{failures} failures are counted"));
        }
        let pki = cluster.pki()?;
        pki.certify(pki.first(), "node", &id)
    })
}

#[test]
fn an_authority_is_replaced_in_three_steps_under_load() -> Tested {
    let mut cluster = DemoCluster::start_with_tls("tls-rotation", 3, &[])?;
    let second = cluster.pki()?.authority("second")?;
    let first = cluster.pki()?.first().clone();
    cluster.pki()?.provide("operator", "alice")?;

    under_load(&mut cluster, [0, 1, 2], |cluster, node| {
        cluster.pki()?.believe(&id(cluster, node), &[&first, &second])
    })?;
    // A client reads its files when it starts.
    cluster.pki()?.believe(CLIENT, &[&first, &second])?;
    under_load(&mut cluster, [2, 0, 1], |cluster, node| cluster.pki()?.certify(&second, "node", &id(cluster, node)))?;
    cluster.pki()?.certify(&second, "client", CLIENT)?;
    under_load(&mut cluster, [1, 2, 0], |cluster, node| cluster.pki()?.believe(&id(cluster, node), &[&second]))?;

    // Who believes both, and has a certificate of the first, is not believed any more.
    cluster.pki()?.believe("alice", &[&first, &second])?;
    let refusal = said(&ctrlc(&mut cluster, 0, "alice", &["status"])?, 1)?;
    assert!(refusal.contains("refuses this side's certificate"), "{refusal}");
    assert!(counted(&mut cluster, 0, "funk_tls_refused_total", &["reason=\"authority\""])? >= 1.0);
    cluster.pki()?.certify(&second, "operator", "alice")?;
    said(&ctrlc(&mut cluster, 0, "alice", &["status"])?, 0)?;
    cluster.converged(GENEROUS)?;
    Ok(())
}

#[test]
fn streams_of_those_who_are_denied_end_soon_after_the_reload() -> Tested {
    let mut cluster = DemoCluster::empty("tls-deny", &["--http-tls=false"])?;
    let deny = cluster.dir().join("deny");
    std::fs::write(&deny, "# nobody yet\n")?;
    cluster.set_extra(&["--http-tls=false", "--tls-deny", &deny.to_string_lossy()]);
    cluster.certify()?;
    cluster.fill(3)?;
    cluster.pki()?.provide("client", "eve")?;
    cluster.pki()?.provide("client", CLIENT)?;
    let leader = cluster.leader()?;
    let victim = cluster.follower()?;
    let at = endpoint(&mut cluster, leader, "ep.cluster")?;
    let streams = match (OpenSsl::open(&cluster, &at, "eve")?, OpenSsl::open(&cluster, &at, CLIENT)?) {
        (Some(eve), Some(other)) => Some((eve, other)),
        _ => None,
    };

    std::fs::write(&deny, format!("client/eve\nnode/{} # its disk was sold\n", id(&cluster, victim)))?;
    let at = Instant::now();
    for node in cluster.live() {
        cluster.nodes[node].process.signal(Signal::HUP);
    }
    if let Some((mut eve, mut other)) = streams {
        eve.ended(STREAMS_END)?;
        assert!(other.is_open(), "others are not denied");
    }
    wait_for_line(&cluster, leader, &["a peer is refused", "denied", &id(&cluster, victim)])?;
    assert!(at.elapsed() < STREAMS_END, "the stream of a node ended after {:?}", at.elapsed());
    // Without streams it is no member that serves.
    let others: Vec<_> = (0..3).filter(|&node| node != victim).collect();
    cluster.converged_among(&others, GENEROUS)?;
    Ok(())
}
