//! What is said of a node's life, in an order in which it is rarely said.

use bytes::Bytes;
use funk_proto::gossip::{Gossip, GossipConfig};
use funk_proto::id::DialNumbers;
use funk_proto::status::GossipStatus;
use funk_proto::wire::gossip::{Accusation, Alive, Packet, SerfMessage, VERSIONS, encode_tags};
use funk_proto::{Seed, Timestamp};

fn membership() -> Gossip {
    let config = GossipConfig {
        name: "n1".parse().expect("legal"),
        cluster: "c".parse().expect("legal"),
        addr: ([10, 0, 0, 1], 1).into(),
        join: Vec::new(),
        keys: None,
        looks: false,
        tags: [("meta.clusterName".to_owned(), "c".to_owned())].into(),
        timing: Default::default(),
    };
    Gossip::new(config, DialNumbers::new(0, 1), Seed::from_u64(1), Timestamp::ZERO)
}

fn hear(member: &mut Gossip, packet: &Packet) {
    let (now, from) = (Timestamp::from_millis(10), ([10, 0, 0, 3], 1).into());
    member.handle_datagram(now, from, &packet.encode());
    while member.poll_output().is_some() {}
}

fn alive(incarnation: u32) -> Packet {
    let meta = encode_tags(&[("meta.clusterName".to_owned(), "c".to_owned())].into());
    let (node, addr) = (Bytes::from_static(b"n2"), ([10, 0, 0, 2], 1).into());
    Packet::Alive(Alive { incarnation, node, addr, meta, versions: VERSIONS })
}

fn accusation(of: &'static str, incarnation: u32) -> Accusation {
    Accusation { incarnation, node: Bytes::from_static(of.as_bytes()), from: Bytes::from_static(b"n3") }
}

fn status(member: &Gossip) -> Option<GossipStatus> {
    member.member("n2").map(|known| known.status)
}

/// Numbers that nobody counts to, in what is said of this node and of another.
pub(super) fn large_numbers() -> Option<String> {
    let mut one = membership();
    hear(&mut one, &alive(u32::MAX));
    if one.member("n2")?.incarnation == u32::MAX {
        return Some("an incarnation is followed after which there is none".into());
    }
    let leave = SerfMessage::Leave { time: u64::MAX, node: "n2".into(), prune: false };
    hear(&mut one, &Packet::User(leave.encode()));
    if status(&one) != Some(GossipStatus::Alive) {
        return Some("a leave is believed at a time after which there is none".into());
    }
    hear(&mut one, &Packet::Suspect(accusation("n1", u32::MAX)));
    let outbid = one.member("n1")?.incarnation == u32::MAX;
    outbid.then(|| "a lie makes a node use up its incarnations".to_owned())
}

/// Old words about a life that ended, about a death that was refuted, and about this node.
pub(super) fn old_words() -> Option<String> {
    let mut one = membership();
    hear(&mut one, &alive(5));
    hear(&mut one, &Packet::Dead(accusation("n2", 4)));
    if status(&one) != Some(GossipStatus::Alive) {
        return Some("a refuted accusation kills".into());
    }
    hear(&mut one, &Packet::Dead(accusation("n2", 5)));
    hear(&mut one, &alive(4));
    if status(&one) != Some(GossipStatus::Failed) {
        return Some("an old word brings a dead node back".into());
    }
    let before = one.member("n1")?.incarnation;
    hear(&mut one, &Packet::Suspect(accusation("n1", before)));
    let answered = one.member("n1")?.incarnation > before;
    (!answered).then(|| "a suspected node says nothing".to_owned())
}
