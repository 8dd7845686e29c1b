//! What a peer may make a node do: work is cut into slices, and no table or queue grows without end.

use std::collections::BTreeSet;

use super::net::{Net, at, config};
use super::*;
use crate::limits::{
    GOSSIP_DECOMPRESSED_BYTES_MAX, GOSSIP_GONE_MAX, GOSSIP_INTENTS_MAX, GOSSIP_MEMBERS_MAX, GOSSIP_MERGES_MAX,
    GOSSIP_QUEUE_MAX, GOSSIP_SLICE_UNITS,
};

const MANY: u32 = 16_000;

fn foreign(number: u32, state: NodeState) -> NodeRecord {
    let [_, a, b, c] = number.to_be_bytes();
    let address = SocketAddr::from(([10, a, b, c], 7946));
    NodeRecord::new(format!("foreign{number:06}").as_bytes(), address, encode_tags(&BTreeMap::new()), 1, state)
}

fn large(state: NodeState) -> Bytes {
    let nodes = (0..MANY).map(|number| foreign(number, state)).collect();
    let times = (0..MANY).map(|number| (Bytes::from(format!("foreign{number:06}")), u64::from(number)));
    let left_members = (0..MANY / 2).map(|number| Bytes::from(format!("foreign{number:06}"))).collect();
    let state = SerfState { member_time: 1, status_times: times.collect(), left_members, ..SerfState::default() };
    PushPull { join: true, nodes, user_state: state.encode() }.encode()
}

/// Hands a message in, and fires timers until all of it is done: how many slices that took, and how many members
/// the largest of them took in.
fn slices(net: &mut Net, conn: u64, message: Bytes) -> (usize, usize) {
    let now = net.now;
    let node = net.node(1);
    let (mut count, mut largest, mut known) = (1, 0, node.table.members.len());
    node.handle_message(now, ConnId::accepted(conn), message).ok();
    let mut look = |node: &Gossip| {
        largest = largest.max(node.table.members.len().saturating_sub(known));
        known = node.table.members.len();
    };
    look(node);
    while let Some(due) = node.merging.next_due() {
        assert_eq!(node.poll_timeout().min(Some(due)), node.poll_timeout(), "the timer brings the next slice");
        node.handle_merging_timeout(due);
        look(node);
        count += 1;
    }
    node.table.members.check();
    (count, largest)
}

fn replies(net: &mut Net) -> usize {
    std::iter::from_fn(|| net.node(1).poll_output())
        .filter(|output| matches!(output, GossipOutput::Reply { .. }))
        .count()
}

fn compressed(message: &[u8]) -> Bytes {
    let packed = weezl::encode::Encoder::new(weezl::BitOrder::Lsb, 8).encode(message).unwrap();
    let length = u32::try_from(packed.len()).unwrap().to_be_bytes();
    [b"\x09\x82\xa4Algo\x00\xa3Buf\xdb", &length[..], &packed].concat().into()
}

fn alone() -> Net {
    let mut net = Net::new();
    net.start(&config("a", 1, &[]));
    net
}

#[test]
fn a_large_push_pull_is_merged_in_slices_plain_and_compressed() {
    let message = large(NodeState::Alive);
    for message in [message.clone(), compressed(&message)] {
        let mut net = alone();
        let (count, largest) = slices(&mut net, 1, message);
        assert!(count > 50, "{count} slices");
        assert!(largest <= GOSSIP_SLICE_UNITS as usize / 10 + 1, "{largest} members in one slice");
        assert_eq!((net.node(1).table.members.len(), replies(&mut net)), (MANY as usize + 1, 1));
        // And the answer to the next one, which is as long, is written in slices too.
        let (count, _) = slices(&mut net, 2, look_request());
        assert!(count > 5, "{count} slices for an answer");
        let reply = std::iter::from_fn(|| net.node(1).poll_output()).find_map(|output| match output {
            GossipOutput::Reply { bytes, .. } => Some(bytes),
            _ => None,
        });
        assert_eq!(parse_members(&reply.unwrap()).unwrap().len(), MANY as usize + 1);
    }
}

#[test]
fn accusations_of_all_members_at_once_are_sliced_and_none_costs_a_count() {
    let mut net = alone();
    slices(&mut net, 1, large(NodeState::Alive));
    for state in [NodeState::Suspect, NodeState::Dead, NodeState::Left, NodeState::Alive] {
        let (count, _) = slices(&mut net, 2, large(state));
        assert!(count > 50, "{count} slices");
    }
    let node = net.node(1);
    assert!(node.broadcasts.len() <= 2 * GOSSIP_QUEUE_MAX);
}

#[test]
fn a_message_that_unfolds_to_much_is_unfolded_in_slices_until_its_limit() {
    let mut net = alone();
    let bomb = compressed(&vec![6; GOSSIP_DECOMPRESSED_BYTES_MAX / 8]);
    let (count, _) = slices(&mut net, 1, bomb);
    assert!(count > 30, "{count} slices");
    assert_eq!((net.node(1).counters().malformed, replies(&mut net)), (1, 0));
}

#[test]
fn what_nobody_knows_is_walked_over_in_slices_or_refused() {
    // A header with a million fields that nobody knows; a state with a field of a million values.
    let mut fields = b"\x06\xdf\x00\x0f\x42\x40".to_vec();
    fields.extend((0..1_000_000).flat_map(|_| [0xa1, b'x', 0xc0]));
    let mut state = b"\x02\x81\xa1x\xdd\x00\x0f\x42\x40".to_vec();
    state.extend(vec![0xc0; 1_000_000]);
    let mut record = b"\x06\x83\xa4Join\xc2\xa5Nodes\x01\xacUserStateLen\x00\x81\xa1x\xdd\x00\x0f\x42\x40".to_vec();
    record.extend(vec![0xc0; 1_000_000]);
    let mut list = b"\x09\x82\xa4Algo\x00\xa3Buf\xdd\x00\x0f\x42\x40".to_vec();
    list.extend(vec![7; 1_000_000]);
    let state = PushPull { join: false, nodes: vec![foreign(1, NodeState::Alive)], user_state: state.into() }.encode();
    let mut net = alone();
    for (conn, (message, sliced)) in
        [(fields.into(), false), (state, true), (record.into(), true), (list.into(), false)].into_iter().enumerate()
    {
        let (count, _) = slices(&mut net, conn as u64, message);
        assert_eq!(count > 3, sliced, "{conn}: {count} slices");
    }
    assert_eq!(net.node(1).counters().oversized, 2);
    assert_eq!(net.view(1), "a=alive foreign000001=alive");
}

#[test]
fn a_ping_on_a_stream_never_waits_behind_a_push_pull() {
    let mut net = alone();
    let now = net.now;
    net.node(1).handle_message(now, ConnId::accepted(1), large(NodeState::Alive)).unwrap();
    assert!(net.node(1).merging.next_due().is_some());
    let ping = Packet::Ping { sequence: 7, node: Bytes::new(), source: None, source_node: Bytes::new() };
    net.node(1).handle_message(now, ConnId::accepted(2), ping.encode()).unwrap();
    assert!(
        std::iter::from_fn(|| net.node(1).poll_output()).any(|output| {
            output == GossipOutput::Reply { conn: ConnId::accepted(2), bytes: gossip::encode_ack(7) }
        })
    );
}

#[test]
fn push_pulls_that_wait_are_bounded_in_number_and_the_others_told_so() {
    let mut net = alone();
    let now = net.now;
    let message = large(NodeState::Alive);
    for conn in 0..GOSSIP_MERGES_MAX as u64 + 5 {
        net.node(1).handle_message(now, ConnId::accepted(conn), message.clone()).unwrap();
    }
    let closed = std::iter::from_fn(|| net.node(1).poll_output())
        .filter(|output| matches!(output, GossipOutput::Close { .. }))
        .count();
    assert!(closed >= 5, "{closed}");
    assert_eq!(net.node(1).counters().no_room, closed as u64);
}

#[test]
fn many_small_push_pulls_at_one_moment_share_one_slice() {
    let mut net = alone();
    let now = net.now;
    let nodes: Vec<_> = (0..50).map(|number| foreign(number, NodeState::Alive)).collect();
    let message = PushPull { join: true, nodes, user_state: Bytes::new() }.encode();
    let conns = 0..30;
    for conn in conns.clone() {
        net.node(1).handle_message(now, ConnId::accepted(conn), message.clone()).unwrap();
    }
    let before = replies(&mut net);
    assert!(before < conns.count(), "{before} of them at once");
    while let Some(due) = net.node(1).merging.next_due() {
        net.node(1).handle_merging_timeout(due);
    }
    assert_eq!(before + replies(&mut net), 30);
}

#[test]
fn nothing_stays_of_fifty_thousand_members_that_came_and_went() {
    let mut net = alone();
    for number in 0..50_000 {
        net.now = net.now + Duration::from_millis(1);
        let now = net.now;
        let NodeRecord { name, meta, addr, .. } = foreign(number, NodeState::Alive);
        let addr = SocketAddr::from((<[u8; 4]>::try_from(&addr[..]).unwrap(), 7946));
        let alive = gossip::Alive { incarnation: 1, node: name.clone(), addr, meta, versions: VERSIONS };
        let dead = gossip::Accusation { incarnation: 1, node: name.clone(), from: name.clone() };
        let leave = gossip::SerfMessage::Leave {
            time: u64::from(number),
            node: Bytes::from(format!("x{number}")),
            prune: false,
        };
        for packet in [Packet::Alive(alive), Packet::User(leave.encode()), Packet::Dead(dead)] {
            net.node(1).handle_datagram(now, at(9), &packet.encode());
        }
        while net.node(1).poll_output().is_some() {}
    }
    let node = net.node(1);
    node.table.members.check();
    assert!(node.table.members.len() <= GOSSIP_GONE_MAX + 1, "itself, and those that went last");
    assert!(node.table.intents.len() <= GOSSIP_INTENTS_MAX && node.broadcasts.len() <= 4 * GOSSIP_QUEUE_MAX);
    assert!(node.prober.len() <= GOSSIP_MEMBERS_MAX);
    // Once nobody asks about them any more, they are forgotten.
    let now = net.now + GossipTiming::default().tombstone + Duration::from_secs(60);
    net.node(1).handle_timeout(now);
    let left: BTreeSet<_> = net.node(1).members().map(|member| member.name).collect();
    assert_eq!(left, BTreeSet::from(["a".to_owned()]));
}
