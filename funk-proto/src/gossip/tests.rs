//! The rules of membership as claims about nodes on an in-memory network.

mod cost;
mod key_queries;
mod keys;
mod names;
mod net;
mod poison;
mod serf;
mod swim;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use net::{Net, at, config};
use swim::SECOND;

use super::*;
use crate::io::GossipRefusal;
use crate::wire::gossip::{self, NodeRecord, NodeState, PushPull, SerfState, encode_tags, look_request, parse_members};

/// Hands a push/pull with these records and state to the node at `port`.
fn offer(net: &mut Net, port: u16, nodes: Vec<NodeRecord>, user_state: Bytes) -> Result<(), Misbehaviour> {
    let now = net.now;
    let bytes = PushPull { join: true, nodes, user_state }.encode();
    let result = net.node(port).handle_message(now, ConnId::accepted(1), bytes);
    while let Some(due) = net.node(port).merging.next_due() {
        net.node(port).handle_merging_timeout(due);
    }
    while net.node(port).poll_output().is_some() {}
    result
}

fn record(name: &str, port: u16, incarnation: u32, state: NodeState) -> NodeRecord {
    NodeRecord::new(name.as_bytes(), at(port), encode_tags(&BTreeMap::new()), incarnation, state)
}

fn state(status_times: &[(&'static str, u64)], left: &[&'static str]) -> SerfState {
    SerfState {
        member_time: 1,
        status_times: status_times.iter().map(|(name, time)| (Bytes::from_static(name.as_bytes()), *time)).collect(),
        left_members: left.iter().map(|name| Bytes::from_static(name.as_bytes())).collect(),
        ..SerfState::default()
    }
}

#[test]
fn two_nodes_meet_and_see_each_others_tags() {
    let mut net = Net::new();
    net.start(&config("a", 1, &[]));
    net.start(&config("b", 2, &[1, 2]));
    for port in [1, 2] {
        assert_eq!(net.view(port), "a=alive b=alive");
        for member in net.node(port).members().collect::<Vec<_>>() {
            assert_eq!(member.tags["funk.id"], member.name);
            assert_eq!(member.addr, at(if member.name == "a" { 1 } else { 2 }));
        }
    }
    assert!(net.seen.contains(&(at(2), GossipOutput::Joined { address: at(1) })));
    let met = |(at_port, seen): &(SocketAddr, GossipOutput)| {
        *at_port == at(1) && matches!(seen, GossipOutput::Changed(member) if member.name == "b")
    };
    assert!(net.seen.iter().any(met));
}

#[test]
fn three_nodes_meet_transitively() {
    let mut net = Net::new();
    net.start(&config("a", 1, &[]));
    net.start(&config("b", 2, &[1]));
    net.start(&config("c", 3, &[2]));
    assert_eq!(net.view(3), "a=alive b=alive c=alive");
    net.run(Duration::from_secs(5));
    assert_eq!(net.view(1), "a=alive b=alive c=alive");
}

#[test]
fn changed_tags_reach_the_others() {
    let mut net = Net::new();
    net.start(&config("a", 1, &[]));
    net.start(&config("b", 2, &[1]));
    net.run(Duration::from_secs(2));
    let now = net.now;
    net.node(2).set_tag(now, "funk.cluster", Some("77".into()));
    net.node(2).set_tag(now, "funk.id", None);
    net.run(Duration::from_secs(2));
    let seen = net.node(1).members().find(|member| member.name == "b").unwrap();
    assert_eq!(seen.tags.get("funk.cluster").map(String::as_str), Some("77"));
    assert_eq!((seen.tags.get("funk.id"), seen.incarnation), (None, 3));
}

#[test]
fn a_looker_sees_everybody_and_becomes_nobody() {
    let mut net = Net::new();
    net.start(&config("a", 1, &[]));
    net.start(&config("b", 2, &[1]));
    let now = net.now;
    net.node(1).handle_message(now, ConnId::accepted(7), look_request()).unwrap();
    let Some(GossipOutput::Reply { bytes, .. }) = net.node(1).poll_output() else { panic!("no reply") };
    let names: Vec<_> = parse_members(&bytes).unwrap().into_iter().map(|member| member.name).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(net.node(1).poll_output(), None);
    assert_eq!(net.view(1), "a=alive b=alive");
}

#[test]
fn clusters_of_other_names_stay_apart() {
    let mut net = Net::new();
    net.start(&config("a", 1, &[]));
    let mut other = config("b", 2, &[1]);
    other.cluster = "d".parse().unwrap();
    other.tags.insert("meta.clusterName".into(), "d".into());
    net.start(&other);
    let reason = "only members of another cluster are there".into();
    assert!(net.seen.contains(&(at(2), GossipOutput::JoinFailed { address: at(1), reason })));
    assert_eq!((net.view(1), net.view(2)), ("a=alive".into(), "b=alive".into()));
    assert_eq!(net.node(1).counters().vetoed, 1);
    // A plain agent shows no cluster name and is welcome.
    offer(&mut net, 1, vec![record("plain", 3, 1, NodeState::Alive)], Bytes::new()).unwrap();
    assert_eq!(net.view(1), "a=alive plain=alive");
}

#[test]
fn joining_goes_on_until_the_seed_appears() {
    let mut net = Net::new();
    net.start(&config("b", 2, &[1]));
    net.run(Duration::from_secs(60));
    let tries = net.seen.iter().filter(|(_, output)| matches!(output, GossipOutput::JoinFailed { .. })).count();
    assert!((25..60).contains(&tries), "{tries} tries in a minute");
    net.start(&config("a", 1, &[]));
    net.run(Duration::from_secs(3));
    assert_eq!(net.view(2), "a=alive b=alive");
}

#[test]
fn a_node_that_is_left_alone_joins_anew() {
    let mut net = Net::new();
    net.start(&config("a", 1, &[]));
    net.start(&config("b", 2, &[1]));
    net.nodes.remove(&at(1));
    net.node(2).set_status(&"a".parse().unwrap(), GossipStatus::Failed);
    assert_eq!(net.view(2), "a=failed b=alive");
    net.run(Duration::from_secs(5));
    net.start(&config("a", 1, &[]));
    net.run(Duration::from_secs(5));
    assert_eq!((net.view(1), net.view(2)), ("a=alive b=alive".into(), "a=alive b=alive".into()));
}

#[test]
fn a_seed_that_never_answers_is_given_up_and_tried_again() {
    let mut node = Gossip::new(config("b", 2, &[1]), DialNumbers::new(0, 1), Seed::from_u64(1), Timestamp::ZERO);
    let dials = |node: &mut Gossip| {
        let outputs = std::iter::from_fn(|| node.poll_output()).collect::<Vec<_>>();
        outputs.iter().filter(|output| matches!(output, GossipOutput::Dial { .. })).count()
    };
    assert_eq!(dials(&mut node), 1);
    let mut again = 0;
    while node.poll_timeout().unwrap() < Timestamp::from_millis(15_000) {
        node.handle_timeout(node.poll_timeout().unwrap());
        again += dials(&mut node);
    }
    assert!(again >= 1);
}

#[test]
fn a_leave_is_seen_as_left_and_its_time_settles() {
    let mut net = Net::new();
    net.start(&config("a", 1, &[]));
    net.start(&config("b", 2, &[1]));
    net.start(&config("c", 3, &[1]));
    net.run(Duration::from_secs(5));
    let now = net.now;
    net.node(3).leave(now);
    net.settle();
    assert_eq!((net.view(1), net.view(2)), ("a=alive b=alive c=left".into(), "a=alive b=alive c=left".into()));
    net.nodes.remove(&at(3));
    let times = |net: &Net| net.nodes.values().map(|node| node.table.push_pull(false)).collect::<Vec<_>>();
    net.run(Duration::from_secs(60));
    let settled = times(&net);
    net.run(Duration::from_secs(60));
    assert_eq!(times(&net), settled);
    // The name comes back, on the same and on another port.
    for port in [3, 4] {
        net.start(&config("c", port, &[2]));
        net.run(Duration::from_secs(5));
        assert_eq!((net.view(1), net.view(2)), ("a=alive b=alive c=alive".into(), "a=alive b=alive c=alive".into()));
        let now = net.now;
        net.node(port).leave(now);
        net.settle();
        net.nodes.remove(&at(port));
    }
}

#[test]
fn a_live_node_refutes_what_others_say_of_it() {
    for accused in [NodeState::Suspect, NodeState::Dead, NodeState::Left] {
        let mut net = Net::new();
        net.start(&config("a", 1, &[]));
        net.start(&config("b", 2, &[1]));
        net.run(Duration::from_secs(2));
        offer(&mut net, 1, vec![record("b", 2, 1, accused)], state(&[("b", 5)], &["b"]).encode()).unwrap();
        assert_ne!(net.view(1), "a=alive b=alive");
        // Its own next exchange shows it the accusation, the one after that the refutation.
        net.run(Duration::from_secs(25));
        assert_eq!((net.view(1), net.view(2)), ("a=alive b=alive".into(), "a=alive b=alive".into()), "{accused:?}");
    }
}

#[test]
fn a_restarted_node_at_its_old_address_is_believed_at_once() {
    let mut net = Net::new();
    net.start(&config("a", 1, &[]));
    net.start(&config("b", 2, &[1]));
    net.run(Duration::from_secs(2));
    let mut reborn = config("b", 2, &[1]);
    reborn.tags.insert("funk.id".into(), "second".into());
    net.start(&reborn);
    net.run(Duration::from_secs(1));
    let seen = net.node(1).members().find(|member| member.name == "b").unwrap();
    assert_eq!(seen.tags["funk.id"], "second");
}

#[test]
fn a_failed_name_is_taken_over_from_another_address_and_a_live_one_is_not() {
    let mut net = Net::new();
    net.start(&config("a", 1, &[]));
    net.start(&config("b", 2, &[1]));
    let intruder = || vec![record("b", 9, 7, NodeState::Alive)];
    offer(&mut net, 1, intruder(), Bytes::new()).unwrap();
    assert_eq!(net.node(1).members().last().unwrap().addr, at(2));
    net.node(1).set_status(&"b".parse().unwrap(), GossipStatus::Failed);
    offer(&mut net, 1, intruder(), Bytes::new()).unwrap();
    let seen = net.node(1).members().last().unwrap();
    assert_eq!((seen.addr, seen.status), (at(9), GossipStatus::Alive));
}

#[test]
fn poison_changes_nothing() {
    let mut net = Net::new();
    net.start(&config("a", 1, &[]));
    net.start(&config("b", 2, &[1]));
    let members = |net: &mut Net| net.node(1).members().collect::<Vec<_>>();
    let before = members(&mut net);
    let good = || record("x", 9, 1, NodeState::Alive);
    let vsn = |bytes: &'static [u8]| NodeRecord { vsn: Bytes::from_static(bytes), ..good() };
    let poison = [
        vsn(&[1, 5, 2]),
        vsn(&[]),
        vsn(&[1, 5, 9, 2, 5, 5]),
        NodeRecord { name: Bytes::new(), ..good() },
        NodeRecord { name: Bytes::from(vec![b'x'; 256]), ..good() },
        NodeRecord { addr: Bytes::from_static(&[1, 2, 3]), ..good() },
        NodeRecord { meta: Bytes::from(vec![b'x'; 513]), ..good() },
        NodeRecord { meta: Bytes::from_static(b"\xff\xdf\xff\xff\xff\xff"), ..good() },
        NodeRecord { incarnation: 0, ..good() },
        NodeRecord { state: NodeState::Unknown(4), ..good() },
        NodeRecord { state: NodeState::Dead, ..good() },
        NodeRecord { addr: Bytes::from_static(&[127, 0, 0, 9]), ..record("a", 1, 9, NodeState::Alive) },
    ];
    for record in poison {
        offer(&mut net, 1, vec![record], Bytes::new()).unwrap();
    }
    offer(&mut net, 1, vec![good()], Bytes::from_static(&[2])).unwrap_err();
    offer(&mut net, 1, vec![good()], Bytes::from_static(&[9, 0x80])).unwrap_err();
    let far = state(&[("b", u64::MAX), ("a", u64::MAX), ("nobody", 3)], &["nobody"]);
    offer(&mut net, 1, vec![record("b", 2, 1, NodeState::Alive)], far.encode()).unwrap();
    let now = net.now;
    let raw: [&[u8]; 4] =
        [b"\x06\x83\xa4Join\xc3\xa5Nodes\xce\x7f\xff\xff\xff\xacUserStateLen\x00", b"\x06", b"\x0d\x80", b"\x09\x80"];
    for message in raw {
        net.node(1).handle_message(now, ConnId::accepted(1), Bytes::copy_from_slice(message)).unwrap_err();
    }
    assert_eq!(members(&mut net), before);
    assert!(net.node(1).counters().dropped() > 10);
}

#[test]
fn a_full_table_forgets_the_gone_and_never_the_living() {
    let mut net = Net::new();
    net.start(&config("a", 1, &[]));
    let many = |from: u32, state| {
        let numbered = (from..from + 8_000).map(|n| record(&format!("n{n}"), 9, 1, state)).collect();
        (numbered, Bytes::new())
    };
    for (nodes, user_state) in [0, 8_000].map(|from| many(from, NodeState::Alive)) {
        offer(&mut net, 1, nodes, user_state).unwrap();
    }
    let (nodes, user_state) = many(0, NodeState::Left);
    offer(&mut net, 1, nodes, user_state).unwrap();
    for from in [16_000, 24_000] {
        let (nodes, user_state) = many(from, NodeState::Alive);
        offer(&mut net, 1, nodes, user_state).unwrap();
    }
    let members: Vec<_> = net.node(1).members().collect();
    assert_eq!(members.len(), crate::limits::GOSSIP_MEMBERS_MAX);
    assert!(members.iter().all(|member| member.status == GossipStatus::Alive));
    assert!(members.iter().any(|member| member.name == "a") && members.iter().any(|member| member.name == "n15999"));
}

#[test]
fn agents_that_ping_over_a_stream_get_their_ack() {
    let mut net = Net::new();
    net.start(&config("a", 1, &[]));
    let now = net.now;
    let ping = |node: &mut Gossip, message: &'static [u8]| {
        node.handle_message(now, ConnId::accepted(3), Bytes::from_static(message)).unwrap();
        node.poll_output().unwrap()
    };
    let ack = GossipOutput::Reply { conn: ConnId::accepted(3), bytes: gossip::encode_ack(7) };
    assert_eq!(ping(net.node(1), b"\x00\x82\xa4Node\xa1a\xa5SeqNo\x07"), ack);
    let close = GossipOutput::Close { conn: ConnId::accepted(3) };
    assert_eq!(ping(net.node(1), b"\x00\x82\xa4Node\xa1b\xa5SeqNo\x07"), close);
}

#[test]
fn tags_that_do_not_fit_are_reported_once() {
    let mut wide = config("a", 1, &[]);
    wide.tags.extend((0..9).map(|n| (format!("ep.service{n}"), "x".repeat(50))));
    let mut node = Gossip::new(wide, DialNumbers::new(0, 1), Seed::from_u64(1), Timestamp::ZERO);
    let Some(GossipOutput::TagsDropped(dropped)) = node.poll_output() else { panic!("not reported") };
    assert_eq!(dropped.first().map(String::as_str), Some("ep.service8"));
    node.set_tag(Timestamp::ZERO, "funk.id", Some("b".into()));
    let Some(GossipOutput::Changed(own)) = node.poll_output() else { panic!("no change") };
    assert_eq!(own.tags["funk.id"], "b");
    assert_eq!(node.poll_output(), None);
    assert_eq!(node.members().next().unwrap().tags["funk.id"], "b");
}

#[test]
fn the_same_seed_gives_the_same_outputs() {
    let story = || {
        let mut net = Net::new();
        for (name, port) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)] {
            net.start(&config(name, port, &[1, 2]));
        }
        net.run(Duration::from_secs(60));
        let now = net.now;
        net.node(3).leave(now);
        net.run(Duration::from_secs(60));
        net.trace
    };
    let trace = story();
    assert!(trace.len() > 10_000);
    assert_eq!(trace, story());
}

/// A node of this name and port that is no funk node.
fn agent(name: &str, port: u16, join: &[u16]) -> GossipConfig {
    let mut config = config(name, port, join);
    config.tags.clear();
    config
}

fn held(net: &Net, port: u16) -> Option<SocketAddr> {
    net.seen.iter().find_map(|(at_node, output)| match output {
        GossipOutput::NameHeld { address, .. } if *at_node == at(port) => Some(*address),
        _ => None,
    })
}

#[test]
fn a_newcomer_hears_from_whoever_lives_under_its_name() {
    for looks in [false, true] {
        let mut net = Net::new();
        net.start(&config("a", 1, &[]));
        net.start(&agent("x", 2, &[1]));
        net.start(&GossipConfig { looks, ..config("x", 3, &[1]) });
        net.run(Duration::from_secs(1));
        assert_eq!(held(&net, 3), Some(at(2)), "looks: {looks}");
    }
}

#[test]
fn a_former_life_at_another_address_does_not_hold_a_name() {
    let mut net = Net::new();
    net.start(&config("a", 1, &[]));
    net.start(&config("x", 2, &[1]));
    net.kill(2);
    // Who has that address now has another name, and nobody answers for the old one.
    net.start(&config("y", 2, &[]));
    net.start(&config("x", 3, &[1]));
    net.run(Duration::from_secs(3));
    assert_eq!(held(&net, 3), None);
}

#[test]
fn only_the_answer_to_this_question_says_that_a_name_is_held() {
    let mut net = Net::new();
    net.start(&config("a", 1, &[]));
    let now = net.now;
    for sequence in 0..50 {
        net.node(1).handle_datagram(now, at(9), &Packet::Ack { sequence, payload: Bytes::new() }.encode());
    }
    offer(&mut net, 1, vec![record("a", 9, 5, NodeState::Alive)], Bytes::new()).unwrap();
    for sequence in 0..50 {
        net.node(1).handle_datagram(now, at(9), &Packet::Ack { sequence, payload: Bytes::new() }.encode());
    }
    net.settle();
    assert_eq!(held(&net, 1), None);
}

#[test]
fn somebody_with_a_key_is_told_that_there_is_none_here() {
    let mut net = Net::new();
    net.start(&config("a", 1, &[]));
    let now = net.now;
    for (conn, length) in [(1, 29_u32), (2, 229), (3, 60_000), (4, 1 << 20)] {
        let mut decoder = gossip::StreamDecoder::new();
        let sealed = vec![0x5a; length as usize];
        decoder.push(&[&[gossip::ENCRYPTED][..], &length.to_be_bytes(), &sealed].concat());
        let message = decoder.next().unwrap().unwrap();
        net.node(1).handle_message(now, ConnId::accepted(conn), message).unwrap();
        let (peer, why) = (RefusedPeer::Stream(ConnId::accepted(conn)), GossipRefusal::Encrypted);
        assert_eq!(net.node(1).poll_output(), Some(GossipOutput::Refused { peer, why }));
        let Some(GossipOutput::Reply { bytes, .. }) = net.node(1).poll_output() else { panic!("no reply") };
        assert!(gossip::decode_error(&bytes).unwrap().contains("not encrypted"));
    }
    for version in [0, 1] {
        let mut datagram = vec![0xd5; 80];
        datagram[0] = version;
        net.node(1).handle_datagram(now, at(9), &datagram.into());
    }
    assert_eq!(net.node(1).counters().encrypted, 6);
    // Pings begin with the same bytes, and a short one that is broken is only broken.
    let ping = Packet::Ping { sequence: 7, node: Bytes::new(), source: None, source_node: vec![b'x'; 90].into() };
    net.node(1).handle_datagram(now, at(9), &ping.encode());
    net.node(1).handle_datagram(now, at(9), &Bytes::from_static(&[0, 0xff]));
    assert_eq!((net.node(1).counters().encrypted, net.node(1).counters().malformed), (6, 1));
}

#[test]
fn a_joiner_is_told_that_gossip_is_encrypted_where_it_calls() {
    let mut net = Net::new();
    let mut node = Gossip::new(config("a", 1, &[2]), DialNumbers::new(0, 2), Seed::from_u64(1), net.now);
    let dialled = std::iter::from_fn(|| node.poll_output()).find_map(|output| match output {
        GossipOutput::Dial { conn, .. } => Some(conn),
        _ => None,
    });
    let sealed = [&[gossip::ENCRYPTED, 0, 0, 0, 30][..], &[7; 30]].concat();
    node.handle_message(net.now, dialled.unwrap(), sealed.into()).unwrap();
    net.now = net.now + SECOND;
    let told = std::iter::from_fn(|| node.poll_output()).find_map(|output| match output {
        GossipOutput::JoinFailed { reason, .. } => Some(reason),
        _ => None,
    });
    assert!(told.unwrap().contains("encrypted"));
}

#[test]
fn link_local_addresses_that_do_not_name_their_link_are_passed_over() {
    let mut net = Net::new();
    net.start(&config("a", 1, &[]));
    let now = net.now;
    let addresses = ["[fe80::1]:7", "[febf::9]:7", "[fe80::1%3]:7", "[fd00::1]:7"].map(|at| at.parse().unwrap());
    net.node(1).join(now, addresses.to_vec());
    let dialled: Vec<_> = std::iter::from_fn(|| net.node(1).poll_output())
        .filter_map(|output| match output {
            GossipOutput::Dial { to, .. } => Some(to),
            _ => None,
        })
        .collect();
    assert_eq!(dialled, [addresses[3], addresses[2]]);
    let octets = std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).octets();
    let there = NodeRecord { addr: Bytes::copy_from_slice(&octets), ..record("x", 7, 1, NodeState::Alive) };
    offer(&mut net, 1, vec![there], Bytes::new()).unwrap();
    assert_eq!(net.view(1), "a=alive");
}

/// A member with these tags.
pub(super) fn member(tags: &[(&str, &str)]) -> Member {
    let tags: BTreeMap<String, String> = tags.iter().map(|(tag, value)| ((*tag).into(), (*value).into())).collect();
    let (name, addr, meta) = (Bytes::from_static(b"n"), at(1), encode_tags(&tags));
    Claim { name, addr, tags, incarnation: 1, meta, versions: VERSIONS }.into_member(Timestamp::ZERO)
}
