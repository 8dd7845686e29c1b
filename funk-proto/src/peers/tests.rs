mod certified;
mod pair;
mod places;

use pair::Pair;

use super::*;
use crate::io::PeerIdentity;
use crate::limits::CLAIMS_MAX;
use crate::rng::{Seed, Stream as RngStream};
use crate::wire::cluster::{Hello, MemberRecord};

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

fn introduced() -> Pair {
    let mut pair = Pair::listed(peers(1, "c"), peers(2, "c"));
    pair.talk(at(1));
    pair
}

fn certificate(n: u64, exporter: u8) -> PeerIdentity {
    let (cluster, name) = ("c".parse().unwrap(), format!("n{n}").parse().unwrap());
    PeerIdentity { cluster, name, exporter: [exporter; 32], address: address(n, 40_000) }
}

fn farewell() -> FrameBody {
    FrameBody::Farewell(crate::wire::cluster::BootName { id: 1, boot: 1 })
}

fn standing(peers: &mut Peers, conn: ConnId) -> Standing {
    match peers.handle_frame(at(9), conn, &Frame::bytes(farewell())) {
        Ok(Some((_, standing, _))) => standing,
        other => panic!("{other:?}"),
    }
}

fn news(peers: &mut Peers) -> Vec<PeerNews> {
    std::iter::from_fn(|| peers.poll_news()).collect()
}

#[test]
fn each_side_dials_the_other_and_both_know_who_is_at_both_streams() {
    let Pair { nodes: [mut a, mut b], ends, .. } = introduced();
    assert!(a.is_connected(id(2)) && b.is_connected(id(1)));
    assert_eq!(a.boot(id(2)), BootId::new(102));
    let (to_b, key) = a.datagram_route(id(2)).unwrap();
    assert_eq!((to_b, key), (address(2, 3), b.incoming_keys(id(1), BootId::new(101).unwrap()).next().unwrap()));
    let (to_a, key) = b.datagram_route(id(1)).unwrap();
    assert_eq!((to_a, key), (address(1, 3), a.incoming_keys(id(2), BootId::new(102).unwrap()).next().unwrap()));
    assert_eq!(ends.len(), 2);
    for [at_a, at_b] in ends {
        assert_eq!((standing(&mut a, at_a), standing(&mut b, at_b)), (Standing::Confirmed, Standing::Confirmed));
    }
}

#[test]
fn a_frame_waits_until_both_sides_know_each_other() {
    let mut pair = Pair::listed(peers(1, "c"), peers(2, "c"));
    assert!(pair.nodes[0].send(at(0), id(2), farewell()));
    let early = std::iter::from_fn(|| pair.nodes[0].poll_output()).collect::<Vec<_>>();
    assert!(
        !early
            .iter()
            .any(|output| matches!(output, PeersOutput::Message { bytes, .. } if *bytes == Frame::bytes(farewell())))
    );
    early.into_iter().for_each(|output| pair.carry(at(0), 0, output));
    pair.talk(at(1));
    assert!(pair.nodes[0].peers[&id(2)].waiting.is_empty());
    assert!(pair.nodes[0].send(at(2), id(2), farewell()));
    assert!(matches!(pair.nodes[0].poll_output(), Some(PeersOutput::Message { .. })), "at once from then on");
}

#[test]
fn a_request_to_join_does_not_wait() {
    let mut a = peers(1, "c");
    a.learn(at(0), id(2), address(2, 2));
    let join = FrameBody::Join(MemberRecord::default());
    assert!(a.send(at(0), id(2), join.clone()));
    let outputs: Vec<_> = std::iter::from_fn(|| a.poll_output()).collect();
    assert!(
        matches!(&outputs[..], [PeersOutput::Dial { .. }, PeersOutput::Message { .. }, PeersOutput::Message { bytes, .. }] if *bytes == Frame::bytes(join)),
        "{outputs:?}"
    );
}

#[test]
fn frames_that_wait_for_a_stream_are_bounded_and_lost_with_it() {
    let mut a = peers(1, "c");
    a.learn(at(0), id(2), address(2, 2));
    let taken = (0..2 * FRAMES_WAITING_MAX).filter(|_| a.send(at(0), id(2), farewell())).count();
    assert_eq!(taken, FRAMES_WAITING_MAX);
    let conn = *a.streams.keys().next().unwrap();
    a.handle_closed(at(1), conn, CloseReason::Failed);
    assert!(a.peers[&id(2)].waiting.is_empty());
    assert!(matches!(news(&mut a)[..], [PeerNews::Lost(peer)] if peer == id(2)));
}

#[test]
fn another_clusters_node_is_refused_and_both_hear_why() {
    let mut pair = Pair::listed(peers(1, "c"), peers(2, "other"));
    pair.talk(at(1));
    let [mut a, mut b] = pair.nodes;
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
        let mut pair = Pair::listed(speaking(1, dials.0, dials.1), speaking(2, accepts.0, accepts.1));
        pair.talk(at(1));
        let [a, b] = pair.nodes;
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
    let mut pair = Pair::listed(speaking(1, 1, 2), speaking(2, 2, 4));
    pair.talk(at(1));
    assert!(pair.nodes[0].is_connected(id(2)) && pair.nodes[1].is_connected(id(1)));
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
    let Pair { nodes: [mut a, _], ends, .. } = introduced();
    news(&mut a);
    ends.iter().for_each(|ends| a.handle_closed(at(10), ends[0], CloseReason::Failed));
    assert!(matches!(news(&mut a)[..], [PeerNews::Lost(peer)] if peer == id(2)));
    let mut now = at(10);
    let mut pauses = Vec::new();
    for _ in 0..12 {
        let due = a.poll_timeout().unwrap();
        pauses.push(due - now);
        now = due;
        a.handle_timeout(now);
        let Some(PeersOutput::Dial { conn, .. }) = a.poll_output() else { panic!("it is dialled") };
        while a.poll_output().is_some() {}
        a.handle_closed(now, conn, CloseReason::Failed);
    }
    assert!(pauses[0] <= BACKOFF_MIN && pauses[11] >= BACKOFF_MAX / 2 && pauses[11] <= BACKOFF_MAX, "{pauses:?}");
}

#[test]
fn a_peer_that_refuses_dials_is_dialled_later_and_later_though_its_own_stream_stands() {
    let mut pair = introduced();
    let conn = pair.dialled();
    let a = &mut pair.nodes[0];
    a.handle_closed(at(10), conn, CloseReason::Ended);
    assert!(a.is_connected(id(2)), "its own stream stands");
    let (mut now, mut pauses) = (at(10), Vec::new());
    for _ in 0..12 {
        while let Some(output) = a.poll_output() {
            if let PeersOutput::Dial { conn, .. } = output {
                a.handle_closed(now, conn, CloseReason::Refused);
            }
        }
        let due = a.poll_timeout().unwrap();
        pauses.push(due - now);
        now = due;
        a.handle_timeout(now);
    }
    assert!(pauses[11] >= BACKOFF_MAX / 2, "{pauses:?}");
}

#[test]
fn a_peer_that_is_refused_is_not_dialled_again_at_once() {
    let mut pair = Pair::listed(peers(1, "c"), peers(2, "other"));
    pair.talk(at(1));
    let due = pair.nodes[0].poll_timeout().unwrap();
    assert!(due > at(1), "{due}");
}

#[test]
fn a_stream_that_says_no_hello_is_ended() {
    let mut a = peers(1, "c");
    a.learn(at(0), id(2), address(2, 2));
    a.set_wanted(at(0), [id(2)].into());
    while a.poll_output().is_some() {}
    let due = a.poll_timeout().unwrap();
    a.handle_timeout(due);
    assert!(matches!(a.poll_output(), Some(PeersOutput::Close { .. })));
}

fn hello_of(n: u64, boot: u64, proofs: Vec<Bytes>) -> Bytes {
    Frame::bytes(FrameBody::Hello(Hello {
        cluster_name: "c".into(),
        cluster: 5,
        id: n,
        boot,
        name: format!("n{n}"),
        raft: address(9, 2).to_string(),
        liveness: address(9, 3).to_string(),
        key: Bytes::from_static(&[7; 16]),
        proofs,
        oldest: Versions::OURS.oldest,
        newest: Versions::OURS.newest,
        ..Hello::default()
    }))
}

fn dials(peers: &mut Peers) -> Vec<(ConnId, SocketAddr)> {
    let outputs = std::iter::from_fn(|| peers.poll_output());
    let dial = |output| match output {
        PeersOutput::Dial { conn, to, .. } => Some((conn, to)),
        _ => None,
    };
    outputs.filter_map(dial).collect()
}

#[test]
fn a_hello_alone_proves_nothing() {
    let mut pair = introduced();
    let a = &mut pair.nodes[0];
    let before = (a.boot(id(2)), a.datagram_route(id(2)));
    news(a);
    for (n, boot) in [102, 999].into_iter().enumerate() {
        let strange = ConnId::accepted(77 + n as u64);
        a.handle_frame(at(2), strange, &hello_of(2, boot, vec![Bytes::from_static(&[3; 16])])).unwrap();
        assert_eq!(standing(a, strange), Standing::Claimed);
        assert!(a.send(at(2), id(2), farewell()));
        let sent = std::iter::from_fn(|| a.poll_output()).filter(|output| matches!(output, PeersOutput::Message { conn, bytes } if *bytes == Frame::bytes(farewell()) && *conn == strange));
        assert_eq!(sent.count(), 0, "nothing is sent to a stranger");
        a.handle_closed(at(3), strange, CloseReason::Failed);
        assert_eq!((a.boot(id(2)), a.datagram_route(id(2))), before);
    }
    assert!(a.is_connected(id(2)) && news(a).is_empty());
}

#[test]
fn a_stranger_gets_no_key() {
    let mut a = peers(1, "c");
    a.learn_listed(at(0), id(2), address(2, 2));
    a.handle_frame(at(2), ConnId::accepted(1), &hello_of(2, 102, Vec::new())).unwrap();
    let hellos = std::iter::from_fn(|| a.poll_output()).filter_map(|output| match output {
        PeersOutput::Message { conn, bytes } => Some((conn, Frame::parse(&bytes).unwrap())),
        _ => None,
    });
    let hellos: Vec<_> = hellos.collect();
    let to_stranger = hellos.iter().find(|(conn, _)| *conn == ConnId::accepted(1));
    let Some((_, FrameBody::Hello(answer))) = to_stranger else { panic!("{hellos:?}") };
    assert!(answer.key.is_empty() && answer.token.is_empty(), "{answer:?}");
}

#[test]
fn a_hello_of_another_boot_makes_a_node_look_where_the_peer_is_and_not_where_the_hello_says() {
    let mut pair = introduced();
    let a = &mut pair.nodes[0];
    a.handle_frame(at(2), ConnId::accepted(77), &hello_of(2, 202, Vec::new())).unwrap();
    let looked = dials(a);
    let &[(again, to)] = &looked[..] else { panic!("{looked:?}") };
    assert_eq!(to, address(2, 2));
    a.handle_frame(at(3), again, &hello_of(2, 202, Vec::new())).unwrap();
    assert_eq!(a.boot(id(2)), BootId::new(202), "the peer has restarted");
    assert_eq!(a.datagram_route(id(2)), Some((address(9, 3), Key([7; 16]))));
}

#[test]
fn a_look_that_finds_the_same_process_changes_nothing() {
    let mut pair = introduced();
    let before = (pair.nodes[0].boot(id(2)), pair.nodes[0].datagram_route(id(2)));
    pair.nodes[0].handle_frame(at(2), ConnId::accepted(77), &hello_of(2, 202, Vec::new())).unwrap();
    news(&mut pair.nodes[0]);
    pair.talk(at(3));
    let a = &mut pair.nodes[0];
    assert_eq!((a.boot(id(2)), a.datagram_route(id(2))), before);
    assert!(a.is_connected(id(2)) && news(a).is_empty());
    assert_eq!(standing(a, ConnId::accepted(77)), Standing::Claimed);
}

#[test]
fn strangers_make_a_node_dial_no_oftener_than_the_pause() {
    let mut pair = introduced();
    let a = &mut pair.nodes[0];
    for n in 0..50 {
        a.handle_frame(at(2), ConnId::accepted(77 + n), &hello_of(2, 300 + n, Vec::new())).unwrap();
    }
    assert_eq!(dials(a).len(), 1);
    assert!(a.streams.len() <= CLAIMS_MAX + 3, "{}", a.streams.len());
}

#[test]
fn an_unproven_stream_makes_way_when_there_are_too_many() {
    let mut pair = introduced();
    let a = &mut pair.nodes[0];
    for n in 0..2 * CLUSTER_STREAMS_MAX as u64 {
        a.handle_frame(at(2), ConnId::accepted(1000 + n), &hello_of(1000 + n, 1, Vec::new())).unwrap();
    }
    assert!(a.streams.len() <= CLUSTER_STREAMS_MAX && a.is_connected(id(2)));
    assert!(a.peers.len() <= CLUSTER_STREAMS_MAX, "who is gone is forgotten");
}

#[test]
fn a_peer_that_has_moved_is_found_where_gossip_shows_it() {
    let mut pair = Pair::new(peers(1, "c"), peers(2, "c"));
    pair.nodes[0].learn_listed(at(0), id(2), address(8, 2));
    pair.nodes[0].set_wanted(at(0), [id(2)].into());
    pair.nodes[0].learn(at(0), id(2), address(2, 2));
    pair.nodes[1].learn_listed(at(0), id(1), address(1, 2));
    pair.talk(at(1));
    let (conn, ends) = (pair.dialled(), pair.ends.clone());
    let a = &mut pair.nodes[0];
    assert!(a.is_connected(id(2)));
    assert!(ends.iter().all(|ends| standing(a, ends[0]) == Standing::Elsewhere));
    a.learn_listed(at(2), id(2), address(2, 2));
    assert_eq!(standing(a, conn), Standing::Confirmed, "the table follows");
}

#[test]
fn who_is_found_where_it_is_listed_counts_for_more_than_who_is_found_elsewhere() {
    let mut pair = introduced();
    let a = &mut pair.nodes[0];
    let before = (a.boot(id(2)), a.datagram_route(id(2)));
    a.call(at(2), Incarnation { id: id(2), boot: BootId::new(999).unwrap() }, address(9, 2));
    let called = dials(a);
    let &[(conn, to)] = &called[..] else { panic!("{called:?}") };
    assert_eq!(to, address(9, 2));
    a.handle_frame(at(3), conn, &hello_of(2, 999, Vec::new())).unwrap();
    assert_eq!(standing(a, conn), Standing::Elsewhere);
    assert_eq!((a.boot(id(2)), a.datagram_route(id(2))), before);
}

#[test]
fn who_is_found_elsewhere_gets_no_key_of_the_process_that_it_claims_to_be() {
    let mut pair = introduced();
    let a = &mut pair.nodes[0];
    let boot = BootId::new(102).unwrap();
    a.call(at(2), Incarnation { id: id(2), boot: BootId::new(999).unwrap() }, address(9, 2));
    let called = dials(a)[0].0;
    a.handle_frame(at(3), called, &hello_of(2, 102, Vec::new())).unwrap();
    assert_eq!(standing(a, called), Standing::Elsewhere);
    let given = Frame::parse(a.streams[&called].hello.as_ref().unwrap());
    let Ok(FrameBody::Hello(given)) = given else { panic!("{given:?}") };
    assert_ne!(given.key[..], a.incoming_keys(id(2), boot).next().unwrap().0);
}

#[test]
fn a_process_that_was_told_a_token_is_not_its_successor() {
    let mut pair = introduced();
    let a = &mut pair.nodes[0];
    let told = Frame::parse(
        a.streams.values().find_map(|stream| stream.hello.as_ref().filter(|_| stream.to.is_some())).unwrap(),
    );
    let Ok(FrameBody::Hello(told)) = told else { panic!("{told:?}") };
    a.handle_frame(at(2), ConnId::accepted(77), &hello_of(2, 999, vec![told.token])).unwrap();
    assert_eq!(standing(a, ConnId::accepted(77)), Standing::Claimed);
    assert_eq!(a.boot(id(2)), BootId::new(102));
}

#[test]
fn a_peer_that_dials_again_shows_what_it_was_told_and_is_known_at_once() {
    let mut pair = introduced();
    let lost = pair.dialled();
    pair.nodes[0].handle_closed(at(2), lost, CloseReason::Failed);
    let due = pair.nodes[0].poll_timeout().unwrap();
    pair.nodes[0].handle_timeout(due);
    pair.talk(due);
    let again = pair.ends.last().unwrap()[1];
    assert!(again.is_accepted());
    assert_eq!(standing(&mut pair.nodes[1], again), Standing::Confirmed);
    assert_eq!(pair.ends.len(), 3, "nobody dials back");
}

#[test]
fn a_look_at_a_peer_that_is_still_there_ends_no_stream_on_either_side() {
    let mut pair = introduced();
    for n in 0..20 {
        let now = at(200 * (n + 1));
        pair.nodes[0].handle_frame(now, ConnId::accepted(77 + n), &hello_of(2, 300 + n, Vec::new())).unwrap();
        pair.nodes.iter_mut().for_each(|node| drop(news(node)));
        pair.talk(now);
        for (side, other) in [(0, 2), (1, 1)] {
            let news = news(&mut pair.nodes[side]);
            let is_lost = |news: &PeerNews| matches!(news, PeerNews::Lost(_) | PeerNews::Interrupted(_));
            assert!(!news.iter().any(is_lost) && pair.nodes[side].is_connected(id(other)), "{news:?}");
        }
    }
}

#[test]
fn a_frame_of_a_later_version_does_not_end_the_stream_of_a_peer_that_said_hello() {
    // Field 1,000, a number.
    let later = Bytes::from_static(&[0xc0, 0x3e, 1]);
    let mut pair = introduced();
    let conn = pair.dialled();
    let a = &mut pair.nodes[0];
    assert_eq!(a.handle_frame(at(2), conn, &later), Ok(None));
    assert!(a.is_connected(id(2)) && a.poll_output().is_none());
    let strange = ConnId::accepted(77);
    assert_eq!(a.handle_frame(at(2), strange, &later), Err(Misbehaviour::UnknownKind));
    assert_eq!(a.poll_output(), Some(PeersOutput::Close { conn: strange }));
}

#[test]
fn a_stream_that_this_side_ends_is_told_of() {
    let mut pair = introduced();
    let conn = pair.dialled();
    let a = &mut pair.nodes[0];
    news(a);
    assert!(a.handle_frame(at(2), conn, &Bytes::from_static(&[0xff; 8])).is_err());
    assert!(matches!(news(a)[0], PeerNews::Interrupted(peer) if peer == id(2)));
}

#[test]
fn a_boot_that_is_called_is_looked_for_where_its_predecessor_was() {
    let mut pair = introduced();
    let a = &mut pair.nodes[0];
    let boot = |boot| Incarnation { id: id(2), boot: BootId::new(boot).unwrap() };
    assert!(a.is_connected_to(boot(102)) && !a.is_connected_to(boot(202)));
    a.call(at(2), boot(102), address(2, 2));
    assert!(a.poll_output().is_none(), "it is connected already");
    a.call(at(2), boot(202), address(2, 2));
    assert!(matches!(dials(a)[..], [(_, to)] if to == address(2, 2)));
}
