//! Queries about keys, as an agent puts them.

use super::keys::{key, ring, sealed};
use super::net::{Net, at};
use super::*;
use crate::wire::gossip::{
    GossipKeys, KeyChange, KeyReport, KeyResponse, KeyWish, Keyring, Query, QueryResponse, SerfMessage, open_any,
    unpack,
};

/// A pool of so many nodes that have these keys.
fn pool(nodes: u16, keys: &[u8]) -> Net {
    let mut net = Net::new();
    for port in 1..=nodes {
        net.start(&sealed(&format!("n{port}"), port, &[1], ring(keys)));
    }
    net.run_secs(3);
    net
}

/// Puts a query to the first node, as whoever has these keys.
fn ask(net: &mut Net, keys: &[u8], id: u32, name: &'static str, payload: Bytes) {
    let query = Query {
        time: u64::from(id),
        id,
        source: at(500),
        source_node: "asker".into(),
        filters: Vec::new(),
        flags: 0,
        relay_factor: 0,
        timeout: Duration::from_secs(5),
        name: name.into(),
        payload,
    };
    let plain = Packet::User(SerfMessage::Query(query).encode()).encode();
    let nonce = [u8::try_from(id).unwrap(); 12];
    let bytes = gossip::seal(ring(keys).ring.primary(), nonce, &[], &plain);
    let now = net.now;
    net.carried.clear();
    net.node(1).handle_datagram(now, at(9), &bytes);
    net.run_secs(3);
}

fn ask_for(net: &mut Net, keys: &[u8], id: u32, name: &'static str, wanted: u8) {
    ask(net, keys, id, name, SerfMessage::KeyRequest { key: Bytes::copy_from_slice(key(wanted).as_bytes()) }.encode());
}

/// What was answered to the query of this number, by whom.
fn answers(net: &Net, keys: &[u8], id: u32) -> BTreeMap<String, KeyResponse> {
    let opened =
        net.carried.iter().map(|bytes| open_any(&ring(keys).ring, &[], bytes).unwrap_or_else(|| bytes.clone()));
    let messages = opened.flat_map(|plain| unpack(&plain).packets).filter_map(|packet| match packet {
        Packet::User(message) => SerfMessage::decode(&message).ok(),
        _ => None,
    });
    let of_it = messages.filter_map(|message| match message {
        SerfMessage::QueryResponse(QueryResponse { id: of, from, payload, .. }) if of == id => Some((from, payload)),
        _ => None,
    });
    let answer = |(from, payload): (Bytes, Bytes)| match SerfMessage::decode(&payload) {
        Ok(SerfMessage::KeyResponse(answer)) => (String::from_utf8(from.to_vec()).unwrap(), answer),
        other => panic!("{other:?}"),
    };
    of_it.map(answer).collect()
}

fn all_did(net: &Net, keys: &[u8], id: u32) {
    let answers = answers(net, keys, id);
    assert_eq!(answers.len(), net.nodes.len(), "{answers:?}");
    let done = KeyResponse { result: true, ..KeyResponse::default() };
    assert!(answers.values().all(|answer| *answer == done), "{answers:?}");
}

fn rings(net: &Net) -> Vec<Keyring> {
    net.nodes.values().map(|node| node.sealing.keys.as_ref().unwrap().ring.clone()).collect()
}

#[test]
fn a_key_is_rotated_by_three_queries_without_a_failure() {
    let mut net = pool(4, &[7]);
    let since = net.now;
    for (id, name, before, after) in [
        (1, "_serf_install-key", [7, 8], &[7, 8][..]),
        (2, "_serf_use-key", [7, 8], &[8, 7]),
        (3, "_serf_remove-key", [8, 7], &[8]),
    ] {
        ask_for(&mut net, &before, id, name, if id == 3 { 7 } else { 8 });
        all_did(&net, &[7, 8], id);
        assert_eq!(rings(&net), vec![ring(after).ring; 4]);
    }
    net.run_secs(30);
    assert!(net.agreed() && net.failures_since(since).is_empty(), "{:?}", net.failures_since(since));
    net.carried.clear();
    net.run_secs(3);
    assert!(net.carried.iter().all(|bytes| open_any(&ring(&[8]).ring, &[], bytes).is_some()));
    assert!(net.nodes.values().all(|node| node.counters().key_changes == 3));
}

#[test]
fn each_node_lists_its_keys_and_the_longest_list_fits_an_answer() {
    let keys: Vec<u8> = (1..=16).collect();
    let mut net = Net::new();
    let name = "n".repeat(crate::limits::NAME_BYTES_MAX);
    net.start(&sealed(&name, 1, &[], ring(&keys)));
    ask_for(&mut net, &keys, 1, "_serf_list-keys", 1);
    let answers = answers(&net, &keys, 1);
    let shown: Vec<Bytes> = keys.iter().map(|n| key(*n).to_base64().into()).collect();
    let expected =
        KeyResponse { result: true, keys: shown.clone(), primary_key: shown[0].clone(), message: Bytes::new() };
    assert_eq!(answers[&name], expected);
    let payload = SerfMessage::KeyResponse(expected).encode();
    let (time, id, flags) = (u64::MAX, u32::MAX, 0);
    let whole = SerfMessage::QueryResponse(QueryResponse { time, id, from: name.into(), flags, payload }).encode();
    assert!(whole.len() <= 1_024, "{} bytes", whole.len());
}

#[test]
fn a_change_that_cannot_be_made_or_kept_is_refused_with_the_reason() {
    let mut net = pool(1, &[7, 9]);
    for (id, name, wanted, said) in
        [(1, "_serf_use-key", 8, "not in the keyring"), (2, "_serf_remove-key", 7, "the key encrypts")]
    {
        ask_for(&mut net, &[7], id, name, wanted);
        let answer = answers(&net, &[7], id).remove("n1").unwrap();
        assert!(!answer.result && String::from_utf8_lossy(&answer.message).contains(said), "{answer:?}");
    }
    let short = SerfMessage::KeyRequest { key: Bytes::from_static(b"short") }.encode();
    for (id, payload, said) in [(3, short, "has 5"), (4, Bytes::new(), "no key"), (5, vec![1, 2].into(), "no key")] {
        ask(&mut net, &[7], id, "_serf_install-key", payload);
        let answer = answers(&net, &[7], id).remove("n1").unwrap();
        assert!(!answer.result && String::from_utf8_lossy(&answer.message).contains(said), "{answer:?}");
    }
    assert_eq!(rings(&net), [ring(&[7, 9]).ring]);
    net.kept = Err("the disk is full".into());
    ask_for(&mut net, &[7], 6, "_serf_install-key", 8);
    let refused = KeyResponse { message: "the disk is full".into(), ..KeyResponse::default() };
    assert_eq!(answers(&net, &[7], 6)["n1"], refused);
    ask_for(&mut net, &[7], 7, "_serf_unheard-of", 8);
    assert!(answers(&net, &[7], 7).is_empty());
}

/// Whoever listens hears no key, and whoever speaks in the clear changes none.
#[test]
fn no_key_comes_or_goes_while_gossip_may_be_in_the_clear() {
    for (verify_incoming, verify_outgoing) in [(false, true), (true, false), (false, false)] {
        let mut net = Net::new();
        let keys = GossipKeys { verify_incoming, verify_outgoing, ..ring(&[7]) };
        net.start(&sealed("n1", 1, &[], keys));
        for (id, name) in [(1, "_serf_list-keys"), (2, "_serf_install-key")] {
            ask_for(&mut net, &[7], id, name, 8);
            let answer = answers(&net, &[7], id).remove("n1").unwrap();
            assert!(!answer.result && answer.keys.is_empty() && answer.primary_key.is_empty(), "{answer:?}");
        }
        assert_eq!(rings(&net), [ring(&[7]).ring]);
    }
    let mut net = Net::new();
    net.start(&sealed("n1", 1, &[], None));
    let plain = SerfMessage::KeyRequest { key: Bytes::new() }.encode();
    let now = net.now;
    let query = Query {
        time: 1,
        id: 1,
        source: at(500),
        source_node: Bytes::new(),
        filters: Vec::new(),
        flags: 0,
        relay_factor: 0,
        timeout: Duration::ZERO,
        name: "_serf_list-keys".into(),
        payload: plain,
    };
    let bytes = Packet::User(SerfMessage::Query(query).encode()).encode();
    net.node(1).handle_datagram(now, at(9), &bytes);
    net.settle();
    let answer = answers(&net, &[7], 1).remove("n1").unwrap();
    assert_eq!(answer.message, "No keyring to modify (encryption not enabled)");
}

#[test]
fn a_change_is_answered_when_it_is_kept_and_so_many_wait() {
    let mut net = pool(1, &[7]);
    let query = |id: u32, n: u8| Query {
        time: 5,
        id,
        source: at(500),
        source_node: "asker".into(),
        filters: Vec::new(),
        flags: 0,
        relay_factor: 0,
        timeout: Duration::from_secs(5),
        name: "_serf_install-key".into(),
        payload: SerfMessage::KeyRequest { key: Bytes::copy_from_slice(key(n).as_bytes()) }.encode(),
    };
    let now = net.now;
    let node = net.node(1);
    let sent = |node: &mut Gossip| {
        std::iter::from_fn(|| node.poll_output())
            .filter(|output| matches!(output, GossipOutput::Datagram { .. }))
            .count()
    };
    for n in 0..crate::limits::GOSSIP_RINGS_KEPT_MAX {
        // The same key again and again: the ring has room.
        node.handle_key_query(&query(u32::try_from(n).unwrap(), 8));
    }
    assert_eq!(sent(node), 0);
    node.handle_key_query(&query(99, 8));
    assert_eq!(sent(node), 1, "refused");
    node.handle_ring_kept(now, Ok(()));
    node.handle_ring_kept(now, Ok(()));
    assert_eq!(sent(node), 2);
}

/// Asks through the node at `port`; what came of it.
fn wish(net: &mut Net, port: u16, wish: &KeyWish, wanted: &[(&'static str, u16)]) -> KeyReport {
    let now = net.now;
    let wanted = wanted.iter().map(|(name, port)| (Bytes::from_static(name.as_bytes()), at(*port))).collect();
    assert!(net.node(port).ask_keys(now, 7, wish, wanted, Duration::from_secs(5)));
    net.seen.clear();
    net.settle();
    net.run_until(Duration::from_secs(6), |net| report(net).is_some());
    report(net).unwrap()
}

fn report(net: &Net) -> Option<KeyReport> {
    net.seen.iter().find_map(|(_, output)| match output {
        GossipOutput::KeysAsked { number: 7, report } => Some(report.clone()),
        _ => None,
    })
}

fn rotate(net: &mut Net, from: u8, to: u8) -> [KeyReport; 3] {
    [KeyChange::Install(key(to)), KeyChange::Use(key(to)), KeyChange::Remove(key(from))]
        .map(|change| wish(net, 2, &KeyWish::Change(change), &[]))
}

#[test]
fn a_node_rotates_the_key_of_all_under_loss_and_nobody_fails() {
    let mut net = pool(5, &[7]);
    net.loss = 10;
    let since = net.now;
    for n in 7..12 {
        let reports = rotate(&mut net, n, n + 1);
        for report in reports {
            assert!(report.is_whole() && report.answers.len() == 5, "{report:?}");
        }
        assert_eq!(rings(&net), vec![ring(&[n + 1]).ring; 5]);
    }
    net.run_secs(60);
    assert!(net.failures_since(since).is_empty(), "{:?}", net.failures_since(since));
    assert!(net.agreed());
}

#[test]
fn whoever_does_not_answer_is_named_and_so_is_who_refuses() {
    let mut net = pool(4, &[7, 9]);
    net.deaf.insert(at(3));
    let now = net.now;
    net.node(4).sealing.keys.as_mut().unwrap().verify_incoming = false;
    let report = wish(&mut net, 1, &KeyWish::Change(KeyChange::Install(key(8))), &[("n9", 99)]);
    assert!(net.now - now >= Duration::from_secs(5));
    assert_eq!(report.missing, ["n3", "n9"]);
    assert_eq!(report.answers.len(), 3);
    let faults = report.faults();
    assert!(
        faults.contains("n4: gossip is not yet encrypted") && faults.ends_with("no answer from n3, n9"),
        "{faults}"
    );
    // What this node refuses itself is asked of nobody.
    let report = wish(&mut net, 1, &KeyWish::Change(KeyChange::Use(key(5))), &[]);
    assert_eq!((report.missing.len(), report.answers.len()), (0, 1));
    assert!(report.faults().starts_with("n1: the key is not in the keyring"), "{}", report.faults());
}

#[test]
fn the_keys_of_all_are_listed_that_which_encrypts_first() {
    let mut net = pool(3, &[7, 9]);
    let report = wish(&mut net, 1, &KeyWish::List, &[("n2", 2)]);
    assert!(report.is_whole() && report.answers.len() == 3);
    assert!(report.answers.iter().all(|answer| answer.keys == [key(7), key(9)]), "{report:?}");
    let plain = KeyReport { answers: vec![], missing: vec!["x".into()] };
    assert!(!plain.is_whole());
}

#[test]
fn more_questions_than_the_limit_are_refused() {
    let mut net = pool(2, &[7]);
    net.kill(2);
    let now = net.now;
    let mut ask = |number| net.node(1).ask_keys(now, number, &KeyWish::List, BTreeMap::new(), Duration::from_secs(9));
    let taken = (0..10).take_while(|number| ask(*number)).count();
    assert_eq!(taken, crate::limits::GOSSIP_KEY_ASKS_MAX);
    net.run_secs(10);
    let now = net.now;
    assert!(net.node(1).ask_keys(now, 11, &KeyWish::List, BTreeMap::new(), Duration::from_secs(9)));
}

/// Everything that was sent in a pool is sent again: after a rotation, and to a node that was started again.
#[test]
fn recorded_gossip_is_without_effect_after_a_rotation() {
    let mut net = pool(3, &[7]);
    net.carried.clear();
    net.run_secs(3);
    let reports = rotate(&mut net, 7, 8);
    assert!(reports.iter().all(KeyReport::is_whole));
    net.run_secs(3);
    let recorded = std::mem::take(&mut net.carried);
    assert!(recorded.len() > 20, "{}", recorded.len());
    let since = net.now;
    net.kill(3);
    net.start(&sealed("n3", 3, &[1], ring(&[8])));
    for bytes in &recorded {
        for port in 1..=3 {
            let now = net.now;
            net.node(port).handle_datagram(now, at(9), bytes);
        }
        net.settle();
    }
    assert_eq!(rings(&net), vec![ring(&[8]).ring; 3]);
    assert!(net.nodes.values().all(|node| node.counters().undecryptable > 0), "what has the old key is dropped");
    net.run_secs(30);
    assert!(net.agreed() && net.failures_since(since).is_empty(), "{:?}", net.failures_since(since));
}
