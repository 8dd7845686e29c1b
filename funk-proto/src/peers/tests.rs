use super::*;
use crate::rng::{Seed, Stream as RngStream};

fn address(n: u64, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(n).unwrap()], port))
}

fn id(n: u64) -> RaftId {
    RaftId::new(n).unwrap()
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn peers(n: u64, cluster_name: &str) -> Peers {
    let identity = Identity {
        cluster_name: cluster_name.parse().unwrap(),
        cluster: ClusterId::new(5),
        id: id(n),
        boot: BootId::new(100 + n).unwrap(),
        name: format!("n{n}").parse().unwrap(),
        raft: address(n, 2),
        liveness: address(n, 3),
        secret: [u8::try_from(n).unwrap(); 16],
        former: Vec::new(),
        generation: 1,
        versions: Versions::OURS,
    };
    Peers::new(identity, DialNumbers::new(1, 2), Rng::new(Seed::from_u64(n), RngStream::Peers))
}

/// Carries messages of one stream to and fro until both sides are quiet.
fn talk(a: &mut Peers, b: &mut Peers, theirs: ConnId) -> Vec<PeersOutput> {
    let mut others = Vec::new();
    loop {
        let (mut from_a, mut from_b) = (Vec::new(), Vec::new());
        while let Some(output) = a.poll_output() {
            match output {
                PeersOutput::Message { bytes, .. } | PeersOutput::Reply { bytes, .. } => from_a.push(bytes),
                other => others.push(other),
            }
        }
        for bytes in &from_a {
            let _ = b.handle_frame(at(1), theirs, bytes);
        }
        while let Some(output) = b.poll_output() {
            match output {
                PeersOutput::Message { bytes, .. } | PeersOutput::Reply { bytes, .. } => from_b.push(bytes),
                other => others.push(other),
            }
        }
        let ours = a.streams.keys().next().copied();
        for bytes in &from_b {
            let _ = a.handle_frame(at(1), ours.unwrap_or(ConnId::dialled(1)), bytes);
        }
        if from_a.is_empty() && from_b.is_empty() {
            return others;
        }
    }
}

fn introduced() -> (Peers, Peers) {
    let (mut a, mut b) = (peers(1, "c"), peers(2, "c"));
    a.learn(id(2), address(2, 2));
    a.set_wanted(at(0), [id(2)].into());
    talk(&mut a, &mut b, ConnId::accepted(1));
    (a, b)
}

fn news(peers: &mut Peers) -> Vec<PeerNews> {
    std::iter::from_fn(|| peers.poll_news()).collect()
}

#[test]
fn hellos_give_both_sides_address_boot_and_key() {
    let (a, b) = introduced();
    assert!(a.is_connected(id(2)) && b.is_connected(id(1)));
    assert_eq!(a.boot(id(2)), BootId::new(102));
    let (to_b, key) = a.datagram_route(id(2)).unwrap();
    assert_eq!((to_b, key), (address(2, 3), b.incoming_key(id(1), BootId::new(101).unwrap())));
    let (to_a, key) = b.datagram_route(id(1)).unwrap();
    assert_eq!((to_a, key), (address(1, 3), a.incoming_key(id(2), BootId::new(102).unwrap())));
}

#[test]
fn the_accepting_side_sends_on_the_same_stream() {
    let (mut a, mut b) = introduced();
    assert!(b.send(at(2), id(1), FrameBody::Farewell(crate::wire::cluster::BootName { id: 1, boot: 1 })));
    let Some(PeersOutput::Message { bytes, .. }) = b.poll_output() else { panic!("no dial is needed") };
    let conn = *a.streams.keys().next().unwrap();
    let Ok(Some((from, FrameBody::Farewell(_)))) = a.handle_frame(at(2), conn, &bytes) else { panic!() };
    assert_eq!(from, id(2));
}

#[test]
fn another_clusters_node_is_refused_and_both_hear_why() {
    let (mut a, mut b) = (peers(1, "c"), peers(2, "other"));
    a.learn(id(2), address(2, 2));
    a.set_wanted(at(0), [id(2)].into());
    talk(&mut a, &mut b, ConnId::accepted(1));
    assert!(!a.is_connected(id(2)) && !b.is_connected(id(1)));
    for (side, theirs) in [(&mut a, "other"), (&mut b, "c")] {
        let named = |news: &PeerNews| matches!(news, PeerNews::Refused { refusal: Refusal::ClusterName { theirs: name }, .. } if name == theirs);
        assert!(news(side).iter().any(named));
    }
}

fn speaking(n: u64, oldest: u32, newest: u32) -> Peers {
    let mut peers = peers(n, "c");
    peers.identity.versions = Versions { oldest, newest };
    peers
}

#[test]
fn nodes_without_a_common_version_refuse_each_other_and_both_hear_which_side_to_upgrade() {
    let (old, new) = ((1, 1), (2, 3));
    for (dials, accepts) in [(old, new), (new, old)] {
        let (mut a, mut b) = (speaking(1, dials.0, dials.1), speaking(2, accepts.0, accepts.1));
        a.learn(id(2), address(2, 2));
        a.set_wanted(at(0), [id(2)].into());
        talk(&mut a, &mut b, ConnId::accepted(1));
        assert!(!a.is_connected(id(2)) && !b.is_connected(id(1)));
        let (older, newer) = if dials == old { (a, b) } else { (b, a) };
        for (mut side, words) in [
            (
                older,
                "this node speaks version 1 of the cluster's protocol, the peer versions 2 to 3; upgrade this node",
            ),
            (newer, "this node speaks versions 2 to 3 of the cluster's protocol, the peer version 1; upgrade the peer"),
        ] {
            let named = |news: &PeerNews| matches!(news, PeerNews::Refused { refusal, .. } if refusal.to_string().ends_with(words));
            assert!(news(&mut side).iter().any(named), "{words}");
        }
    }
}

#[test]
fn nodes_that_share_a_version_or_say_none_talk() {
    for ((one, other), meet) in [
        (((1, 1), (1, 2)), true),
        (((1, 2), (2, 3)), true),
        (((0, 0), (1, 1)), true),
        (((0, 0), (2, 2)), false),
        (((9, 2), (2, 2)), true),
    ] {
        let (one, other) = (Versions::told(one.0, one.1), Versions::told(other.0, other.1));
        assert_eq!((one.meet(other), other.meet(one)), (meet, meet), "{one}, {other}");
    }
    let (mut a, mut b) = (speaking(1, 1, 2), speaking(2, 2, 4));
    a.learn(id(2), address(2, 2));
    a.set_wanted(at(0), [id(2)].into());
    talk(&mut a, &mut b, ConnId::accepted(1));
    assert!(a.is_connected(id(2)) && b.is_connected(id(1)));
}

#[test]
fn a_frame_before_the_hello_and_a_frame_of_garbage_end_the_stream() {
    let mut b = peers(2, "c");
    let early = Frame::bytes(FrameBody::Farewell(crate::wire::cluster::BootName { id: 1, boot: 1 }));
    assert_eq!(b.handle_frame(at(0), ConnId::accepted(1), &early), Err(Misbehaviour::Unintroduced));
    assert_eq!(b.poll_output(), Some(PeersOutput::Close { conn: ConnId::accepted(1) }));
    let garbage = Bytes::from_static(b"GET / HTTP/1.1\r\n");
    assert!(b.handle_frame(at(0), ConnId::accepted(2), &garbage).is_err());
    assert_eq!(b.poll_output(), Some(PeersOutput::Close { conn: ConnId::accepted(2) }));
}

#[test]
fn a_lost_stream_is_dialled_again_later_and_later() {
    let (mut a, _) = introduced();
    news(&mut a);
    let mut now = at(10);
    let mut pauses = Vec::new();
    for _ in 0..12 {
        let conn = *a.streams.keys().next().unwrap();
        a.handle_closed(now, conn, CloseReason::Failed);
        let due = a.poll_timeout().unwrap();
        pauses.push(due - now);
        now = due;
        a.handle_timeout(now);
        assert!(matches!(a.poll_output(), Some(PeersOutput::Dial { .. })));
        while a.poll_output().is_some() {}
    }
    assert!(matches!(news(&mut a)[0], PeerNews::Lost(peer) if peer == id(2)));
    assert!(pauses[0] <= BACKOFF_MIN && pauses[11] >= BACKOFF_MAX / 2 && pauses[11] <= BACKOFF_MAX, "{pauses:?}");
}

#[test]
fn a_stream_that_says_no_hello_is_ended() {
    let mut a = peers(1, "c");
    a.learn(id(2), address(2, 2));
    a.set_wanted(at(0), [id(2)].into());
    while a.poll_output().is_some() {}
    let due = a.poll_timeout().unwrap();
    a.handle_timeout(due);
    assert!(matches!(a.poll_output(), Some(PeersOutput::Close { .. })));
}

fn hello_of(n: u64, boot: u64) -> Bytes {
    Frame::bytes(FrameBody::Hello(Hello {
        cluster_name: "c".into(),
        cluster: 5,
        id: n,
        boot,
        name: format!("n{n}"),
        raft: address(9, 2).to_string(),
        liveness: address(9, 3).to_string(),
        key: Bytes::from_static(&[7; 16]),
        ..Hello::default()
    }))
}

#[test]
fn a_forged_hello_is_forgotten_with_its_stream() {
    let (mut a, _) = introduced();
    let before = (a.boot(id(2)), a.datagram_route(id(2)));
    let strange = ConnId::accepted(77);
    a.handle_frame(at(2), strange, &hello_of(2, 999)).unwrap();
    a.handle_closed(at(3), strange, CloseReason::Failed);
    assert_eq!((a.boot(id(2)), a.datagram_route(id(2))), before);
    assert!(a.is_connected(id(2)));
}

#[test]
fn a_restarted_peer_is_believed_while_the_stream_to_its_former_process_ends() {
    let (mut a, _) = introduced();
    let old = *a.streams.keys().next().unwrap();
    a.handle_frame(at(2), ConnId::accepted(5), &hello_of(2, 202)).unwrap();
    a.handle_closed(at(3), old, CloseReason::Failed);
    assert_eq!(a.boot(id(2)), BootId::new(202));
    assert_eq!(a.datagram_route(id(2)), Some((address(9, 3), Key([7; 16]))));
}

#[test]
fn a_strangers_hello_of_another_boot_is_put_to_the_test_where_the_peer_was() {
    let (mut a, b) = introduced();
    let before = (a.boot(id(2)), a.datagram_route(id(2)));
    let strange = ConnId::accepted(77);
    a.handle_frame(at(2), strange, &hello_of(2, 999)).unwrap();
    let outputs: Vec<_> = std::iter::from_fn(|| a.poll_output()).collect();
    let dialled = |output: &PeersOutput| match output {
        &PeersOutput::Dial { conn, to, .. } => Some((conn, to)),
        _ => None,
    };
    let Some((again, to)) = outputs.iter().find_map(dialled) else { panic!("{outputs:?}") };
    assert_eq!(to, address(2, 2), "not where the stranger says");
    assert!(a.send(at(2), id(2), FrameBody::Farewell(crate::wire::cluster::BootName { id: 1, boot: 1 })));
    assert!(
        matches!(a.poll_output(), Some(PeersOutput::Message { conn, .. }) if conn == strange),
        "who may have restarted is spoken to meanwhile"
    );
    a.handle_frame(at(3), again, &b.hello(Some((id(1), a.identity.boot)))).unwrap();
    assert_eq!((a.boot(id(2)), a.datagram_route(id(2))), before, "the peer itself has answered");
    let outputs: Vec<_> = std::iter::from_fn(|| a.poll_output()).collect();
    assert!(outputs.contains(&PeersOutput::Close { conn: strange }), "{outputs:?}");
}

#[test]
fn a_strangers_hello_of_the_same_boot_changes_nothing_while_the_peers_stream_stands() {
    let (mut a, _) = introduced();
    let before = (a.boot(id(2)), a.datagram_route(id(2)));
    a.handle_frame(at(2), ConnId::accepted(77), &hello_of(2, 102)).unwrap();
    assert_eq!((a.boot(id(2)), a.datagram_route(id(2))), before);
}

#[test]
fn a_stream_that_takes_the_place_of_another_is_told_of() {
    let (_, mut b) = introduced();
    news(&mut b);
    b.handle_frame(at(2), ConnId::accepted(2), &hello_of(1, 101)).unwrap();
    assert!(matches!(news(&mut b)[..], [PeerNews::Interrupted(one), PeerNews::Introduced(_)] if one == id(1)));
}

#[test]
fn a_dial_to_where_the_peer_was_gives_way_to_one_to_where_it_is() {
    let mut a = peers(1, "c");
    a.learn(id(2), address(2, 2));
    a.set_wanted(at(0), [id(2)].into());
    while a.poll_output().is_some() {}
    a.learn(id(2), address(7, 2));
    let mut dials = Vec::new();
    while dials.is_empty() {
        let now = a.poll_timeout().unwrap();
        assert!(now < Timestamp::ZERO + HELLO_TIMEOUT, "nothing was dialled");
        a.handle_timeout(now);
        dials
            .extend(std::iter::from_fn(|| a.poll_output()).filter(|output| matches!(output, PeersOutput::Dial { .. })));
    }
    assert!(matches!(dials[..], [PeersOutput::Dial { to, .. }] if to == address(7, 2)), "{dials:?}");
}

#[test]
fn a_frame_of_a_later_version_does_not_end_the_stream_of_a_peer_that_said_hello() {
    // Field 1,000, a number.
    let later = Bytes::from_static(&[0xc0, 0x3e, 1]);
    let (mut a, _) = introduced();
    let conn = *a.streams.keys().next().unwrap();
    assert_eq!(a.handle_frame(at(2), conn, &later), Ok(None));
    assert!(a.is_connected(id(2)) && a.poll_output().is_none());
    let strange = ConnId::accepted(77);
    assert_eq!(a.handle_frame(at(2), strange, &later), Err(Misbehaviour::UnknownKind));
    assert_eq!(a.poll_output(), Some(PeersOutput::Close { conn: strange }));
}

#[test]
fn a_stream_that_this_side_ends_is_told_of_like_one_that_is_replaced() {
    let (mut a, _) = introduced();
    news(&mut a);
    let conn = *a.streams.keys().next().unwrap();
    assert!(a.handle_frame(at(2), conn, &Bytes::from_static(&[0xff; 8])).is_err());
    assert!(matches!(news(&mut a)[0], PeerNews::Interrupted(peer) if peer == id(2)));
}

#[test]
fn a_boot_that_is_called_gets_a_stream_of_its_own_in_place_of_its_predecessors() {
    let (mut a, _) = introduced();
    let boot = |boot| Incarnation { id: id(2), boot: BootId::new(boot).unwrap() };
    assert!(a.is_connected_to(boot(102)) && !a.is_connected_to(boot(202)));
    a.call(at(2), boot(102), address(2, 2));
    assert!(a.poll_output().is_none(), "it is connected already");
    a.call(at(2), boot(202), address(2, 2));
    let outputs: Vec<_> = std::iter::from_fn(|| a.poll_output()).collect();
    assert!(matches!(outputs[0], PeersOutput::Close { .. }), "{outputs:?}");
    assert!(matches!(outputs[1], PeersOutput::Dial { to, .. } if to == address(2, 2)), "{outputs:?}");
    assert!(!a.is_connected(id(2)));
}
