//! Gossip messages of any content return from their bytes.

use std::net::SocketAddr;

use bytes::Bytes;
use funk_proto::limits::{GOSSIP_QUERY_FILTERS_MAX, TAG_BYTES_MAX};
use funk_proto::wire::gossip::{
    Accusation, Alive, Compound, Coordinate, Filter, Packet, Query, QueryResponse, Relay, SerfMessage, Unpacked,
    UserEvent, VERSIONS, unpack, with_crc,
};
use proptest::prelude::*;

fn bytes(most: usize) -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..most).prop_map(Bytes::from)
}

fn address() -> impl Strategy<Value = SocketAddr> {
    let v4 = (1_u8..224, any::<[u8; 3]>()).prop_map(|(a, [b, c, d])| std::net::IpAddr::from([a, b, c, d]));
    let v6 = any::<[u16; 7]>().prop_map(|[b, c, d, e, f, g, h]| std::net::IpAddr::from([0x2001, b, c, d, e, f, g, h]));
    (prop_oneof![v4, v6], 1_u16..).prop_map(SocketAddr::from)
}

fn packet() -> impl Strategy<Value = Packet> {
    let accusation = || {
        (any::<u32>(), bytes(60), bytes(60)).prop_map(|(incarnation, node, from)| Accusation {
            incarnation,
            node,
            from,
        })
    };
    let name = prop::collection::vec(any::<u8>(), 1..60).prop_map(Bytes::from);
    prop_oneof![
        (any::<u32>(), bytes(60), prop::option::of(address()), bytes(60))
            .prop_map(|(sequence, node, source, source_node)| Packet::Ping { sequence, node, source, source_node }),
        (any::<u32>(), address(), bytes(60), any::<bool>(), prop::option::of(address()), bytes(60)).prop_map(
            |(sequence, target, node, nack, source, source_node)| {
                Packet::IndirectPing { sequence, target, node, nack, source, source_node }
            }
        ),
        (any::<u32>(), bytes(200)).prop_map(|(sequence, payload)| Packet::Ack { sequence, payload }),
        any::<u32>().prop_map(|sequence| Packet::Nack { sequence }),
        accusation().prop_map(Packet::Suspect),
        accusation().prop_map(Packet::Dead),
        (any::<u32>(), name, address(), bytes(TAG_BYTES_MAX)).prop_map(|(incarnation, node, addr, meta)| {
            Packet::Alive(Alive { incarnation, node, addr, meta, versions: VERSIONS })
        }),
        prop::collection::vec(any::<u8>(), 1..100).prop_map(|message| Packet::User(message.into())),
    ]
}

fn serf_message() -> impl Strategy<Value = SerfMessage> {
    let node = || prop::collection::vec(any::<u8>(), 1..60).prop_map(Bytes::from);
    let filter = prop_oneof![
        prop::collection::vec(bytes(20), 0..20).prop_map(Filter::Nodes),
        (bytes(40), bytes(40)).prop_map(|(tag, expression)| Filter::Tag { tag, expression }),
    ];
    let filters = prop::collection::vec(filter, 0..GOSSIP_QUERY_FILTERS_MAX);
    prop_oneof![
        (any::<u64>(), node(), any::<bool>()).prop_map(|(time, node, prune)| SerfMessage::Leave { time, node, prune }),
        (any::<u64>(), node()).prop_map(|(time, node)| SerfMessage::Join { time, node }),
        (any::<u64>(), bytes(60), bytes(600), any::<bool>()).prop_map(|(time, name, payload, coalesce)| {
            SerfMessage::UserEvent(UserEvent { time, name, payload, coalesce })
        }),
        (any::<(u64, u32, u32, u8)>(), 0_u64..1 << 62, address(), filters, bytes(60), bytes(600)).prop_map(
            |((time, id, flags, relay_factor), timeout, source, filters, name, payload)| {
                let timeout = std::time::Duration::from_nanos(timeout);
                let source_node = Bytes::from_static(b"n");
                SerfMessage::Query(Query {
                    time,
                    id,
                    flags,
                    relay_factor,
                    timeout,
                    source,
                    filters,
                    name,
                    payload,
                    source_node,
                })
            }
        ),
        (any::<u64>(), any::<u32>(), bytes(60), any::<u32>(), bytes(600)).prop_map(
            |(time, id, from, flags, payload)| {
                SerfMessage::QueryResponse(QueryResponse { time, id, from, flags, payload })
            }
        ),
        (address(), bytes(60), node())
            .prop_map(|(dest, dest_name, message)| { SerfMessage::Relay(Relay { dest, dest_name, message }) }),
    ]
}

proptest! {
    #[test]
    fn packets_return_from_their_bytes(packets in prop::collection::vec(packet(), 1..6), crc: bool) {
        let mut compound = Compound::new();
        let sent: Vec<_> = packets.into_iter().filter(|packet| compound.push(packet.encode())).collect();
        let Some(message) = compound.finish() else { return Ok(()) };
        let datagram = if crc { with_crc(&message) } else { message };
        prop_assert_eq!(unpack(&datagram), Unpacked { packets: sent, bad: vec![] });
    }

    #[test]
    fn serf_messages_return_from_their_bytes(message in serf_message()) {
        prop_assert_eq!(SerfMessage::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn random_bytes_never_panic(kind in 0_u8..14, noise: Vec<u8>) {
        let message = [&[kind], &noise[..]].concat();
        for packet in unpack(&with_crc(&message)).packets.into_iter().chain(unpack(&message.clone().into()).packets) {
            let _ = packet.encode();
        }
        if let Ok(read) = SerfMessage::decode(&message) {
            let _ = read.encode();
        }
        let _ = Coordinate::decode(&message);
    }
}
