//! Gossip from forged agents: push/pulls and datagrams about peers, about the
//! node itself, and about nobody.

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use funk_proto::id::ConnId;
use funk_proto::wire::gossip::{
    Accusation, Alive, NodeRecord, NodeState, Packet, PushPull, SerfMessage, SerfState, VERSIONS, encode_tags, with_crc,
};
use funk_proto::{DatagramSocket, Input, StreamKind};

use super::peers::address;
use crate::fuzz::draw;

fn incarnation(u: &mut Unstructured<'_>) -> Result<u32> {
    Ok(u32::try_from(draw::number(u, 3)?).unwrap_or(u32::MAX))
}

fn meta(u: &mut Unstructured<'_>, host: usize) -> Result<Bytes> {
    let tags = [
        ("meta.clusterName".to_owned(), "fuzz".to_owned()),
        ("funk.id".to_owned(), format!("{:x}", host + 1)),
        ("funk.cluster".to_owned(), "7".to_owned()),
        ("ep.raft".to_owned(), address(host, 2).to_string()),
    ];
    if u.ratio(7, 8)? { Ok(encode_tags(&tags.into())) } else { draw::small(u) }
}

/// The name of the node itself, of a peer, or of nobody.
fn name(u: &mut Unstructured<'_>) -> Result<(usize, Bytes)> {
    let host = u.int_in_range(1..=6_usize)?;
    Ok((host, Bytes::from(format!("n{host}"))))
}

/// One datagram from a peer's gossip socket.
pub(super) fn packet(u: &mut Unstructured<'_>, peer: usize) -> Result<Input> {
    let (host, node) = name(u)?;
    let (_, other) = name(u)?;
    let sequence = u32::try_from(draw::number(u, 1)?).unwrap_or(u32::MAX);
    let source = if u.ratio(1, 2)? { Some(address(peer + 2, 1)) } else { None };
    let packet = match u.int_in_range(0..=9_u8)? {
        0 => Packet::Ping { sequence, node, source, source_node: other },
        1 => {
            let nack = u.ratio(1, 2)?;
            Packet::IndirectPing { sequence, target: address(host, 1), node, nack, source, source_node: other }
        }
        2 => Packet::Ack { sequence, payload: draw::small(u)? },
        3 => Packet::Nack { sequence },
        4 | 5 => {
            let accusation = Accusation { incarnation: incarnation(u)?, node, from: other };
            if u.ratio(1, 2)? { Packet::Suspect(accusation) } else { Packet::Dead(accusation) }
        }
        6 | 7 => {
            let addr = if u.ratio(3, 4)? { address(host, 1) } else { address(host + 1, 1) };
            let (incarnation, meta) = (incarnation(u)?, meta(u, host)?);
            Packet::Alive(Alive { incarnation, node, addr, meta, versions: VERSIONS })
        }
        kind => {
            let time = draw::number(u, 4)?;
            let intent = match kind {
                8 => SerfMessage::Join { time, node },
                _ => SerfMessage::Leave { time, node, prune: u.ratio(1, 4)? },
            };
            Packet::User(intent.encode())
        }
    };
    let bytes = if u.ratio(1, 2)? { with_crc(&packet.encode()) } else { packet.encode() };
    Ok(Input::Datagram { socket: DatagramSocket::Gossip, from: address(peer + 2, 1), bytes })
}

/// A push/pull with records of peers, of the node itself, and of nobody.
pub(super) fn sync(u: &mut Unstructured<'_>, conn: ConnId) -> Result<Input> {
    let mut nodes = Vec::new();
    let mut state = SerfState { member_time: draw::number(u, 8)?, ..SerfState::default() };
    for _ in 0..u.int_in_range(0..=4_u8)? {
        let host = u.int_in_range(1..=6_usize)?;
        let name = Bytes::from(format!("n{host}"));
        let meta = meta(u, host)?;
        let incarnation = incarnation(u)?;
        let states = [NodeState::Alive, NodeState::Suspect, NodeState::Dead, NodeState::Left];
        nodes.push(NodeRecord::new(&name, address(host, 1), meta, incarnation, *u.choose(&states)?));
        if u.ratio(1, 2)? {
            state.status_times.push((name.clone(), draw::number(u, 4)?));
        }
        if u.ratio(1, 4)? {
            state.left_members.push(name);
        }
    }
    let sync = PushPull { join: u.ratio(1, 2)?, nodes, user_state: state.encode() };
    Ok(Input::Message { conn, channel: StreamKind::Gossip, bytes: sync.encode() })
}
