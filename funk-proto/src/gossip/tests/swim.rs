//! What probing and gossip promise, under crashes, pauses, loss and partitions.

use std::time::Duration;

use super::net::{Net, at, config};
use super::*;
use crate::wire::gossip::unpack;

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn ready(count: u16, seed: u64) -> Net {
    let mut net = Net::with_seed(seed);
    net.start_many(count);
    net.run_secs(5);
    assert!(net.agreed());
    net
}

#[test]
fn joins_are_known_everywhere_at_once() {
    for seed in 1..=30 {
        let mut net = Net::with_seed(seed);
        net.start_many(10);
        let took = net.run_until(SECOND, Net::agreed);
        println!("{took:?}");
        assert!(took <= Duration::from_millis(500), "seed {seed}: {took:?}");
    }
}

#[test]
fn a_crashed_node_is_found_and_told_to_all() {
    for (count, seed) in [(2, 1), (3, 2), (5, 3), (30, 4)] {
        let mut net = ready(count, seed);
        net.kill(2);
        let took = net.run_until(Duration::from_secs(40), |net| net.all_show("n2", GossipStatus::Failed));
        assert!(took >= Duration::from_secs(4), "a suspected node has at least 4 s to answer: {took:?}");
        assert!(took < Duration::from_secs(25), "{count} nodes: {took:?}");
        assert_eq!(net.failures_since(Timestamp::ZERO).iter().filter(|name| **name != "n2").count(), 0);
    }
}

/// Of five nodes three crash at once: too few are left to confirm each other's suspicions, for which they would
/// wait for 20 s on average.
#[test]
fn where_nobody_listens_any_more_no_further_accuser_is_waited_for() {
    let failed = |seed| {
        let mut net = ready(5, seed);
        for port in [2, 3, 4] {
            net.kill(port);
        }
        let gone = |net: &Net| ["n2", "n3", "n4"].iter().all(|name| net.all_show(name, GossipStatus::Failed));
        let took = net.run_until(Duration::from_secs(40), gone);
        assert!(took >= Duration::from_secs(4), "a suspected node has at least 4 s to answer: {took:?}");
        took
    };
    let total: Duration = (1..=10).map(failed).sum();
    assert!(total < Duration::from_secs(160), "{total:?} for ten clusters");
}

#[test]
fn healthy_nodes_stay_alive_under_loss() {
    let mut net = ready(10, 7);
    net.loss = 5;
    net.run_secs(1_000);
    assert_eq!(net.failures_since(Timestamp::ZERO), Vec::<&str>::new());
    net.loss = 10;
    net.run_secs(300);
    assert_eq!(net.failures_since(Timestamp::ZERO), Vec::<&str>::new());
}

#[test]
fn short_pauses_kill_nobody() {
    let mut net = ready(5, 8);
    for _ in 0..20 {
        net.pause(2);
        net.run_secs(2);
        net.resume(2);
        net.run_secs(5);
    }
    assert_eq!(net.failures_since(Timestamp::ZERO), Vec::<&str>::new());
    assert!(net.agreed());
}

#[test]
fn a_long_paused_node_fails_and_comes_back_by_itself() {
    let mut net = ready(5, 9);
    net.pause(2);
    net.run_secs(40);
    assert_eq!(net.status(1, "n2"), GossipStatus::Failed);
    let before = net.now;
    net.resume(2);
    net.run_until(Duration::from_secs(40), Net::agreed);
    assert_eq!(net.failures_since(before), Vec::<&str>::new(), "it accuses nobody of its own pause");
}

#[test]
fn a_node_without_datagrams_stays_alive_by_streams() {
    let mut net = ready(3, 10);
    net.deaf.insert(at(2));
    net.run_secs(60);
    assert_eq!(net.failures_since(Timestamp::ZERO), Vec::<&str>::new());
    assert!(net.node(1).counters().probes_by_stream > 5);
}

#[test]
fn a_cut_between_two_is_bridged_by_the_others() {
    let mut net = ready(5, 11);
    net.cut.insert((at(2), at(3)));
    net.run_secs(120);
    assert_eq!(net.failures_since(Timestamp::ZERO), Vec::<&str>::new());
}

#[test]
fn partitions_heal_by_themselves() {
    for (seed, seconds) in [(12, 5), (13, 60)] {
        let mut net = ready(5, seed);
        net.part(3);
        net.run_secs(seconds);
        net.cut.clear();
        let took = net.run_until(Duration::from_secs(100), Net::agreed);
        assert!(took < Duration::from_secs(80), "{took:?} after {seconds} s");
    }
}

#[test]
fn a_restarted_node_is_alive_with_its_new_tags_at_once() {
    let mut net = ready(5, 14);
    net.kill(2);
    net.run_secs(2);
    let mut reborn = config("n2", 2, &[1]);
    reborn.tags.insert("funk.id".into(), "second".into());
    net.start(&reborn);
    let second =
        |net: &Net| net.nodes.values().all(|node| node.tag(&"n2".parse().unwrap(), "funk.id") == Some("second"));
    net.run_until(SECOND, second);
    net.run_secs(60);
    assert!(net.agreed() && second(&net));
    assert_eq!(net.failures_since(Timestamp::ZERO), Vec::<&str>::new());
}

#[test]
fn a_name_that_failed_comes_back_from_another_address() {
    // Held for dead by gossip, by the cluster's verdict only, and forgotten.
    for (seed, dead_for, verdict) in [(15, 40, false), (16, 0, true), (17, 300, false)] {
        let mut net = ready(5, seed);
        net.kill(2);
        if verdict {
            net.nodes.values_mut().for_each(|node| node.set_status(&"n2".parse().unwrap(), GossipStatus::Failed));
        }
        net.run_secs(dead_for);
        net.start(&config("n2", 99, &[1]));
        let took = net.run_until(Duration::from_secs(5), Net::agreed);
        assert!(took < SECOND * 2, "{took:?}");
        net.run_secs(60);
        assert!(net.agreed());
        for node in net.nodes.values() {
            assert_eq!(node.members().find(|member| member.name == "n2").unwrap().addr, at(99));
        }
    }
}

#[test]
fn of_two_nodes_of_one_name_everybody_knows_the_first() {
    let mut net = ready(4, 18);
    let mut second = config("n2", 99, &[1]);
    second.tags.insert("funk.id".into(), "second".into());
    net.start(&second);
    net.run_secs(60);
    let namesake = |output: &GossipOutput| match output {
        GossipOutput::Namesake(tags) => tags.get("funk.id").is_some_and(|id| id == "second"),
        _ => false,
    };
    assert!(net.seen.iter().any(|(who, output)| *who == at(1) && namesake(output)), "what it shows is told");
    for port in [1, 2, 3, 4] {
        let seen = net.node(port).members().find(|member| member.name == "n2").unwrap();
        assert_eq!((seen.addr, seen.status), (at(2), GossipStatus::Alive));
    }
    let told = net.seen.iter().any(|(who, output)| {
        *who == at(99) && matches!(output, GossipOutput::JoinFailed { reason, .. } if reason.contains("name"))
    });
    assert!(told || net.node(99).counters().conflicts > 0);
}

#[test]
fn whoever_believes_in_a_dead_incarnation_is_told() {
    let mut net = ready(3, 19);
    let now = net.now;
    // Everybody holds the third for dead at 100; it knows nothing of it.
    for port in [1, 2] {
        let dead = gossip::Accusation { incarnation: 100, node: "n3".into(), from: "n1".into() };
        let datagram = Packet::Dead(dead).encode();
        net.node(port).handle_datagram(now, at(9), &datagram);
        while net.node(port).poll_output().is_some() {}
        net.node(port).broadcasts = Broadcasts::default();
    }
    assert_eq!(net.status(1, "n3"), GossipStatus::Failed);
    // Its old presence reaches one of them.
    let alive = net.node(3).table.own_alive().encode();
    net.node(1).handle_datagram(now, at(3), &alive);
    net.settle();
    net.run_until(SECOND, Net::agreed);
    assert_eq!(net.node(1).members().last().unwrap().incarnation, 101);
}

#[test]
fn the_dead_are_never_revived_by_rumours() {
    let mut net = ready(5, 20);
    let now = net.now;
    let rumour = net.node(2).table.own_alive().encode();
    net.kill(2);
    net.run_until(Duration::from_secs(40), |net| net.all_show("n2", GossipStatus::Failed));
    for port in [1, 3, 4, 5] {
        net.node(port).handle_datagram(now, at(9), &rumour);
    }
    net.settle();
    net.run_secs(20);
    assert!(net.all_show("n2", GossipStatus::Failed));
}

#[test]
fn a_phantom_is_found_dead_and_reaped() {
    let mut net = Net::with_seed(23);
    let tombstone = Duration::from_secs(300);
    for port in 1..=3 {
        let mut config = config(&format!("n{port}"), port, &[1]);
        config.timing.tombstone = tombstone;
        net.start(&config);
    }
    offer(&mut net, 1, vec![record("phantom", 77, 1, NodeState::Alive)], Bytes::new()).unwrap();
    assert_eq!(net.status(1, "phantom"), GossipStatus::Alive);
    net.run_until(Duration::from_secs(30), |net| net.all_show("phantom", GossipStatus::Failed));
    net.run(tombstone + Duration::from_secs(60));
    assert!(net.all_show("phantom", GossipStatus::None));
}

#[test]
fn nodes_at_rest_are_quiet() {
    let mut net = ready(5, 24);
    net.run_secs(60);
    net.sent.clear();
    net.run_secs(100);
    for (node, (datagrams, bytes)) in &net.sent {
        // A probe and an ack a second.
        assert!((190..230).contains(datagrams), "{node} sent {datagrams}");
        assert!(*bytes < 30_000, "{node} sent {bytes} bytes");
    }
    let pulls = net.nodes.values().map(|node| node.counters().push_pulls).sum::<u64>();
    // Each is counted at both ends.
    assert!(pulls < 5 * 12 + 20, "{pulls} push/pulls");
}

#[test]
fn the_verdict_of_the_cluster_is_shown_at_once_and_a_live_node_refutes_it() {
    let mut net = ready(3, 25);
    net.node(1).set_status(&"n2".parse().unwrap(), GossipStatus::Failed);
    assert_eq!(net.status(1, "n2"), GossipStatus::Failed);
    net.settle();
    net.run_until(SECOND * 2, Net::agreed);
    assert_eq!(net.node(2).counters().refuted, 1);
}

#[test]
fn poisonous_datagrams_are_counted_and_change_nothing() {
    let mut net = ready(2, 29);
    let now = net.now;
    let before: Vec<_> = net.node(1).members().collect();
    let dead =
        |incarnation| Packet::Dead(gossip::Accusation { incarnation, node: "n1".into(), from: "n2".into() }).encode();
    let poison: [Bytes; 7] = [
        Bytes::new(),
        Bytes::from_static(b"\xff"),
        Bytes::from_static(b"\x0c\x00\x00\x00\x00\x07\x00"),
        Bytes::from_static(b"\x07\x02\x00\x05\x00\x05\x00"),
        Bytes::from_static(b"\x04\x82\xa4Node\xa1x\xa3Vsn\xa3\x01\x05\x02"),
        dead(0),
        Packet::User(gossip::SerfMessage::Join { time: u64::MAX, node: "n2".into() }.encode()).encode(),
    ];
    for datagram in &poison {
        net.node(1).handle_datagram(now, at(9), datagram);
    }
    let counters = net.node(1).counters();
    // An accusation that is out of date is no fault.
    assert!(counters.dropped() + 1 >= poison.len() as u64, "{counters:?}");
    assert_eq!(net.node(1).members().collect::<Vec<_>>(), before);
}

/// What a node sends, as messages, and to whom.
fn said(node: &mut Gossip) -> Vec<(SocketAddr, Packet)> {
    let mut said = Vec::new();
    while let Some(output) = node.poll_output() {
        if let GossipOutput::Datagram { to, bytes } = output {
            said.extend(unpack(&bytes).packets.into_iter().map(|packet| (to, packet)));
        }
    }
    said
}

fn alone() -> Gossip {
    let mut node = Gossip::new(config("n1", 1, &[]), DialNumbers::new(0, 1), Seed::from_u64(1), Timestamp::ZERO);
    node.broadcasts = Broadcasts::default();
    node
}

#[test]
fn pings_are_answered_by_whom_they_mean_to_whom_they_say() {
    let mut node = alone();
    let ping = |name: &'static str, source| {
        let (node, source_node) = (Bytes::from_static(name.as_bytes()), Bytes::from_static(b"x"));
        Packet::Ping { sequence: 5, node, source, source_node }.encode()
    };
    let payload = gossip::Coordinate::default().encode();
    let ack = Packet::Ack { sequence: 5, payload };
    for (name, source, answers) in
        [("n1", Some(at(7)), Some(at(7))), ("n1", None, Some(at(8))), ("", None, Some(at(8))), ("other", None, None)]
    {
        node.handle_datagram(Timestamp::ZERO, at(8), &ping(name, source));
        assert_eq!(said(&mut node), answers.map(|to| (to, ack.clone())).into_iter().collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn a_probe_for_another_ends_in_an_ack_or_a_nack() {
    for answered in [true, false] {
        let mut node = alone();
        let (target, source_node) = (at(3), Bytes::from_static(b"n2"));
        let ask =
            Packet::IndirectPing { sequence: 9, target, node: "n3".into(), nack: true, source: None, source_node };
        node.handle_datagram(Timestamp::ZERO, at(2), &ask.encode());
        let [(to, Packet::Ping { sequence, .. })] = said(&mut node)[..] else { panic!("no ping") };
        assert_eq!(to, at(3));
        if answered {
            let ack = Packet::Ack { sequence, payload: Bytes::new() };
            node.handle_datagram(Timestamp::ZERO, at(3), &ack.encode());
            assert_eq!(said(&mut node), [(at(2), Packet::Ack { sequence: 9, payload: Bytes::new() })]);
        }
        node.handle_timeout(Timestamp::from_millis(500));
        let nacks = said(&mut node).into_iter().filter(|said| *said == (at(2), Packet::Nack { sequence: 9 })).count();
        assert_eq!(nacks, usize::from(!answered));
    }
}

#[test]
fn a_node_whose_helpers_are_silent_too_trusts_itself_less() {
    let mut net = ready(5, 30);
    net.deaf.insert(at(1));
    // Without streams either, every probe of the cut off node fails, and no helper says so.
    for port in 2..=5 {
        net.cut.insert((at(1), at(port)));
    }
    net.run_secs(10);
    assert!(net.node(1).counters().health >= 3, "{:?}", net.node(1).counters());
    assert_eq!(net.node(2).counters().health, 0);
    net.deaf.clear();
    net.cut.clear();
    net.run_secs(60);
    assert_eq!(net.node(1).counters().health, 0);
    assert!(net.agreed());
}

#[test]
fn gray_nodes_drag_no_healthy_ones_down() {
    let mut net = ready(10, 31);
    // One in ten stalls again and again.
    for _ in 0..60 {
        net.pause(10);
        net.run(Duration::from_millis(1_500));
        net.resume(10);
        net.run(Duration::from_millis(1_500));
    }
    assert_eq!(net.failures_since(Timestamp::ZERO).iter().filter(|name| **name != "n10").count(), 0);
}

#[test]
fn a_node_that_came_back_without_anybody_to_join_learns_who_probes_it() {
    for seed in 1..=10 {
        let mut net = ready(3, seed);
        net.kill(2);
        // It is back before anybody noticed, at its address and under its name, and knows no one.
        net.start(&config("n2", 2, &[]));
        let took = net.run_until(Duration::from_secs(60), Net::agreed);
        // Each of the two others probes somebody every second.
        assert!(took <= Duration::from_secs(8), "seed {seed}: {took:?}");
    }
}

#[test]
fn a_push_pull_meets_ones_own_among_many_strangers() {
    let mut net = ready(3, 45);
    let strangers = (0..500).map(|n| record(&format!("stranger{n}"), 1_000 + n, 1, NodeState::Alive)).collect();
    offer(&mut net, 1, strangers, Bytes::new()).unwrap();
    let now = net.now;
    for _ in 0..10 {
        let node = net.node(1);
        node.sync_with(now, "meta.clusterName", "c");
        let (mut conns, mut places) = (Vec::new(), Vec::new());
        while let Some(output) = node.poll_output() {
            if let GossipOutput::Dial { conn, to } = output {
                conns.push(conn);
                places.push(to);
            }
        }
        assert!(places.len() == 1 && [at(2), at(3)].contains(&places[0]), "{places:?}");
        conns.into_iter().for_each(|conn| node.handle_closed(now, conn, CloseReason::Ended));
    }
    assert!(net.node(1).member("stranger7").is_some());
}
