//! Nodes with certificates through the real driver.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use funk_proto::NodeConfig;
use funk_proto::status::{NodeState, RaftStatus, Role};
use funk_proto::version::Versions;
use funk_proto::wire::cluster::{Frame, FrameBody, Hello};
use funk_proto::wire::frame;
use funk_tls::rustls::pki_types::ServerName;
use funk_tls::rustls::{ClientConnection, StreamOwned};
use funk_tls::{Credentials, Current, Roles};

use super::cluster::{is_shared, propose_from_each};
use super::node::{address, be_patient, config, serving};
use super::{LOOPBACK, run};
use crate::meters::TLS_REASONS;
use crate::runtime::Runtime;
use crate::{Cluster, Options, ProposeError, Sockets, StartError, start};

/// Makes credentials: for a role and a name (`node/first`) of the cluster `conformance`, signed by this one of two
/// authorities, that believes these, and denies those of this list.
pub trait Issue: Fn(&str, usize, &[usize], &str) -> Credentials {}

impl<F: Fn(&str, usize, &[usize], &str) -> Credentials> Issue for F {}

/// What carries streams between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// TCP, and TLS on it.
    Tcp,
    /// QUIC, which needs the feature `quic`.
    Quic,
}

impl Carrier {
    fn sockets(self) -> Sockets {
        let any = SocketAddr::new(LOOPBACK, 0);
        let bound = match self {
            Self::Tcp => Sockets::any(LOOPBACK),
            Self::Quic => Sockets::bind_quic(any, any, any),
        };
        bound.expect("loopback has free ports")
    }
}

/// Between two looks at what only a counter tells.
const LOOK: Duration = Duration::from_millis(5);

fn node<R: Runtime>(name: &str, tls: Option<&Current>, change: impl FnOnce(&mut Options)) -> Cluster {
    node_over::<R>(Carrier::Tcp, name, tls, change)
}

fn node_over<R: Runtime>(
    carrier: Carrier,
    name: &str,
    tls: Option<&Current>,
    change: impl FnOnce(&mut Options),
) -> Cluster {
    let mut options = Options { tls: tls.cloned(), ..Options::new(config(name), carrier.sockets()) };
    change(&mut options);
    start::<R>(options).expect("the node starts")
}

fn joins(contact: SocketAddr) -> impl Fn(&mut Options) {
    move |options| {
        be_patient(&mut options.node);
        options.node.join = vec![contact];
    }
}

fn bootstraps(options: &mut Options) {
    be_patient(&mut options.node);
    options.node.bootstrap = true;
}

/// A cluster of three, and the credentials of each.
async fn three<R: Runtime>(
    carrier: Carrier,
    issue: &impl Issue,
    timing: impl Fn(&mut NodeConfig),
) -> (Vec<Cluster>, Vec<Current>) {
    let names = ["first", "second", "third"];
    let credentials = |name: &&str| Current::from(issue(&format!("node/{name}"), 0, &[0], ""));
    let current: Vec<Current> = names.iter().map(credentials).collect();
    let mut nodes = Vec::new();
    let mut contact = None;
    for (name, current) in names.iter().zip(&current) {
        let joined = contact;
        let cluster = node_over::<R>(carrier, name, Some(current), |options| {
            timing(&mut options.node);
            options.node.bootstrap = joined.is_none();
            options.node.join = joined.into_iter().collect();
        });
        if contact.is_none() {
            contact = Some(address(&cluster, "ep.serf").await);
        }
        nodes.push(cluster);
    }
    until_shared::<R>(&nodes).await;
    (nodes, current)
}

/// Until all nodes are at one and serve. Leases tell no event.
async fn until_shared<R: Runtime>(nodes: &[Cluster]) {
    while !is_shared(nodes).await {
        R::sleep(LOOK).await;
    }
}

/// Whether each node knows that all vote.
async fn all_vote(nodes: &[Cluster]) -> bool {
    let mut all = true;
    for cluster in nodes {
        let members = cluster.status().await.expect("it runs").members;
        all &= members.iter().filter(|member| member.raft == RaftStatus::Voter).count() == nodes.len();
    }
    all
}

fn refused(cluster: &Cluster, reason: &str) -> u64 {
    let place = TLS_REASONS.iter().position(|known| *known == reason).expect("it is a reason");
    cluster.meters().tls.refused[place].read()
}

async fn until<R: Runtime>(mut holds: impl FnMut() -> bool) {
    while !holds() {
        R::sleep(LOOK).await;
    }
}

/// Certificates on all streams, and the leader stops without a word.
pub fn three_nodes_with_certificates_outlive_their_leader<R: Runtime>(carrier: Carrier, issue: impl Issue) {
    run::<R>(async {
        let (mut nodes, _) = three::<R>(carrier, &issue, |_| {}).await;
        propose_from_each(&nodes).await;
        for cluster in &nodes {
            assert!(cluster.meters().tls.handshakes.read() > 0 && cluster.meters().tls.plaintext.read() == 0);
        }
        // Before that, the leader alone may be the majority.
        while !all_vote(&nodes).await {
            R::sleep(LOOK).await;
        }
        let mut leader = None;
        for (place, cluster) in nodes.iter().enumerate() {
            let leads = cluster.status().await.expect("it runs").role == Role::Leader;
            leader = leader.or(leads.then_some(place));
        }
        drop(nodes.remove(leader.expect("they agreed on one")));
        until_shared::<R>(&nodes).await;
        propose_from_each(&nodes).await;
    });
}

/// Nobody believes it, and it believes nobody. It goes on trying, and is let in with a certificate that is believed.
pub fn a_node_of_another_authority_waits_outside<R: Runtime>(carrier: Carrier, issue: impl Issue) {
    run::<R>(async {
        let first = Current::from(issue("node/first", 0, &[0], ""));
        let first = node_over::<R>(carrier, "first", Some(&first), bootstraps);
        serving(&first).await;
        let contact = address(&first, "ep.serf").await;
        let current = Current::from(issue("node/second", 1, &[1], ""));
        let second = node_over::<R>(carrier, "second", Some(&current), joins(contact));
        // Each that dials refuses the certificate of the other, which is told so.
        until::<R>(|| refused(&second, "authority") >= 3 && refused(&first, "alert") >= 3).await;
        assert!(matches!(second.status().await.expect("it runs").state, NodeState::Starting | NodeState::Joining));
        let members = first.status().await.expect("it runs").members;
        assert!(members.iter().all(|member| member.name != "second" || member.boot.is_none()), "{members:?}");
        current.replace(issue("node/second", 0, &[0], "")).expect("it is the same node");
        let nodes = [first, second];
        until_shared::<R>(&nodes).await;
    });
}

/// A stream of TLS that a test holds.
fn dial(to: SocketAddr, of: &Credentials) -> StreamOwned<ClientConnection, TcpStream> {
    let config = of.connector(Roles::NODES, &[b"funk-cluster"]);
    let name = ServerName::try_from("funk").expect("a legal name");
    let connection = ClientConnection::new(config, name).expect("the configuration is sound");
    StreamOwned::new(connection, TcpStream::connect(to).expect("it listens"))
}

fn hello_as(status: &funk_proto::Status, cluster: &str) -> BytesMut {
    let own = status.members.iter().find(|member| member.name == status.name.as_str()).expect("it knows itself");
    let at = |endpoint: &str| own.endpoints[endpoint].to_string();
    let mut bytes = BytesMut::new();
    let hello = FrameBody::Hello(Hello {
        cluster_name: cluster.into(),
        cluster: status.cluster.map_or(0, |cluster| cluster.get()),
        id: status.id.get(),
        boot: status.boot.get(),
        name: status.name.to_string(),
        raft: at("ep.raft"),
        liveness: at("ep.liveness"),
        oldest: Versions::OURS.oldest,
        newest: Versions::OURS.newest,
        ..Hello::default()
    });
    frame::encode(&Frame::bytes(hello), &mut bytes);
    bytes
}

/// Bytes that come until the other side hangs up.
fn rest(stream: &mut impl Read) -> usize {
    let (mut all, mut buffer) = (0, [0; 4096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return all,
            Ok(length) => all += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return all,
        }
    }
}

/// Whoever has a certificate of the cluster speaks in its own name only.
pub fn a_hello_in_anothers_name_is_refused<R: Runtime>(issue: impl Issue) {
    run::<R>(async {
        let (nodes, _) = three::<R>(Carrier::Tcp, &issue, be_patient).await;
        let stranger = issue("node/fourth", 0, &[0], "");
        let to = address(&nodes[0], "ep.raft").await;
        for other in &nodes[1..] {
            let mut stream = dial(to, &stranger);
            let hello = hello_as(&other.status().await.expect("it runs"), "conformance");
            stream.write_all(&hello).expect("the certificate is believed");
            assert_eq!(rest(&mut stream), 0, "nothing is said to it");
        }
        assert_eq!(nodes[0].status().await.expect("it runs").counters.impersonations, 2);
        // A role that has no business there does not get so far.
        let mut stream = dial(to, &issue("operator/eve", 0, &[0], ""));
        let _ = stream.write_all(b"hello");
        let _ = rest(&mut stream);
        until::<R>(|| refused(&nodes[0], "role") == 1).await;
        propose_from_each(&nodes).await;
    });
}

/// Without a certificate nobody is heard, but for the time in which a cluster is given certificates.
pub fn a_plaintext_peer_is_let_in_only_where_that_is_permitted<R: Runtime>(issue: impl Issue) {
    run::<R>(async {
        let current = Current::from(issue("node/first", 0, &[0], ""));
        let strict = node::<R>("first", Some(&current), bootstraps);
        serving(&strict).await;
        let mut stream = TcpStream::connect(address(&strict, "ep.raft").await).expect("it listens");
        let hello = hello_as(&strict.status().await.expect("it runs"), "conformance");
        stream.write_all(&hello).expect("the kernel takes it");
        assert_eq!(rest(&mut stream), 0, "it is told nothing");
        assert_eq!(refused(&strict, "plaintext"), 1);
        // One with a certificate dials one that has none.
        let plain = node::<R>("plain", None, bootstraps);
        serving(&plain).await;
        let contact = address(&plain, "ep.serf").await;
        let second = Current::from(issue("node/second", 0, &[0], ""));
        let second = node::<R>("second", Some(&second), joins(contact));
        until::<R>(|| refused(&second, "not_tls") >= 2).await;
        assert_eq!(second.meters().tls.plaintext.read(), 0);
        let third = Current::from(issue("node/third", 0, &[0], ""));
        let third = node::<R>("third", Some(&third), |options| {
            joins(contact)(options);
            options.permit_plaintext = true;
        });
        drop(second);
        let nodes = [plain, third];
        until_shared::<R>(&nodes).await;
        assert!(nodes[1].meters().tls.plaintext.read() > 0);
    });
}

/// What a client says first.
fn client_hello(of: &Credentials) -> Vec<u8> {
    let name = ServerName::try_from("funk").expect("a legal name");
    let mut connection = ClientConnection::new(of.connector(Roles::NODES, &[b"funk-cluster"]), name)
        .expect("the configuration is sound");
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).expect("a vector takes all");
    bytes
}

/// Handshakes that are begun and not ended end by themselves; nobody's lease waits for them, and no joiner.
pub fn half_open_handshakes_hold_nobody_up<R: Runtime>(issue: impl Issue) {
    run::<R>(async {
        let credentials = |name: &str| Current::from(issue(name, 0, &[0], ""));
        let first = node::<R>("first", Some(&credentials("node/first")), bootstraps);
        serving(&first).await;
        let (contact, raft) = (address(&first, "ep.serf").await, address(&first, "ep.raft").await);
        let hello = client_hello(&issue("node/fourth", 0, &[0], ""));
        let begin = |n: usize| {
            let mut stream = TcpStream::connect(raft).expect("the kernel accepts");
            let begun = [0, 1, hello.len()][n % 3];
            // One that made way already takes no more.
            let _ = stream.write_all(&hello[..begun]);
            (stream, begun)
        };
        let mut open: Vec<(TcpStream, usize)> = (0..200).map(begin).collect();
        let nodes = vec![
            first,
            node::<R>("second", Some(&credentials("node/second")), joins(contact)),
            node::<R>("third", Some(&credentials("node/third")), joins(contact)),
        ];
        until_shared::<R>(&nodes).await;
        // One more byte now and then lengthens nothing.
        let ended = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for (stream, begun) in &mut open {
                let (hello, ended) = (&hello, &ended);
                scope.spawn(move || {
                    while stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok() {
                        match stream.read(&mut [0; 4096]) {
                            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                            Ok(length) if length > 0 => {}
                            _ => break,
                        }
                        if *begun < hello.len() && stream.write_all(&hello[*begun..=*begun]).is_ok() {
                            *begun += 1;
                        }
                    }
                    ended.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(ended.into_inner(), 200);
        for cluster in &nodes {
            assert_eq!(cluster.meters().lease_lapses.read(), 0);
        }
        propose_from_each(&nodes).await;
    });
}

/// Both authorities first, then other certificates, then the other authority alone.
pub fn a_cluster_moves_to_another_authority<R: Runtime>(carrier: Carrier, issue: impl Issue) {
    run::<R>(async {
        let (nodes, current) = three::<R>(carrier, &issue, be_patient).await;
        let term = nodes[0].status().await.expect("it runs").term;
        for (by, believed) in [(0, &[0, 1][..]), (1, &[0, 1]), (1, &[1])] {
            let ended = || -> u64 {
                TLS_REASONS.iter().map(|why| nodes.iter().map(|node| refused(node, why)).sum::<u64>()).sum()
            };
            let before = ended();
            for (cluster, current) in nodes.iter().zip(&current) {
                current.replace(issue(&format!("node/{}", cluster.name()), by, believed, "")).expect("the same node");
            }
            if believed.len() == 1 {
                // Streams that began under the former authority are dialled anew.
                let closed = || nodes.iter().map(|cluster| refused(cluster, "authority")).sum::<u64>();
                until::<R>(|| closed() > 0).await;
                propose_until_known::<R>(&nodes).await;
            } else {
                propose_from_each(&nodes).await;
            }
            assert!(believed.len() == 1 || ended() == before, "no stream was dropped");
        }
        until_shared::<R>(&nodes).await;
        for cluster in &nodes {
            assert_eq!(cluster.status().await.expect("it runs").term, term, "the leader stays");
            assert_eq!(cluster.meters().lease_lapses.read(), 0);
        }
    });
}

/// Each node proposes, and again if its stream to the leader ended before it heard what came of it, or is not open again.
async fn propose_until_known<R: Runtime>(nodes: &[Cluster]) {
    for cluster in nodes {
        loop {
            match cluster.propose(Bytes::from_static(b"again")).await {
                Ok(_) => break,
                Err(ProposeError::Unknown | ProposeError::Rejected(_)) => R::sleep(LOOK).await,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// A node that is denied loses its streams, and its shards with them.
pub fn whoever_is_denied_is_cut_off<R: Runtime>(carrier: Carrier, issue: impl Issue) {
    run::<R>(async {
        let (mut nodes, current) = three::<R>(carrier, &issue, |_| {}).await;
        for (name, current) in ["node/first", "node/second"].iter().zip(&current) {
            current.replace(issue(name, 0, &[0], "node/third")).expect("the same node");
        }
        until::<R>(|| nodes[..2].iter().all(|cluster| refused(cluster, "denied") > 0)).await;
        // It runs on, and its datagrams come.
        let third = nodes.pop().expect("there were three");
        until_shared::<R>(&nodes).await;
        propose_from_each(&nodes).await;
        assert!(third.is_running());
    });
}

/// A node that dials by TCP, and one that takes streams by QUIC: both learn it, and neither lets the other in.
pub fn nodes_of_different_transports_say_so<R: Runtime>(issue: impl Issue) {
    run::<R>(async {
        let credentials = |name: &str| Current::from(issue(name, 0, &[0], ""));
        let first = node_over::<R>(Carrier::Quic, "first", Some(&credentials("node/first")), bootstraps);
        serving(&first).await;
        let contact = address(&first, "ep.serf").await;
        let second = node::<R>("second", Some(&credentials("node/second")), joins(contact));
        until::<R>(|| refused(&first, "transport") >= 2 && refused(&second, "transport") >= 2).await;
        assert!(matches!(second.status().await.expect("it runs").state, NodeState::Starting | NodeState::Joining));
        let plain = Options::new(config("plain"), Carrier::Quic.sockets());
        let refusal = start::<R>(plain).expect_err("there is no QUIC without TLS");
        assert!(matches!(refusal, StartError::QuicWithoutTls), "{refusal}");
    });
}
