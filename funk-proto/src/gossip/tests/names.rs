//! What members of gossip may be called.

use super::net::{Net, at, config};
use super::swim::SECOND;
use super::*;

#[test]
fn names_of_any_letters_and_of_any_length_are_members_like_others() {
    let long = "x".repeat(crate::limits::GOSSIP_NAME_BYTES_MAX);
    for name in [
        "UPPER.example.org",
        "two words",
        "db@rack/7:1",
        "sch\u{f6}n",
        "\u{65e5}\u{672c}",
        "-",
        "_",
        ".",
        "a,b=c\"d",
        &long,
    ] {
        let mut net = Net::new();
        net.start(&config("a", 1, &[]));
        net.start(&config("b", 2, &[1]));
        offer(&mut net, 1, vec![record(name, 9, 1, NodeState::Alive)], Bytes::new()).unwrap();
        assert_eq!(net.status(1, name), GossipStatus::Alive, "{name}");
        // Those that hear of it from this node know it under the same name, and its leave is its own.
        net.run_until(SECOND * 60, |net| net.nodes.values().all(|node| node.member(name).is_some()));
        let leave = gossip::SerfMessage::Leave { time: 9, node: name.to_owned().into(), prune: false };
        let dead = gossip::Accusation { incarnation: 1, node: name.to_owned().into(), from: name.to_owned().into() };
        for packet in [Packet::User(leave.encode()), Packet::Dead(dead)] {
            let now = net.now;
            net.node(1).handle_datagram(now, at(9), &packet.encode());
        }
        net.settle();
        assert_eq!(net.status(1, name), GossipStatus::Left, "{name}");
    }
}

#[test]
fn names_that_are_no_utf8_are_members_like_others() {
    let mut net = Net::new();
    net.start(&config("a", 1, &[]));
    let strange = NodeRecord { name: Bytes::from_static(&[0xff, b'x']), ..record("x", 9, 1, NodeState::Alive) };
    offer(&mut net, 1, vec![strange.clone()], Bytes::new()).unwrap();
    assert_eq!(net.view(1), "a=alive \u{fffd}x=alive");
    assert!(net.node(1).table.push_pull(false).nodes.contains(&strange));
}
