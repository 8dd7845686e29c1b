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

fn query(filters: Vec<gossip::Filter>, id: u32, relay_factor: u8) -> Bytes {
    let query = gossip::Query {
        time: 3,
        id,
        source: at(500),
        source_node: "asker".into(),
        filters,
        flags: gossip::Query::WANT_ACK,
        relay_factor,
        timeout: SECOND,
        name: "uptime".into(),
        payload: Bytes::new(),
    };
    Packet::User(gossip::SerfMessage::Query(query).encode()).encode()
}

/// Acks that were sent to the asker.
fn acks(net: &Net) -> usize {
    net.trace.lines().filter(|line| line.contains("Datagram { to: 127.0.0.1:500,")).count()
}

#[test]
fn queries_are_acked_by_those_whose_tags_match() {
    let mut net = ready(4, 31);
    let now = net.now;
    for (port, role) in [(1, "web-1"), (2, "web-2"), (3, "db")] {
        net.node(port).set_tag(now, "role", Some(role.into()));
    }
    let tag = |expression: &'static str| gossip::Filter::Tag { tag: "role".into(), expression: expression.into() };
    let nodes = |names: &[&'static str]| gossip::Filter::Nodes(names.iter().map(|name| (*name).into()).collect());
    let mut before = 0;
    for (id, (filters, expected)) in [
        (vec![tag("^web-[0-9]$")], 2),
        (vec![tag("^web-\\d$"), nodes(&["n1", "n3"])], 1),
        (vec![tag("")], 4),
        (vec![tag("^$")], 1),
        (vec![tag("(")], 0),
        (vec![tag("b"), tag("d")], 1),
        (vec![gossip::Filter::Other(Bytes::from_static(&[9]))], 0),
    ]
    .into_iter()
    .enumerate()
    {
        let now = net.now;
        net.node(1).handle_datagram(now, at(9), &query(filters, u32::try_from(id).unwrap(), 0));
        net.run_secs(3);
        assert_eq!(acks(&net) - before, expected, "query {id}");
        before = acks(&net);
    }
}

#[test]
fn answers_go_through_as_many_others_as_the_asker_wants() {
    for (relay_factor, expected) in [(0, 5), (2, 15), (4, 25), (5, 5), (255, 5)] {
        let mut net = ready(5, 32);
        let now = net.now;
        net.node(1).handle_datagram(now, at(9), &query(Vec::new(), 7, relay_factor));
        net.run_secs(3);
        assert_eq!(acks(&net), expected, "relay factor {relay_factor}");
    }
}

#[test]
fn whoever_comes_later_hears_of_the_events_before_once() {
    let mut net = ready(3, 33);
    for (time, name) in [(3, "deploy"), (4, "deploy"), (4, "restart"), (900, "late")] {
        let event = gossip::UserEvent { time, name: name.into(), payload: "1".into(), coalesce: false };
        let event = Packet::User(gossip::SerfMessage::UserEvent(event).encode()).encode();
        let now = net.now;
        net.node(1).handle_datagram(now, at(9), &event);
        net.run_secs(3);
    }
    net.start(&config("n9", 9, &[2]));
    net.run_secs(120);
    // The two of long ago are too old by now for the newcomer, as they would be for an agent.
    assert_eq!(net.node(9).counters().user_events, 1);
    assert_eq!(net.node(3).counters().user_events, 4);
    net.start(&config("n8", 8, &[9]));
    net.run_secs(1);
    assert_eq!((net.node(8).counters().user_events, net.node(3).counters().user_events), (1, 4));
}

#[test]
fn events_of_an_agents_push_pull_are_kept_and_told_again_but_not_passed_on() {
    let mut net = ready(2, 34);
    let ring = gossip::encode_events(&[(5, &[gossip::encode_event(b"deploy", b"7")])]);
    let told = SerfState { event_time: 6, events: ring.clone(), ..state(&[], &[]) };
    for _ in 0..2 {
        offer(&mut net, 1, vec![record("n2", 2, 1, NodeState::Alive)], told.encode()).unwrap();
    }
    assert_eq!((net.node(1).counters().user_events, net.node(2).counters().user_events), (1, 0));
    assert_eq!(gossip::encode_events(&net.node(1).recent_events.latest(1_000)), ring);
    assert!(net.node(1).recent_events.latest(5).is_empty());
    let broken = SerfState { events: Bytes::from_static(&[0x91, 0x05]), ..told };
    offer(&mut net, 1, vec![record("n3", 3, 1, NodeState::Alive)], broken.encode()).unwrap();
    assert_eq!((net.status(1, "n3"), net.node(1).counters().malformed), (GossipStatus::Alive, 1));
}
