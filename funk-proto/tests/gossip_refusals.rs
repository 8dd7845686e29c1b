//! What kills or confuses agents, or costs without end, is refused in parts.

#![allow(clippy::unwrap_used, reason = "helpers of a test fail as the test does")]

use bytes::Bytes;
use funk_proto::limits::{
    GOSSIP_COMPOUND_PARTS_MAX, GOSSIP_DATAGRAM_BYTES, GOSSIP_DATAGRAM_DECOMPRESSED_BYTES_MAX,
    GOSSIP_DATAGRAM_MESSAGES_MAX, GOSSIP_NAME_BYTES_MAX, GOSSIP_NESTING_MAX, GOSSIP_QUERY_FILTERS_MAX, TAG_BYTES_MAX,
};
use funk_proto::wire::gossip::{
    Alive, BadMessage, Compound, Coordinate, Filter, Packet, Query, SerfMessage, Unpacked, VERSIONS, unpack, with_crc,
};

fn nack(sequence: u32) -> Bytes {
    Packet::Nack { sequence }.encode()
}

fn compressed(message: &[u8]) -> Bytes {
    let packed = weezl::encode::Encoder::new(weezl::BitOrder::Lsb, 8).encode(message).unwrap();
    let length = u32::try_from(packed.len()).unwrap().to_be_bytes();
    [b"\x09\x82\xa4Algo\x00\xa3Buf\xdb", &length[..], &packed].concat().into()
}

fn compound(parts: &[Bytes]) -> Bytes {
    let mut out = vec![7, u8::try_from(parts.len()).unwrap()];
    parts.iter().for_each(|part| out.extend(u16::try_from(part.len()).unwrap().to_be_bytes()));
    parts.iter().for_each(|part| out.extend(part));
    out.into()
}

#[test]
fn one_bad_part_does_not_lose_the_others() {
    let parts =
        [nack(1), Bytes::from_static(b"\xff"), Bytes::new(), compressed(b"\x0b\xc1"), nack(2), compressed(&nack(3))];
    let unpacked = unpack(&with_crc(&compound(&parts)));
    let expected: Vec<_> = (1..=3).map(|sequence| Packet::Nack { sequence }).collect();
    assert_eq!(unpacked.packets, expected);
    assert_eq!(unpacked.bad.len(), 3);
}

#[test]
fn a_compound_cut_short_still_delivers_its_whole_parts() {
    let whole = compound(&[nack(1), nack(2)]);
    for cut in 0..whole.len() {
        let unpacked = unpack(&whole.slice(..cut));
        assert_eq!(unpacked.packets.len(), usize::from(cut >= whole.len() - nack(2).len()), "{cut}");
        assert_eq!(unpacked.bad.len(), 1, "{cut}");
    }
    assert_eq!(unpack(&Bytes::from_static(b"\x07\x00")), Unpacked::default());
}

#[test]
fn a_checksum_covers_all_and_stands_outermost_only() {
    let message = with_crc(&nack(7));
    assert_eq!(unpack(&message).packets, [Packet::Nack { sequence: 7 }]);
    for at in 1..message.len() {
        let mut wrong = message.to_vec();
        wrong[at] ^= 1;
        assert_eq!(unpack(&wrong.into()), Unpacked { packets: vec![], bad: vec![BadMessage::Checksum] });
    }
    for inside in [compound(std::slice::from_ref(&message)), compressed(&message), with_crc(&message)] {
        assert_eq!(unpack(&inside), Unpacked { packets: vec![], bad: vec![BadMessage::Type(12)] });
    }
    assert_eq!(unpack(&message.slice(..4)).bad.len(), 1);
}

#[test]
fn nesting_decompression_and_parts_are_bounded() {
    let nest = |layers: usize| (0..layers).fold(nack(1), |message, _| compressed(&message));
    assert_eq!(unpack(&nest(GOSSIP_NESTING_MAX)).packets.len(), 1);
    assert_eq!(unpack(&nest(GOSSIP_NESTING_MAX + 1)).bad, [BadMessage::Oversized("the nesting of a datagram")]);
    assert_eq!(unpack(&nest(40)).packets, []);

    let bomb = compressed(&vec![8; GOSSIP_DATAGRAM_DECOMPRESSED_BYTES_MAX + 1]);
    assert!(bomb.len() < 1_000);
    let unpacked = unpack(&compound(&[bomb.clone(), bomb.clone(), nack(1)]));
    assert_eq!((unpacked.packets.len(), unpacked.bad.len()), (1, 2));
    let large = compressed(&vec![8; GOSSIP_DATAGRAM_DECOMPRESSED_BYTES_MAX / 2 + 1]);
    let unpacked = unpack(&compound(&[large.clone(), large, nack(1)]));
    assert_eq!((unpacked.packets.len(), unpacked.bad.len()), (2, 1));

    let parts = vec![nack(1); 255];
    assert_eq!(unpack(&compound(&parts)).packets.len(), 255);
    let many = unpack(&compound(&vec![compound(&vec![nack(1); 20]); 100]));
    assert!((900..GOSSIP_DATAGRAM_MESSAGES_MAX).contains(&many.packets.len()));
    assert_eq!(many.bad, [BadMessage::Oversized("the messages of a datagram")]);
}

/// What is wrong with an alive message, and how it comes to be.
type Change = (&'static str, &'static dyn Fn(&mut Alive));

fn alive_with(change: impl Fn(&mut Alive)) -> Bytes {
    let mut alive = Alive {
        incarnation: 1,
        node: Bytes::from_static(b"n"),
        addr: ([127, 0, 0, 1], 7946).into(),
        meta: Bytes::from_static(b"\xff\x80"),
        versions: VERSIONS,
    };
    change(&mut alive);
    Packet::Alive(alive).encode()
}

/// An alive message whose version bytes are these.
fn alive_of_versions(vsn: &[u8]) -> Bytes {
    let whole = alive_with(|_| ());
    let head = [&whole[..whole.len() - 7], &[0xa0 | u8::try_from(vsn.len()).unwrap()], vsn].concat();
    head.into()
}

#[test]
fn version_bytes_that_end_or_confuse_agents_are_refused() {
    for vsn in [
        &[1, 5, 2][..],
        &[1],
        &[1, 5, 2, 2, 5],
        &[1, 5, 9, 2, 5, 5],
        &[3, 1, 2, 2, 5, 5],
        &[0; 6],
        &[255; 6],
        &[1, 5, 2, 0, 0, 0],
    ] {
        let unpacked = unpack(&alive_of_versions(vsn));
        assert_eq!(unpacked.bad, [BadMessage::Malformed("a node's versions")], "{vsn:?}");
    }
    assert_eq!(unpack(&alive_of_versions(&VERSIONS)).packets.len(), 1);
    let [Packet::Alive(filled)] = &unpack(&alive_of_versions(&[])).packets[..] else { panic!("an alive message") };
    assert_eq!(filled.versions, VERSIONS, "what a node does not say is filled in");
}

#[test]
fn alive_messages_that_no_table_should_hold_are_refused() {
    let changes: [Change; 5] = [
        ("no name", &|a| a.node = Bytes::new()),
        ("long name", &|a| a.node = vec![b'x'; GOSSIP_NAME_BYTES_MAX + 1].into()),
        ("long tags", &|a| a.meta = vec![0xff; TAG_BYTES_MAX + 1].into()),
        ("no host", &|a| a.addr = ([0, 0, 0, 0], 1).into()),
        ("multicast", &|a| a.addr = ([224, 0, 0, 1], 1).into()),
    ];
    for (what, change) in changes {
        assert_eq!(unpack(&alive_with(change)).bad.len(), 1, "{what}");
    }
    let mapped = alive_with(|a| a.addr = "[::ffff:10.0.0.1]:1".parse().unwrap());
    let [Packet::Alive(alive)] = &unpack(&mapped).packets[..] else { panic!("an alive message") };
    assert_eq!(alive.addr, "10.0.0.1:1".parse().unwrap());
}

#[test]
fn pings_without_a_source_or_with_a_wrong_one() {
    let [Packet::Ping { source, node, .. }] = &unpack(&Bytes::from_static(b"\x00\x81\xa5SeqNo\x05")).packets[..] else {
        panic!("a ping")
    };
    assert_eq!((source, node.len()), (&None, 0));
    let wrong = b"\x00\x83\xa5SeqNo\x05\xaaSourceAddr\xa3abc\xaaSourcePort\x07";
    assert_eq!(unpack(&Bytes::from_static(wrong)).bad, [BadMessage::Malformed("a ping's source")]);
    let no_port = b"\x00\x82\xa5SeqNo\x05\xaaSourceAddr\xa4abcd";
    assert_eq!(unpack(&Bytes::from_static(no_port)).packets.len(), 1);
    assert_eq!(unpack(&Bytes::from_static(b"\x00\x92\x07\xa1x")).packets.len(), 1, "a list is a struct too");
}

fn query() -> Query {
    Query {
        time: 1,
        id: 2,
        source: ([127, 0, 0, 1], 7946).into(),
        source_node: Bytes::from_static(b"n"),
        filters: vec![],
        flags: Query::WANT_ACK,
        relay_factor: 0,
        timeout: std::time::Duration::from_secs(2),
        name: Bytes::from_static(b"q"),
        payload: Bytes::new(),
    }
}

#[test]
fn filters_that_end_an_agent_are_refused_and_unknown_ones_kept() {
    let with = |filters| SerfMessage::decode(&SerfMessage::Query(Query { filters, ..query() }).encode());
    let other = |bytes: &'static [u8]| Filter::Other(Bytes::from_static(bytes));
    assert_eq!(with(vec![other(b"")]), Err(BadMessage::Malformed("an empty filter")));
    let many = vec![other(b"\x09"); GOSSIP_QUERY_FILTERS_MAX + 1];
    assert_eq!(with(many), Err(BadMessage::Oversized("a query's filters")));
    for kept in [other(b"\x09x"), other(b"\x00"), other(b"\x00\xdd\xff\xff\xff\xff"), other(b"\x01\xa1x")] {
        let Ok(SerfMessage::Query(query)) = with(vec![kept.clone()]) else { panic!("a query") };
        assert_eq!(query.filters, [kept]);
    }
}

#[test]
fn counts_that_promise_too_much_cost_nothing() {
    let promises: [&[u8]; 7] = [
        b"\x08\x04\x81\xa7Filters\xdd\xff\xff\xff\xff",
        b"\x08\x08\x81\xa4Keys\xdd\xff\xff\xff\xff",
        b"\x08\x06\x81\xa4Tags\xdf\xff\xff\xff\xff",
        b"\x04\xdf\xff\xff\xff\xff",
        b"\x04\x81\xa4Node\xdb\xff\xff\xff\xff",
        b"\x02\x81\xa7Payload\xdd\xff\xff\xff\xff",
        b"\x09\x82\xa4Algo\x00\xa3Buf\xdb\xff\xff\xff\xff",
    ];
    for promise in promises {
        let unpacked = unpack(&Bytes::from_static(promise));
        match &unpacked.packets[..] {
            [] => assert_eq!(unpacked.bad.len(), 1),
            [Packet::User(message)] => assert!(SerfMessage::decode(message).is_err()),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn coordinates_that_would_spoil_the_map_are_refused() {
    let home = Coordinate::default();
    assert_eq!(Coordinate::decode(&home.encode()), Ok(Some(home)));
    assert_eq!(Coordinate::decode(b""), Ok(None));
    assert_eq!(Coordinate::decode(b"\x02anything"), Ok(None));
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut vec = home.vec;
        vec[7] = number;
        for bad in [
            Coordinate { vec, ..home },
            Coordinate { error: number, ..home },
            Coordinate { height: number, ..home },
            Coordinate { adjustment: number, ..home },
        ] {
            assert_eq!(Coordinate::decode(&bad.encode()), Err(BadMessage::Malformed("a coordinate's number")));
        }
    }
    for bad in [&b"\x01\x81\xa3Vec\x90"[..], b"\x01\x80", b"\x01\xc0", b"\x01\x81\xa3Vec\xdd\xff\xff\xff\xff"] {
        assert!(Coordinate::decode(bad).is_err());
    }
}

#[test]
fn a_compound_fills_its_room_and_no_more() {
    let mut compound = Compound::new();
    assert!(compound.is_empty() && compound.clone().finish().is_none());
    assert!(compound.push(nack(1)));
    assert_eq!(compound.clone().finish().unwrap(), nack(1), "one message goes bare");
    let rest = compound.room();
    assert!(!compound.push(vec![8; rest + 1].into()) && compound.push(vec![8; rest].into()));
    assert_eq!(compound.room(), 0);
    assert_eq!(compound.finish().unwrap().len(), GOSSIP_DATAGRAM_BYTES);

    let mut compound = Compound::new();
    while compound.push(Bytes::from_static(b"\x0b\x80")) {}
    assert_eq!(unpack(&compound.finish().unwrap()).packets.len(), GOSSIP_COMPOUND_PARTS_MAX);

    let long: Bytes = vec![8; 3_000].into();
    let mut compound = Compound::with_first(long.clone());
    assert!(!compound.push(nack(1)));
    assert_eq!(compound.finish().unwrap(), long);
}
