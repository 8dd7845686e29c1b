//! Datagrams captured from real agents: they decode to what they say, and go
//! back to the same bytes.

#![allow(clippy::unwrap_used, reason = "helpers of a test fail as the test does")]

use std::net::SocketAddr;

use bytes::Bytes;
use funk_proto::wire::gossip::{
    Accusation, BadMessage, Compound, Coordinate, Filter, Packet, Query, QueryResponse, Relay, SerfMessage, Unpacked,
    UserEvent, decode_tags, unpack, with_crc,
};
use proptest::prelude::*;
use serde_json::{Value, json};

struct Captured {
    name: String,
    bytes: Bytes,
    label: Option<String>,
    packets: Vec<Value>,
}

fn captured() -> Vec<Captured> {
    let file: Value = serde_json::from_str(include_str!("data/gossip_packets.json")).unwrap();
    let message = |message: &Value| Captured {
        name: message["name"].as_str().unwrap().into(),
        bytes: unhex(message["hex"].as_str().unwrap()),
        label: message["label"].as_str().map(Into::into),
        packets: message["packets"].as_array().unwrap().clone(),
    };
    file["messages"].as_array().unwrap().iter().map(message).collect()
}

/// Those without a label, which this implementation does not take.
fn unlabelled() -> Vec<Captured> {
    captured().into_iter().filter(|c| c.label.is_none()).collect()
}

fn unhex(text: &str) -> Bytes {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn ip(address: SocketAddr) -> String {
    match address.ip() {
        std::net::IpAddr::V4(ip) => hex(&ip.octets()),
        std::net::IpAddr::V6(ip) => hex(&ip.octets()),
    }
}

fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A packet in the words of the captures.
fn shown(packet: &Packet) -> Value {
    let accusation = |kind: &str, a: &Accusation| json!({"ml": kind, "body": {"From": text(&a.from), "Incarnation": a.incarnation, "Node": text(&a.node)}});
    let with_source = |kind: &str, mut body: Value, source: &Option<SocketAddr>, node: &Bytes| {
        let source = source.unwrap();
        body["SourceAddr"] = ip(source).into();
        body["SourcePort"] = source.port().into();
        body["SourceNode"] = text(node).into();
        json!({"ml": kind, "body": body})
    };
    match packet {
        Packet::Ping { sequence, node, source, source_node } => {
            with_source("ping", json!({"SeqNo": sequence, "Node": text(node)}), source, source_node)
        }
        Packet::IndirectPing { sequence, target, node, nack, source, source_node } => {
            let body = json!({
                "SeqNo": sequence, "Node": text(node), "Nack": nack, "Target": ip(*target), "Port": target.port(),
            });
            with_source("indirectPing", body, source, source_node)
        }
        Packet::Ack { sequence, payload } => {
            let Coordinate { vec, error, height, adjustment } = Coordinate::decode(payload).unwrap().unwrap();
            let shown = |number: f64| format!("{number:e}");
            let vec = vec.map(shown);
            json!({
                "ml": "ackResp",
                "body": {"SeqNo": sequence, "Payload": hex(payload)},
                "coordinate": {"Adjustment": shown(adjustment), "Error": shown(error), "Height": shown(height), "Vec": vec},
            })
        }
        Packet::Nack { sequence } => json!({"ml": "nackResp", "body": {"SeqNo": sequence}}),
        Packet::Suspect(a) => accusation("suspect", a),
        Packet::Dead(a) => accusation("dead", a),
        Packet::Alive(alive) => json!({
            "ml": "alive",
            "body": {
                "Addr": ip(alive.addr), "Port": alive.addr.port(), "Incarnation": alive.incarnation,
                "Meta": hex(&alive.meta), "Node": text(&alive.node), "Vsn": hex(&alive.versions),
            },
            "tags": decode_tags(&alive.meta),
        }),
        Packet::User(message) => {
            let mut shown = shown_serf(&SerfMessage::decode(message).unwrap());
            shown["ml"] = "user".into();
            shown
        }
    }
}

fn shown_query(query: &Query) -> Value {
    let filter = |filter: &Filter| match filter {
        Filter::Nodes(names) => json!({"type": 0, "value": names.iter().map(text).collect::<Vec<_>>()}),
        Filter::Tag { tag, expression } => json!({"type": 1, "value": {"Expr": text(expression), "Tag": text(tag)}}),
        Filter::Other(_) => Value::Null,
    };
    json!({
        "Addr": ip(query.source), "Port": query.source.port(), "SourceNode": text(&query.source_node),
        "Filters": query.filters.iter().map(filter).collect::<Vec<_>>(), "Flags": query.flags, "ID": query.id,
        "LTime": query.time, "Name": text(&query.name), "Payload": hex(&query.payload),
        "RelayFactor": query.relay_factor, "Timeout": u64::try_from(query.timeout.as_nanos()).unwrap(),
    })
}

fn shown_serf(message: &SerfMessage) -> Value {
    let (kind, body) = match message {
        SerfMessage::Leave { time, node, prune } => {
            ("leave", json!({"LTime": time, "Node": text(node), "Prune": prune}))
        }
        SerfMessage::Join { time, node } => ("join", json!({"LTime": time, "Node": text(node)})),
        SerfMessage::UserEvent(UserEvent { time, name, payload, coalesce }) => {
            ("userEvent", json!({"LTime": time, "Name": text(name), "Payload": hex(payload), "CC": coalesce}))
        }
        SerfMessage::Query(query) => ("query", shown_query(query)),
        SerfMessage::QueryResponse(QueryResponse { time, id, from, flags, payload }) => (
            "queryResponse",
            json!({"LTime": time, "ID": id, "From": text(from), "Flags": flags, "Payload": hex(payload)}),
        ),
        SerfMessage::ConflictResponse(holder) => {
            let holder = holder.as_ref().unwrap();
            let [node_min, node_max, node_now, serf_min, serf_max, serf_now] = holder.versions;
            let tags: std::collections::BTreeMap<_, _> = holder.tags.iter().map(|(k, v)| (text(k), text(v))).collect();
            let body = json!({
                "Addr": ip(holder.addr), "Port": holder.addr.port(), "Name": text(&holder.name), "Tags": tags,
                "Status": holder.status, "ProtocolMin": node_min, "ProtocolMax": node_max, "ProtocolCur": node_now,
                "DelegateMin": serf_min, "DelegateMax": serf_max, "DelegateCur": serf_now,
            });
            ("conflictResponse", body)
        }
        SerfMessage::KeyRequest { key } => ("keyRequest", json!({"Key": hex(key)})),
        SerfMessage::KeyResponse(response) => (
            "keyResponse",
            json!({
                "Keys": response.keys.iter().map(text).collect::<Vec<_>>(), "Message": text(&response.message),
                "PrimaryKey": text(&response.primary_key), "Result": response.result,
            }),
        ),
        SerfMessage::Relay(Relay { dest, dest_name, message }) => {
            let address = json!({"IP": ip(*dest), "Port": dest.port(), "Zone": ""});
            let inner = shown_serf(&SerfMessage::decode(message).unwrap());
            let body = json!({"DestAddr": address, "DestName": text(dest_name)});
            return json!({"serf": "relay", "body": body, "inner": inner});
        }
    };
    json!({"serf": kind, "body": body})
}

#[test]
fn captured_datagrams_decode_to_what_they_say() {
    let captured = unlabelled();
    assert_eq!(captured.len(), 39);
    let mut payloads = 0;
    for Captured { name, bytes, packets, .. } in captured {
        let unpacked = unpack(&bytes);
        assert_eq!(unpacked.bad, [], "{name}");
        let mut shown: Vec<_> = unpacked.packets.iter().map(shown).collect();
        for (shown, said) in shown.iter_mut().zip(&packets) {
            if let Some(inner) = said.get("payload") {
                payloads += 1;
                let payload = unhex(said["body"]["Payload"].as_str().unwrap());
                let message = SerfMessage::decode(&payload).unwrap();
                assert_eq!(message.encode(), payload, "{name}");
                let payload = shown_serf(&message);
                assert_eq!(&payload, inner, "{name}");
                shown["payload"] = payload;
            }
        }
        assert_eq!(Value::from(shown), Value::from(packets), "{name}");
    }
    assert_eq!(payloads, 10);
}

#[test]
fn captured_datagrams_go_back_to_the_same_bytes() {
    for Captured { name, bytes, .. } in unlabelled() {
        if name.contains("compressed") || name == "v2_query" || name == "v2_relay" {
            // Nothing is sent compressed, and the newer codec writes some numbers in a signed form.
            continue;
        }
        let mut compound = Compound::new();
        for packet in unpack(&bytes).packets {
            let again = match &packet {
                Packet::User(message) => Packet::User(SerfMessage::decode(message).unwrap().encode()),
                Packet::Ack { sequence, payload } => {
                    let payload = Coordinate::decode(payload).unwrap().unwrap().encode();
                    Packet::Ack { sequence: *sequence, payload }
                }
                other => other.clone(),
            };
            assert_eq!(again, packet, "{name}");
            assert!(compound.push(again.encode()), "{name}");
        }
        let message = compound.finish().unwrap();
        let again = if bytes[0] == 0x0c { with_crc(&message) } else { message };
        assert_eq!(again, bytes, "{name}");
    }
}

#[test]
fn messages_of_the_newer_codec_are_written_in_the_older_form() {
    for (name, marker, older) in [("v2_query", 0xd2, 0xce), ("v2_relay", 0xd1, 0xcd)] {
        let Captured { bytes, .. } = captured().into_iter().find(|c| c.name == name).unwrap();
        let [Packet::User(message)] = &unpack(&bytes).packets[..] else { panic!("{name} is one Serf message") };
        let again = SerfMessage::decode(message).unwrap().encode();
        let expected: Vec<u8> = message
            .iter()
            .zip(&again)
            .map(|(&was, &is)| if was == marker && is == older { older } else { was })
            .collect();
        assert_eq!(again, expected);
        assert_ne!(again, message);
    }
}

#[test]
fn a_datagram_of_a_labelled_cluster_is_dropped_whole() {
    let Captured { bytes, packets, label, .. } = captured().into_iter().find(|c| c.label.is_some()).unwrap();
    assert_eq!(unpack(&bytes), Unpacked { packets: vec![], bad: vec![BadMessage::Type(0xf4)] });
    let inside = unpack(&bytes.slice(2 + label.unwrap().len()..));
    assert_eq!(inside.packets.iter().map(shown).collect::<Vec<_>>(), packets);
}

proptest! {
    #[test]
    fn captured_datagrams_with_flipped_bytes_never_panic(
        which in 0_usize..39,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = unlabelled().swap_remove(which).bytes.to_vec();
        if bytes[0] == 12 {
            bytes.drain(..5);
        }
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        for packet in unpack(&bytes.into()).packets {
            if let Packet::User(message) = &packet
                && let Ok(message) = SerfMessage::decode(message)
            {
                let _ = message.encode();
            }
            let _ = packet.encode();
        }
    }
}
