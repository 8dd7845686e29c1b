//! What Serf's layer promises: leaving, statuses, intents, events and queries.

use std::time::Duration;

use super::net::{Net, at, config};
use super::swim::{SECOND, ready};
use super::*;

#[test]
fn a_leave_is_left_everywhere_and_a_quick_one() {
    for loss in [0, 10] {
        let mut net = ready(5, 21);
        net.loss = loss;
        let now = net.now;
        net.node(3).announce_leave(now);
        net.settle();
        net.run(Duration::from_millis(100));
        let now = net.now;
        net.node(3).leave(now);
        net.settle();
        net.kill(3);
        let took = net.run_until(Duration::from_secs(3), |net| net.all_show("n3", GossipStatus::Left));
        assert!(took < SECOND, "{took:?}");
        net.run_secs(60);
        assert!(net.all_show("n3", GossipStatus::Left));
        assert!(!net.failures_since(Timestamp::ZERO).contains(&"n3"), "it never failed");
    }
}

#[test]
fn statuses_follow_in_their_order() {
    let mut net = ready(6, 22);
    net.loss = 5;
    for round in 0..6 {
        let port = 2 + round % 5;
        if round % 2 == 0 {
            net.kill(port);
            net.run_secs(40);
        } else {
            let now = net.now;
            net.node(port).leave(now);
            net.settle();
            net.kill(port);
            net.run_secs(5);
        }
        net.start(&config(&format!("n{port}"), port, &[1]));
        net.run_secs(20);
    }
    net.run_secs(60);
    assert!(net.agreed());
    let mut last = BTreeMap::new();
    for (_, observer, subject, status) in &net.history {
        let before = last.insert((observer, subject), *status);
        let legal = match (before, status) {
            (None, _) | (Some(_), GossipStatus::Alive) => true,
            (Some(before), GossipStatus::Leaving) => before == GossipStatus::Alive,
            (Some(before), GossipStatus::Left) => before != GossipStatus::Left,
            (Some(before), GossipStatus::Failed) => before == GossipStatus::Alive,
            (Some(_), GossipStatus::None) => false,
        };
        assert!(legal, "{observer} saw {subject} go from {before:?} to {status:?}");
    }
}

#[test]
fn a_forced_leave_of_a_live_node_does_not_stick() {
    let mut net = ready(3, 26);
    let now = net.now;
    let leave = gossip::SerfMessage::Leave { time: 90, node: "n2".into(), prune: false };
    net.node(1).handle_datagram(now, at(9), &Packet::User(leave.encode()).encode());
    assert_eq!(net.status(1, "n2"), GossipStatus::Leaving);
    net.run_until(SECOND * 3, Net::agreed);
    // Of a failed one it makes one that left.
    net.kill(2);
    net.run_until(Duration::from_secs(30), |net| net.all_show("n2", GossipStatus::Failed));
    let now = net.now;
    let leave = gossip::SerfMessage::Leave { time: 190, node: "n2".into(), prune: false };
    net.node(1).handle_datagram(now, at(9), &Packet::User(leave.encode()).encode());
    net.run_until(SECOND * 3, |net| net.all_show("n2", GossipStatus::Left));
}

#[test]
fn an_intent_may_come_before_its_node() {
    let mut net = ready(2, 27);
    let now = net.now;
    let say = |net: &mut Net, message: &gossip::SerfMessage| {
        net.node(1).handle_datagram(now, at(9), &Packet::User(message.encode()).encode());
    };
    say(&mut net, &gossip::SerfMessage::Leave { time: 5, node: "x".into(), prune: false });
    say(&mut net, &gossip::SerfMessage::Leave { time: 5, node: "y".into(), prune: false });
    say(&mut net, &gossip::SerfMessage::Join { time: 6, node: "y".into() });
    let nodes = vec![record("x", 70, 1, NodeState::Alive), record("y", 71, 1, NodeState::Alive)];
    offer(&mut net, 1, nodes, Bytes::new()).unwrap();
    assert_eq!((net.status(1, "x"), net.status(1, "y")), (GossipStatus::Leaving, GossipStatus::Alive));
}

#[test]
fn user_events_and_queries_spread_once() {
    let mut net = ready(5, 28);
    let now = net.now;
    let event = gossip::UserEvent { time: 3, name: "deploy".into(), payload: "1".into(), coalesce: false };
    let event = Packet::User(gossip::SerfMessage::UserEvent(event).encode()).encode();
    let query = gossip::Query {
        time: 3,
        id: 77,
        source: at(500),
        source_node: "asker".into(),
        filters: Vec::new(),
        flags: gossip::Query::WANT_ACK,
        relay_factor: 0,
        timeout: SECOND,
        name: "_serf_ping".into(),
        payload: Bytes::new(),
    };
    let query = Packet::User(gossip::SerfMessage::Query(query).encode()).encode();
    for _ in 0..3 {
        net.node(1).handle_datagram(now, at(9), &event);
        net.node(1).handle_datagram(now, at(9), &query);
    }
    net.run_secs(5);
    for node in net.nodes.values() {
        assert_eq!((node.counters().user_events, node.counters().queries), (1, 1));
    }
    let acks = net.trace.lines().filter(|line| line.contains("127.0.0.1:500")).count();
    assert_eq!(acks, 5);
}
