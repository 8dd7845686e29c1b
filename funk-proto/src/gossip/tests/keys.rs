//! Encrypted gossip: who has the key is let in, who has none or another is told why, and nothing else changes.

use super::net::{Net, at, config};
use super::swim::SECOND;
use super::*;
use crate::io::GossipRefusal;
use crate::limits::GOSSIP_DATAGRAM_BYTES;
use crate::wire::gossip::{GossipKey, GossipKeys, Keyring, open_any, open_stream, unpack};

pub(super) fn key(n: u8) -> GossipKey {
    GossipKey::new(&[n; 32]).unwrap()
}

pub(super) fn ring(keys: &[u8]) -> GossipKeys {
    Keyring::of(keys.iter().map(|n| key(*n))).unwrap().into()
}

pub(super) fn sealed(name: &str, port: u16, join: &[u16], keys: impl Into<Option<GossipKeys>>) -> GossipConfig {
    GossipConfig { keys: keys.into(), ..config(name, port, join) }
}

/// Why `by` refuses whom, as often as it does.
fn refused(net: &Net, by: u16) -> Vec<(RefusedPeer, GossipRefusal)> {
    let of_it = net.seen.iter().filter(|(from, _)| *from == at(by));
    let refusal = |(_, output): &(_, GossipOutput)| match output {
        GossipOutput::Refused { peer, why } => Some((*peer, *why)),
        _ => None,
    };
    of_it.filter_map(refusal).collect()
}

fn join_failures(net: &Net, of: u16) -> String {
    let of_it = net.seen.iter().filter(|(from, _)| *from == at(of));
    let reason = |(_, output): &(_, GossipOutput)| match output {
        GossipOutput::JoinFailed { reason, .. } => Some(reason.clone()),
        _ => None,
    };
    of_it.filter_map(reason).collect::<Vec<_>>().join("; ")
}

#[test]
fn nodes_with_one_key_agree_and_send_nothing_in_the_clear() {
    let mut net = Net::new();
    for port in 1..=5 {
        net.start(&sealed(&format!("n{port}"), port, &[1], ring(&[7])));
    }
    net.run_secs(5);
    assert!(net.agreed(), "{}", net.view(1));
    net.kill(5);
    net.run_until(20 * SECOND, |net| net.all_show("n5", GossipStatus::Failed));
    assert!(!net.carried.is_empty());
    for bytes in &net.carried {
        assert!(bytes.len() <= GOSSIP_DATAGRAM_BYTES, "{} bytes", bytes.len());
        assert!(open_any(&ring(&[7]).ring, &[], bytes).is_some());
    }
    let mut nonces: Vec<_> = net.carried.iter().map(|bytes| bytes.slice(1..13)).collect();
    nonces.sort();
    nonces.dedup();
    assert_eq!(nonces.len(), net.carried.len(), "no nonce is used twice");
    assert!(net.streamed.iter().all(|bytes| open_stream(&key(7), bytes).is_some()));
    assert!((1..=4).all(|port| net.node(port).counters().dropped() == 0));
}

#[test]
fn two_starts_of_a_node_use_other_nonces_and_the_same_seed_the_same() {
    let first = |seed| {
        let config = sealed("a", 1, &[2], ring(&[7]));
        let mut node = Gossip::new(config, DialNumbers::new(0, 2), Seed::from_u64(seed), Timestamp::from_millis(1));
        std::iter::from_fn(|| node.poll_output()).find_map(|output| match output {
            GossipOutput::Message { bytes, .. } => Some(bytes.slice(6..18)),
            _ => None,
        })
    };
    assert_eq!(first(1), first(1));
    assert_ne!(first(1), first(2));
}

#[test]
fn who_has_no_key_or_another_is_not_let_in_and_both_sides_say_why() {
    for (stranger, at_members, at_stranger, told) in [
        (None, GossipRefusal::Plaintext, None, "encrypted here"),
        (Some(ring(&[8])), GossipRefusal::Undecryptable, Some(GossipRefusal::Undecryptable), "another key"),
    ] {
        let mut net = Net::new();
        for port in 1..=3 {
            net.start(&sealed(&format!("n{port}"), port, &[1], ring(&[7])));
        }
        net.start(&sealed("stranger", 4, &[1], stranger));
        net.run_secs(5);
        assert!((1..=3).all(|port| net.status(port, "stranger") == GossipStatus::None));
        assert_eq!(net.view(4), "stranger=alive");
        assert!(
            refused(&net, 1).iter().all(|(peer, why)| matches!(peer, RefusedPeer::Stream(_)) && *why == at_members)
        );
        assert!(refused(&net, 1).len() > 1);
        assert_eq!(refused(&net, 4).first().copied(), at_stranger.map(|why| (RefusedPeer::Address(at(1)), why)));
        assert!(join_failures(&net, 4).contains(told), "{}", join_failures(&net, 4));
        let now = net.now;
        let ping = Packet::Ping { sequence: 7, node: Bytes::new(), source: Some(at(4)), source_node: Bytes::new() };
        let datagram = net.node(4).sealing.datagram(ping.encode());
        net.node(1).handle_datagram(now, at(4), &datagram);
        let expected = GossipOutput::Refused { peer: RefusedPeer::Address(at(4)), why: at_members };
        assert_eq!(net.node(1).poll_output(), Some(expected));
        assert_eq!(net.node(1).poll_output(), None, "and it is not answered");
        let counted = net.node(1).counters();
        assert!(if at_members == GossipRefusal::Plaintext { counted.plaintext } else { counted.undecryptable } > 1);
    }
}

#[test]
fn a_node_with_a_key_says_that_others_have_none() {
    let mut net = Net::new();
    net.start_many(3);
    net.start(&sealed("x", 4, &[1], ring(&[7])));
    net.run_secs(5);
    assert!((1..=3).all(|port| net.status(port, "x") == GossipStatus::None));
    assert_eq!(refused(&net, 4).first(), Some(&(RefusedPeer::Address(at(1)), GossipRefusal::Plaintext)));
    assert!(join_failures(&net, 4).contains("not encrypted here"), "{}", join_failures(&net, 4));
    assert_eq!(refused(&net, 1).first().unwrap().1, GossipRefusal::Encrypted);
}

/// Plaintext, then keys that are neither used nor asked for, then used, then asked for, node by node.
#[test]
fn encryption_is_turned_on_in_a_running_pool_without_a_failure() {
    let mut net = Net::new();
    net.start_many(3);
    net.run_secs(5);
    let since = net.now;
    for (verify_incoming, verify_outgoing) in [(false, false), (false, true), (true, true)] {
        for port in 1..=3 {
            net.kill(port);
            let keys = GossipKeys { verify_incoming, verify_outgoing, ..ring(&[7]) };
            net.start(&sealed(&format!("n{port}"), port, &[port % 3 + 1], keys));
            net.run_until(5 * SECOND, Net::agreed);
        }
    }
    assert!(net.failures_since(since).is_empty(), "{:?}", net.failures_since(since));
    net.carried.clear();
    net.run_secs(3);
    assert!(net.carried.iter().all(|bytes| open_any(&ring(&[7]).ring, &[], bytes).is_some()));
    assert!((1..=3).all(|port| net.node(port).counters().dropped() == 0));
}

#[test]
fn every_key_of_the_ring_opens_and_the_first_encrypts() {
    let mut net = Net::new();
    net.start(&sealed("a", 1, &[], ring(&[7])));
    net.start(&sealed("b", 2, &[1], ring(&[8, 7])));
    net.run_secs(3);
    assert_ne!(net.view(1), "a=alive b=alive", "what b sends cannot be read by a");
    net.kill(2);
    net.start(&sealed("b", 2, &[1], ring(&[7, 8])));
    net.run_until(5 * SECOND, Net::agreed);
    net.start(&sealed("c", 3, &[2], ring(&[8, 7])));
    net.run_secs(1);
    assert_eq!(net.status(2, "c"), GossipStatus::Alive, "b has both");
}

#[test]
fn a_push_pull_of_thousands_is_opened_piece_by_piece_and_merged() {
    let mut net = Net::new();
    net.start(&sealed("a", 1, &[], ring(&[1, 2, 3, 7])));
    let (now, conn) = (net.now, ConnId::accepted(9));
    let nodes = (0..3_000).map(|n| record(&format!("m{n}"), 20_000 + n, 1, NodeState::Alive)).collect();
    let plain = PushPull { join: true, nodes, user_state: Bytes::new() }.encode();
    let message = gossip::seal_stream(&key(7), [5; 12], &plain);
    assert!(message.len() > 64 << 10, "{} bytes", message.len());
    net.node(1).handle_message(now, conn, message.clone()).unwrap();
    net.run_secs(1);
    assert_eq!(net.node(1).members().count(), 3_001);
    let other = gossip::seal_stream(&key(9), [5; 12], &plain);
    let now = net.now;
    net.node(1).handle_message(now, ConnId::accepted(10), other).unwrap();
    net.run_secs(1);
    assert_eq!(net.node(1).counters().undecryptable, 1);
}

#[test]
fn encrypted_noise_is_refused_and_encrypted_nonsense_is_malformed() {
    let mut net = Net::new();
    net.start(&sealed("a", 1, &[], ring(&[7])));
    let now = net.now;
    let nested = gossip::seal_stream(&key(7), [1; 12], &gossip::seal_stream(&key(7), [2; 12], b"\x06"));
    assert!(net.node(1).handle_message(now, ConnId::accepted(1), nested).is_err());
    let nonsense = gossip::seal(&key(7), [3; 12], &[], &[0xff; 40]);
    net.node(1).handle_datagram(now, at(9), &nonsense);
    assert!(unpack(&Bytes::from(vec![0xff; 40])).packets.is_empty());
    net.node(1).handle_datagram(now, at(9), &vec![0xff; 90].into());
    net.node(1).handle_datagram(now, at(9), &vec![1; 90].into());
    // A labelled cluster's: memberlist drops those as well.
    net.node(1).handle_datagram(now, at(9), &Bytes::from_static(b"\xf4\x04blue\x02\x80"));
    let counters = net.node(1).counters();
    assert_eq!((counters.malformed, counters.undecryptable, counters.plaintext), (4, 1, 0));
}
