use super::*;

/// Node 1, listed with its name, and a stream to it on which somebody has shown the certificate of node `shown`.
fn accepted(shown: u64) -> (Peers, ConnId) {
    let mut peers = peers(2, "c");
    peers.learn_listed(at(0), id(1), address(1, 2));
    peers.learn_name(at(0), id(1), &"n1".parse().unwrap());
    let conn = ConnId::accepted(1);
    peers.handle_opened(at(0), conn, certificate(shown, 1)).unwrap();
    (peers, conn)
}

fn hello(id: u64, name: &str) -> Bytes {
    Frame::bytes(FrameBody::Hello(Hello {
        cluster_name: "c".into(),
        cluster: 5,
        id,
        boot: 100 + id,
        name: name.into(),
        raft: address(9, 2).to_string(),
        liveness: address(9, 3).to_string(),
        oldest: Versions::OURS.oldest,
        newest: Versions::OURS.newest,
        ..Hello::default()
    }))
}

fn is_impersonation(result: Result<Option<(Incarnation, Standing, FrameBody)>, Misbehaviour>, who: &str) -> bool {
    matches!(result, Err(Misbehaviour::Impersonation { certified, .. }) if certified == who)
}

#[test]
fn a_certificate_confirms_a_stream_without_a_dial_back_wherever_it_comes_from() {
    let (mut peers, conn) = accepted(1);
    assert!(matches!(peers.handle_frame(at(1), conn, &hello(1, "n1")), Ok(None)));
    assert_eq!(standing(&mut peers, conn), Standing::Confirmed);
    assert!(peers.is_connected(id(1)) && peers.is_at_home(id(1)));
    assert_eq!(peers.reached_at(id(1)), Some(address(9, 2)), "it is believed where it says that it is");
}

#[test]
fn a_hello_in_another_name_than_the_certificates_ends_the_stream() {
    // In the name of another, or in its own under the Raft id of another.
    for name in ["n1", "n3"] {
        let (mut peers, conn) = accepted(3);
        assert!(is_impersonation(peers.handle_frame(at(1), conn, &hello(1, name)), "n3"));
        assert!(peers.streams.is_empty() && peers.peer_of(conn).is_none());
        assert!(std::iter::from_fn(|| peers.poll_output()).any(|output| output == PeersOutput::Close { conn }));
    }
    let (mut peers, conn) = accepted(3);
    assert!(matches!(peers.handle_frame(at(1), conn, &hello(3, "n3")), Ok(None)), "in its own");
    let mut strange = certificate(3, 1);
    strange.cluster = "d".parse().unwrap();
    let result = peers.handle_opened(at(1), ConnId::accepted(2), strange);
    assert!(matches!(result, Err(Misbehaviour::Impersonation { .. })), "of another cluster");
}

#[test]
fn a_dial_that_leads_to_another_node_says_no_hello_there() {
    let mut pair = Pair::listed(peers(1, "c"), peers(2, "c"));
    let a = &mut pair.nodes[0];
    a.learn_name(at(0), id(2), &"n2".parse().unwrap());
    let Some(PeersOutput::Dial { conn, .. }) = a.poll_output() else { panic!("it dials") };
    a.handle_opened(at(1), conn, certificate(3, 1)).unwrap();
    assert!(std::iter::from_fn(|| a.poll_output()).any(|output| output == PeersOutput::Close { conn }));
    assert!(a.streams.is_empty());
}

#[test]
fn a_stream_is_ended_when_the_table_has_another_name_for_its_peer() {
    let mut peers = peers(2, "c");
    let conn = ConnId::accepted(1);
    peers.handle_opened(at(0), conn, certificate(3, 1)).unwrap();
    assert!(matches!(peers.handle_frame(at(1), conn, &hello(1, "n3")), Ok(None)), "nobody is listed");
    assert_eq!(standing(&mut peers, conn), Standing::Confirmed);
    peers.learn_name(at(2), id(1), &"n1".parse().unwrap());
    assert!(peers.streams.is_empty() && !peers.is_connected(id(1)));
}

#[test]
fn datagrams_have_another_key_on_each_stream_and_both_ends_know_it() {
    let mut pair = Pair::listed(peers(1, "c"), peers(2, "c"));
    pair.certified = true;
    pair.talk(at(1));
    pair.nodes[1].set_wanted(at(2), [id(1)].into());
    pair.talk(at(2));
    assert_eq!(pair.ends.len(), 2);
    let [a, b] = &mut pair.nodes;
    let keys = |peers: &Peers, n: u64| -> Vec<[u8; 16]> {
        peers.incoming_keys(id(n), BootId::new(100 + n).unwrap()).map(|key| key.0).collect()
    };
    for (from, to, n) in [(&*a, &*b, 1), (&*b, &*a, 2)] {
        let accepted = keys(to, n);
        let (_, used) = from.datagram_route(id(3 - n)).unwrap();
        assert!(accepted.len() == 2 && accepted[0] != accepted[1] && accepted.contains(&used.0), "{n}");
        let plain = Key::derive(&to.identity.secret, id(n), BootId::new(100 + n).unwrap(), address(n, 2));
        assert!(!accepted.contains(&plain.0), "what was said on the stream is not the key");
    }
    // One stream ends at both: its peer goes on under the key of the other.
    let [at_a, at_b] = pair.ends[0];
    a.handle_closed(at(3), at_a, CloseReason::Reset);
    b.handle_closed(at(3), at_b, CloseReason::Reset);
    let (_, used) = a.datagram_route(id(2)).unwrap();
    assert!(keys(b, 1).contains(&used.0));
    // The last words of whoever is gone count; who is believed no more says none.
    let [at_a, at_b] = pair.ends[1];
    a.handle_closed(at(4), at_a, CloseReason::Reset);
    b.handle_closed(at(4), at_b, CloseReason::Untrusted);
    let ended = keys(b, 1);
    assert!(ended.len() == 1 && ended[0] != used.0);
}
