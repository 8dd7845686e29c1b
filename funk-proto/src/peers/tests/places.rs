//! What others say of where a peer is.

use super::*;
use crate::limits::DIAL_TIMEOUT;

#[test]
fn an_address_that_gossip_does_not_list_does_not_take_the_place_of_the_one_that_it_lists() {
    let mut a = peers(1, "c");
    a.learn_listed(at(0), id(2), address(7, 2));
    a.learn(at(0), id(2), address(2, 2));
    a.learn_another(at(1), id(2), address(7, 2));
    a.learn_another(at(1), id(2), address(8, 2));
    a.set_wanted(at(2), [id(2)].into());
    let dialled: BTreeSet<SocketAddr> = dials(&mut a).into_iter().map(|(_, to)| to).collect();
    assert_eq!(dialled, BTreeSet::from([address(2, 2), address(7, 2), address(8, 2)]));
}

#[test]
fn a_peer_that_is_sought_is_dialled_at_once_where_somebody_says_that_it_is() {
    let mut a = peers(1, "c");
    a.learn_listed(at(0), id(2), address(7, 2));
    a.set_wanted(at(0), [id(2)].into());
    assert_eq!(dials(&mut a)[..].iter().map(|&(_, to)| to).collect::<Vec<_>>(), [address(7, 2)]);
    a.learn_another(at(1), id(2), address(2, 2));
    assert_eq!(dials(&mut a)[..].iter().map(|&(_, to)| to).collect::<Vec<_>>(), [address(2, 2)]);
}

#[test]
fn a_peer_that_turns_up_is_dialled_again_where_a_dial_has_heard_nothing_for_long() {
    let mut a = peers(1, "c");
    a.learn_listed(at(0), id(2), address(2, 2));
    a.set_wanted(at(0), [id(2)].into());
    let &[(lost, _)] = &dials(&mut a)[..] else { panic!("one dial") };
    let mut turns_up = |ms: u64| {
        a.handle_frame(at(ms), ConnId::accepted(ms), &hello_of(2, 102, Vec::new())).unwrap();
        dials(&mut a)
    };
    assert_eq!(turns_up(100), [], "the dial is fresh");
    let &[(again, to)] = &turns_up(300)[..] else { panic!("one dial") };
    assert_eq!(to, address(2, 2));
    assert_eq!(turns_up(301), [], "one is under way");
    a.handle_frame(at(310), again, &hello_of(2, 102, Vec::new())).unwrap();
    a.handle_frame(at(700), ConnId::accepted(7), &hello_of(2, 102, Vec::new())).unwrap();
    assert_eq!(dials(&mut a), [], "it is found");
    assert!(a.streams.contains_key(&lost), "the lost one ends in its own time");
}

#[test]
fn a_peer_that_turns_up_is_dialled_though_the_pause_after_failed_dials_is_not_over() {
    let mut a = peers(1, "c");
    a.learn_listed(at(0), id(2), address(2, 2));
    a.set_wanted(at(0), [id(2)].into());
    let mut now = at(0);
    for _ in 0..12 {
        let &[(conn, _)] = &dials(&mut a)[..] else { panic!("one dial") };
        a.handle_closed(now, conn, CloseReason::Refused);
        now = a.poll_timeout().unwrap();
        a.handle_timeout(now);
    }
    let &[(conn, _)] = &dials(&mut a)[..] else { panic!("one dial") };
    a.handle_closed(now, conn, CloseReason::Failed);
    let turns_up = |a: &mut Peers, n: u64, now| {
        a.handle_frame(now, ConnId::accepted(n), &hello_of(2, 102, Vec::new())).unwrap();
        dials(a)
    };
    let &[(conn, to)] = &turns_up(&mut a, 1, now)[..] else { panic!("one dial") };
    assert_eq!(to, address(2, 2), "where it is listed, not where it says");
    assert_eq!(turns_up(&mut a, 2, now), [], "that one is under way");
    a.handle_closed(now, conn, CloseReason::Refused);
    assert_eq!(turns_up(&mut a, 3, now), [], "strangers cause no more than one dial in a pause");
    assert_eq!(turns_up(&mut a, 4, now + PROBE_PAUSE).len(), 1);
}

#[test]
fn however_many_nodes_are_shown_so_many_are_known_and_members_among_them() {
    let mut a = peers(1, "c");
    a.learn_listed(at(0), id(2), address(2, 2));
    a.set_wanted(at(0), [id(3)].into());
    a.learn(at(0), id(3), address(3, 2));
    let shown = u64::try_from(3 * PEERS_KNOWN_MAX).unwrap();
    for n in 4..shown {
        match n % 3 {
            0 => a.learn(at(1), id(n), address(4, 2)),
            1 => a.learn_another(at(1), id(n), address(5, 2)),
            _ => {
                // A leader dials each joiner; here the dial is refused.
                a.call(at(1), Incarnation { id: id(n), boot: BootId::new(n).unwrap() }, address(6, 2));
                let called = dials(&mut a)[0].0;
                a.handle_closed(at(1), called, CloseReason::Refused);
            }
        }
    }
    assert_eq!(a.peers.len(), PEERS_KNOWN_MAX);
    assert!([2, 3, shown - 1].into_iter().all(|n| a.peers.contains_key(&id(n))));
}

/// The tokens that a node told at the addresses that it dialled.
fn told(peers: &Peers) -> Vec<Bytes> {
    let dialled = peers.streams.values().filter(|stream| stream.to.is_some());
    let hellos = dialled.map(|stream| Frame::parse(stream.hello.as_ref().unwrap()));
    hellos
        .map(|hello| if let Ok(FrameBody::Hello(hello)) = hello { hello.token } else { panic!("{hello:?}") })
        .collect()
}

#[test]
fn a_peer_that_was_reached_at_two_addresses_is_where_it_is_listed() {
    let mut a = peers(1, "c");
    a.learn_listed(at(0), id(2), address(7, 2));
    a.learn(at(0), id(2), address(2, 2));
    a.set_wanted(at(0), [id(2)].into());
    assert_eq!(dials(&mut a).len(), 2);
    let conn = ConnId::accepted(77);
    a.handle_frame(at(1), conn, &hello_of(2, 102, told(&a))).unwrap();
    assert_eq!(standing(&mut a, conn), Standing::Confirmed);
    // The table follows the peer to its present address, which the stream has proven too.
    a.learn_listed(at(2), id(2), address(2, 2));
    assert_eq!(standing(&mut a, conn), Standing::Confirmed);
    a.learn_listed(at(3), id(2), address(9, 2));
    assert_eq!(standing(&mut a, conn), Standing::Elsewhere);
}

#[test]
fn a_dial_that_waited_for_its_answer_until_it_was_too_late_is_repeated_at_once() {
    let mut a = peers(1, "c");
    a.learn(at(0), id(2), address(2, 2));
    a.set_wanted(at(0), [id(2)].into());
    let mut now = at(0);
    for _ in 0..12 {
        let Some(PeersOutput::Dial { conn, .. }) = a.poll_output() else { panic!("it is dialled") };
        while a.poll_output().is_some() {}
        now = now + DIAL_TIMEOUT;
        a.handle_closed(now, conn, CloseReason::TimedOut);
        let due = a.poll_timeout().unwrap();
        assert!(due > now && due <= now + BACKOFF_MIN, "{:?}", due - now);
        now = due;
        a.handle_timeout(now);
    }
}
