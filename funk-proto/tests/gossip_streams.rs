//! Stream messages captured from real agents: they decode to what they say,
//! go back to the same bytes, and no split and no noise upsets the decoder.

#![allow(clippy::unwrap_used, reason = "helpers of a test fail as the test does")]

use bytes::Bytes;
use funk_proto::limits::GOSSIP_STREAM_BYTES_MAX;
use funk_proto::wire::gossip::{
    NodeState, Ping, PushPull, SerfState, StreamDecoder, decode_error, decode_tags, decompress, encode_ack,
    look_request, parse_members,
};
use proptest::prelude::*;
use serde_json::Value;

struct Captured {
    name: String,
    bytes: Bytes,
    label: Option<String>,
    decoded: Value,
}

/// Those without a label, which this implementation does not take.
fn captured() -> Vec<Captured> {
    all().into_iter().filter(|c| c.label.is_none()).collect()
}

fn all() -> Vec<Captured> {
    let file: Value = serde_json::from_str(include_str!("data/gossip_streams.json")).unwrap();
    let message = |message: &Value| Captured {
        name: message["name"].as_str().unwrap().into(),
        bytes: unhex(&message["hex"]),
        label: message["label"].as_str().map(Into::into),
        decoded: message["decoded"].clone(),
    };
    file["messages"].as_array().unwrap().iter().map(message).collect()
}

fn unhex(text: &Value) -> Bytes {
    let Some(text) = text.as_str() else { return Bytes::new() };
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn cut(pieces: impl Iterator<Item = Bytes>) -> Vec<Bytes> {
    let mut decoder = StreamDecoder::new();
    let mut messages = Vec::new();
    for piece in pieces {
        decoder.push(&piece);
        while let Some(message) = decoder.next().unwrap() {
            messages.push(message);
        }
    }
    messages
}

#[test]
fn a_stream_of_a_labelled_cluster_is_refused_and_holds_what_it_says() {
    let labelled: Vec<_> = all().into_iter().filter(|c| c.label.is_some()).collect();
    assert_eq!(labelled.len(), 2);
    for Captured { name, bytes, label, decoded } in labelled {
        let mut decoder = StreamDecoder::new();
        decoder.push(&bytes);
        assert!(decoder.next().is_err(), "{name}");
        let [inside] = &cut([bytes.slice(2 + label.unwrap().len()..)].into_iter())[..] else {
            panic!("{name} is one message")
        };
        if decoded["ml"] == "user" {
            assert!(inside.ends_with(&unhex(&decoded["payload_hex"])), "{name}");
            continue;
        }
        let message = PushPull::decode(inside).unwrap();
        let [record] = &message.nodes[..] else { panic!("{name} has one node") };
        let node = &decoded["nodes"][0];
        assert_eq!(message.join, decoded["header"]["Join"].as_bool().unwrap());
        assert_eq!(
            (text(&record.name), record.addr.clone()),
            (node["Name"].as_str().unwrap(), unhex(&node["Addr"]["hex"]))
        );
        assert_eq!(
            (u64::from(record.port), record.vsn.clone()),
            (node["Port"].as_u64().unwrap(), unhex(&node["Vsn"]["hex"]))
        );
    }
}

#[test]
fn captured_push_pulls_decode_to_what_they_say() {
    let mut seen = 0;
    for Captured { name, bytes, decoded, .. } in captured().iter().filter(|c| c.decoded["ml"] == "pushPull") {
        seen += 1;
        let message = PushPull::decode(&decompress(bytes).unwrap()).unwrap();
        assert_eq!(message.join, decoded["header"]["Join"].as_bool().unwrap(), "{name}");
        let nodes = decoded["nodes"].as_array().unwrap();
        assert_eq!(message.nodes.len(), nodes.len(), "{name}");
        for (record, node) in message.nodes.iter().zip(nodes) {
            assert_eq!(record.name, node["Name"].as_str().unwrap());
            assert_eq!(record.addr, unhex(&node["Addr"]["hex"]));
            assert_eq!(record.meta, unhex(&node["Meta"]["hex"]));
            assert_eq!(record.vsn, unhex(&node["Vsn"]["hex"]));
            assert_eq!(u64::from(record.port), node["Port"].as_u64().unwrap());
            assert_eq!(u64::from(record.incarnation), node["Incarnation"].as_u64().unwrap());
            assert_eq!(record.state == NodeState::Alive, node["State"] == 0);
            if let Some(tags) = node["Meta"]["decoded"]["tags"].as_object() {
                let read = decode_tags(&record.meta).unwrap();
                assert_eq!(read.len(), tags.len());
                assert!(tags.iter().all(|(name, value)| read[name] == value.as_str().unwrap()));
            }
        }
        let Some(said) = decoded["userState"]["body"].as_object() else { continue };
        let state = SerfState::decode(&message.user_state).unwrap();
        assert_eq!(state.member_time, said["LTime"].as_u64().unwrap());
        assert_eq!(state.event_time, said["EventLTime"].as_u64().unwrap());
        assert_eq!(state.query_time, said["QueryLTime"].as_u64().unwrap());
        let left: Vec<_> = state.left_members.iter().map(|name| std::str::from_utf8(name).unwrap()).collect();
        assert_eq!(Value::from(left), said["LeftMembers"]);
        assert_eq!(state.status_times.len(), said["StatusLTimes"].as_object().unwrap().len());
        for (member, time) in &state.status_times {
            assert_eq!(said["StatusLTimes"][std::str::from_utf8(member).unwrap()].as_u64(), Some(*time));
        }
    }
    assert_eq!(seen, 9);
}

#[test]
fn captured_push_pulls_go_back_to_the_same_bytes() {
    for Captured { name, bytes, .. } in captured().iter().filter(|c| c.decoded["ml"] == "pushPull") {
        let plain = decompress(bytes).unwrap();
        let mut message = PushPull::decode(&plain).unwrap();
        if !message.user_state.is_empty() {
            let again = SerfState::decode(&message.user_state).unwrap().encode();
            assert_eq!(again, message.user_state, "{name}");
            message.user_state = again;
        }
        let mut expected = plain.to_vec();
        if name.starts_with("v2_") {
            // The newer codec writes this one length in a signed form; the older, which we follow, does not.
            let at = expected.windows(2).position(|pair| pair == [0xd1, 0x02]).unwrap();
            expected[at] = 0xcd;
        }
        assert_eq!(message.encode(), expected, "{name}");
    }
}

#[test]
fn captured_pings_acks_and_errors_are_understood() {
    for Captured { bytes, decoded, .. } in captured() {
        let body = &decoded["body"];
        match decoded["ml"].as_str().unwrap() {
            "ping" => {
                let ping = Ping::decode(&bytes).unwrap();
                assert_eq!(u64::from(ping.sequence), body["SeqNo"].as_u64().unwrap());
                assert_eq!(ping.node, body["Node"].as_str().unwrap());
            }
            "ackResp" => assert_eq!(bytes, encode_ack(u32::try_from(body["SeqNo"].as_u64().unwrap()).unwrap())),
            "err" => assert_eq!(decode_error(&decompress(&bytes).unwrap()).unwrap(), body["Error"].as_str().unwrap()),
            _ => {}
        }
    }
}

#[test]
fn a_looker_reads_members_from_a_captured_answer() {
    let answer = captured().into_iter().find(|c| c.name == "pushpull_antientropy_response").unwrap();
    let members = parse_members(&answer.bytes).unwrap();
    let shown: Vec<_> = members.iter().map(|m| format!("{} {} {}", m.name, m.addr, m.status.as_str())).collect();
    let expected =
        ["n3 127.0.0.3:7946 left", "n4 127.0.0.4:7946 alive", "n1 127.0.0.1:7946 alive", "n2 127.0.0.2:7946 alive"];
    assert_eq!(shown, expected);
    assert_eq!(members[0].tags["idx"], "3");
    assert!(PushPull::decode(&look_request()).unwrap().nodes.is_empty());
}

#[test]
fn captured_streams_survive_every_cut_into_two_and_single_bytes() {
    let expected: Vec<_> = captured().into_iter().map(|c| c.bytes).collect();
    let wire = Bytes::from(expected.concat());
    for at in 0..wire.len() {
        assert_eq!(cut([wire.slice(..at), wire.slice(at..)].into_iter()), expected);
    }
    assert_eq!(cut((0..wire.len()).map(|at| wire.slice(at..=at))), expected);
}

#[test]
fn user_messages_end_where_their_header_says() {
    let wire = Bytes::from_static(b"\x08\x81\xaaUserMsgLen\x0f\x03hello reliable\x00\x81\xa5SeqNo\x07");
    let messages = cut([wire.clone()].into_iter());
    assert_eq!(messages, [wire.slice(..29), wire.slice(29..)]);
}

#[test]
fn streams_that_promise_too_much_are_refused_before_it_comes() {
    let nodes = b"\x06\x83\xa4Join\xc3\xa5Nodes\xce\x7f\xff\xff\xff\xacUserStateLen\x00";
    let state = b"\x06\x83\xa4Join\xc3\xa5Nodes\x00\xacUserStateLen\xce\x7f\xff\xff\xff";
    let raw = b"\x09\x82\xa4Algo\x00\xa3Buf\xdb\x7f\xff\xff\xff";
    let list = b"\x00\xdd\xff\xff\xff\xff";
    let negative = b"\x06\x83\xa4Join\xc3\xa5Nodes\xff\xacUserStateLen\x00";
    let unknown: [&[u8]; 3] = [b"\xf4", b"\x01", b"GET / HTTP/1.1"];
    let promises: [&[u8]; 5] = [nodes, state, raw, list, negative];
    for wire in promises.into_iter().chain(unknown) {
        let mut decoder = StreamDecoder::new();
        decoder.push(wire);
        let bad = decoder.next().unwrap_err();
        decoder.push(b"\x00\x80");
        assert_eq!(decoder.next(), Err(bad), "a lost stream stays lost");
    }
}

#[test]
fn a_stream_of_the_largest_size_in_small_pieces_takes_linear_work() {
    let body = GOSSIP_STREAM_BYTES_MAX - 64;
    let mut decoder = StreamDecoder::new();
    decoder.push(b"\x06\x83\xa4Join\xc3\xa5Nodes\x01\xacUserStateLen\x00\x81\xa4Meta\xdd");
    decoder.push(&u32::try_from(body).unwrap().to_be_bytes());
    let piece = [1; 64];
    for _ in 0..body / piece.len() {
        assert_eq!(decoder.next(), Ok(None));
        decoder.push(&piece);
    }
    decoder.push(&piece[..body % piece.len()]);
    assert!(decoder.next().unwrap().unwrap().len() > body);
}

proptest! {
    #[test]
    fn any_split_gives_the_same_messages(sizes in prop::collection::vec(1_usize..900, 1..40)) {
        let expected: Vec<_> = captured().into_iter().map(|c| c.bytes).collect();
        let mut rest = Bytes::from(expected.concat());
        let mut sizes = sizes.into_iter().cycle();
        let pieces = std::iter::from_fn(|| {
            let size = sizes.next().unwrap().min(rest.len());
            (size > 0).then(|| rest.split_to(size))
        });
        prop_assert_eq!(cut(pieces), expected);
    }

    #[test]
    fn random_bytes_never_panic(kind in prop::sample::select(vec![0_u8, 2, 6, 8, 9, 13]), noise: Vec<u8>) {
        let message: Bytes = [&[kind], &noise[..]].concat().into();
        let mut decoder = StreamDecoder::new();
        decoder.push(&message);
        while let Ok(Some(_)) = decoder.next() {}
        let plain = decompress(&message).unwrap_or(message);
        let _ = PushPull::decode(&plain);
        let _ = SerfState::decode(&plain);
        let _ = Ping::decode(&plain);
        let _ = decode_error(&plain);
        let _ = decode_tags(&plain);
        let _ = parse_members(&plain);
    }

    #[test]
    fn captured_messages_with_flipped_bytes_never_panic(which in 0_usize..12, flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = captured().swap_remove(which).bytes.to_vec();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let bytes = Bytes::from(bytes);
        let mut decoder = StreamDecoder::new();
        decoder.push(&bytes);
        while let Ok(Some(message)) = decoder.next() {
            if let Ok(push_pull) = decompress(&message).and_then(|plain| PushPull::decode(&plain)) {
                let _ = SerfState::decode(&push_pull.user_state);
            }
            let _ = parse_members(&message);
        }
    }
}
