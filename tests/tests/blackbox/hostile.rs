//! Bytes of strangers at every open port leave all nodes serving.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS};
use funk_tests::blackbox::hostile::{Noise, datagram_cases, stream_cases};
use funk_tests::blackbox::load::Load;
use funk_tests::blackbox::{Failure, Tested, wait_for};

const SEED: u64 = 0x0066_756e_6b00;

/// Endpoints that take datagrams; all but `ep.liveness` take streams.
const DATAGRAM_ENDPOINTS: [&str; 2] = ["ep.serf", "ep.liveness"];

#[test]
fn noise_at_every_port_leaves_all_nodes_serving() -> Tested {
    let mut cluster = DemoCluster::start("noise", 3)?;
    let mut noise = Noise::new(SEED);
    let streams = stream_cases(&mut noise);
    let datagrams = datagram_cases(&mut noise);
    attack(&mut cluster, &streams, &datagrams)?;
    Ok(())
}

#[test]
fn a_captured_gossip_exchange_sent_again_whole_cut_and_spoiled_leaves_all_nodes_serving() -> Tested {
    let mut cluster = DemoCluster::start("replay", 3)?;
    let captured = capture_push_pull(&mut cluster)?;
    assert!(captured.len() > 50, "a joiner sends its state: {} bytes", captured.len());
    let mut noise = Noise::new(SEED + 1);
    let mut cases = vec![captured.clone()];
    cases.extend((0..100).map(|_| noise.spoil(&captured)));
    let datagrams: Vec<_> = cases.iter().map(|case| case[..case.len().min(1_400)].to_vec()).collect();
    attack(&mut cluster, &cases, &datagrams)?;
    Ok(())
}

/// Listens as a gossip node would, and keeps the first bytes that a joiner of this cluster's name sends.
fn capture_push_pull(cluster: &mut DemoCluster) -> Result<Vec<u8>, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?.to_string();
    let joiner = cluster.join_at(&[&address])?;
    listener.set_nonblocking(true)?;
    let accept = || listener.accept().map_err(|error| error.to_string());
    let (mut stream, _) = wait_for("the joiner to dial", GENEROUS, accept)?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_millis(300)))?;
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut piece) {
        bytes.extend(&piece[..count]);
    }
    cluster.nodes[joiner].process.signal(rustix::process::Signal::KILL);
    cluster.nodes[joiner].process.wait(GENEROUS)?;
    Ok(bytes)
}

/// Sends everything to every port of every node, then wants the same nodes,
/// under the same leader, still serving, and requests answered.
fn attack(cluster: &mut DemoCluster, streams: &[Vec<u8>], datagrams: &[Vec<u8>]) -> Tested {
    let live = cluster.live();
    let before = cluster.converged(GENEROUS)?;
    for status in &before {
        let endpoints = &status.members[&status.node_id].endpoints;
        assert!(endpoints.len() >= 6, "a node lists its open ports: {endpoints:?}");
        for (name, address) in endpoints {
            if name != "ep.liveness" {
                send_streams(*address, streams)?;
            }
            if DATAGRAM_ENDPOINTS.contains(&name.as_str()) {
                send_datagrams(*address, datagrams)?;
            }
        }
    }
    assert_eq!(cluster.live(), live, "a node ended:\n{}", cluster.tails(&live));
    let after = cluster.converged(GENEROUS)?;
    for (before, after) in before.iter().zip(&after) {
        // Gossip may believe in whoever was described to it; the cluster takes nobody in for that.
        let (old, new) = (before.raft_members(), after.raft_members());
        assert_eq!(old, new, "nobody got in: {}", after.brief());
    }
    Load::start(cluster, Duration::from_secs(1))?.finish()?;
    for &node in &live {
        let log = std::fs::read_to_string(cluster.nodes[node].process.log())?;
        assert!(!log.contains("panicked"), "{}", cluster.nodes[node].process.tail());
    }
    Ok(())
}

fn send_streams(address: SocketAddr, cases: &[Vec<u8>]) -> Tested {
    // Some stay open and silent meanwhile, as a slow attacker's would.
    let mut held = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5));
        let mut stream = stream.unwrap_or_else(|error| panic!("{address} accepts no connection: {error}"));
        stream.set_write_timeout(Some(Duration::from_secs(2)))?;
        // The node may well close in the middle.
        let _ = stream.write_all(case);
        if number % 8 == 0 {
            held.push(stream);
        }
    }
    Ok(())
}

fn send_datagrams(address: SocketAddr, cases: &[Vec<u8>]) -> Tested {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    for case in cases {
        socket.send_to(case, address)?;
    }
    Ok(())
}
