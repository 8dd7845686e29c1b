//! Numbers that nobody counts to: none of them uses up a clock or an incarnation, whichever message carries it.

use super::net::{Net, at, config};
use super::swim::{SECOND, ready};
use super::*;
use crate::wire::gossip::{Accusation, Alive, Query, SerfMessage, UserEvent};

const FAR: [u64; 6] = [1 << 33, 1 << 62, u64::MAX / 2, u64::MAX / 2 + 1, u64::MAX - 1, u64::MAX];
const HIGH: [u32; 5] = [u32::MAX / 2, u32::MAX / 2 + 1, u32::MAX - 17, u32::MAX - 1, u32::MAX];

fn say(net: &mut Net, ports: &[u16], packet: &Packet) {
    let now = net.now;
    for &port in ports {
        net.node(port).handle_datagram(now, at(9), &packet.encode());
    }
    net.settle();
}

/// What can be said of n2 with an incarnation.
fn lies(incarnation: u32) -> [Packet; 3] {
    let accusation = Accusation { incarnation, node: "n2".into(), from: "n3".into() };
    let meta = encode_tags(&[("x".to_owned(), "forged".to_owned())].into());
    let alive = Alive { incarnation, node: "n2".into(), addr: at(2), meta, versions: VERSIONS };
    [Packet::Suspect(accusation.clone()), Packet::Dead(accusation), Packet::Alive(alive)]
}

/// Whether everybody shows n2 alive, as it shows itself.
fn is_itself(net: &Net) -> bool {
    net.nodes.values().all(|node| {
        let seen = node.member("n2").unwrap();
        seen.status == GossipStatus::Alive
            && seen.tags.contains_key("ep.raft")
            && !node.table.get(b"n2").unwrap().gone()
    })
}

#[test]
fn a_member_outbids_what_is_said_of_it_with_any_incarnation() {
    for incarnation in HIGH {
        for (number, lie) in lies(incarnation).iter().enumerate() {
            for ports in [&[1, 2, 3, 4][..], &[1, 3], &[4]] {
                let mut net = ready(4, 41);
                for _ in 0..3 {
                    say(&mut net, ports, lie);
                    net.run(SECOND / 4);
                }
                net.run_until(SECOND * 60, is_itself);
                net.run_secs(30);
                assert!(is_itself(&net), "lie {number} with {incarnation} to {ports:?}");
                // A later life of it, which begins to count anew, is known as well.
                net.kill(2);
                net.run_secs(1);
                net.start(&config("n2", 2, &[1]));
                net.run_until(SECOND * 60, is_itself);
                let now = net.now;
                net.node(2).set_tag(now, "new", Some("1".into()));
                net.run_until(SECOND * 5, |net| {
                    net.nodes.values().all(|node| node.member("n2").unwrap().tags.contains_key("new"))
                });
            }
        }
    }
}

#[test]
fn a_member_outbids_what_push_pulls_say_of_it_with_any_incarnation() {
    for incarnation in HIGH {
        for state in [NodeState::Alive, NodeState::Suspect, NodeState::Dead, NodeState::Left] {
            let mut net = ready(3, 42);
            for port in [1, 3] {
                offer(&mut net, port, vec![record("n2", 2, incarnation, state)], Bytes::new()).unwrap();
            }
            net.run_until(SECOND * 60, is_itself);
        }
    }
}

#[test]
fn hundreds_of_lies_leave_room_for_as_many_answers() {
    let mut net = ready(3, 43);
    for _ in 0..300 {
        for lie in lies(u32::MAX) {
            say(&mut net, &[1, 3], &lie);
        }
    }
    let known = net.node(1).table.get(b"n2").unwrap().incarnation;
    assert!(known < u32::MAX / 2 + 100_000, "{known}");
    net.run_until(SECOND * 60, is_itself);
    // It still finds out that it is held for dead when a real suspicion is about a number that it left behind.
    let known = net.node(1).table.get(b"n2").unwrap().incarnation;
    let accusation = Accusation { incarnation: known, node: "n2".into(), from: "n1".into() };
    say(&mut net, &[1, 2, 3], &Packet::Suspect(accusation));
    net.run_secs(30);
    assert!(is_itself(&net));
}

#[test]
fn no_time_that_a_message_names_uses_up_a_clock() {
    for time in FAR {
        let mut net = ready(3, 44);
        let query = Query {
            time,
            id: 1,
            source: at(500),
            source_node: Bytes::new(),
            filters: Vec::new(),
            flags: Query::WANT_ACK,
            relay_factor: 0,
            timeout: SECOND,
            name: "x".into(),
            payload: Bytes::new(),
        };
        let event = UserEvent { time, name: "x".into(), payload: Bytes::new(), coalesce: false };
        for message in [
            SerfMessage::Join { time, node: "nobody".into() },
            SerfMessage::Join { time, node: "n2".into() },
            SerfMessage::Leave { time, node: "nobody".into(), prune: false },
            SerfMessage::Leave { time, node: "n2".into(), prune: false },
            SerfMessage::UserEvent(event.clone()),
            SerfMessage::Query(query.clone()),
        ] {
            say(&mut net, &[1, 2, 3], &Packet::User(message.encode()));
        }
        let clocks = SerfState { member_time: time, event_time: time, query_time: time, ..state(&[], &[]) };
        let times = state(&[("n2", time), ("n3", time), ("other", time)], &["n3", "other"]);
        for user_state in [clocks, times] {
            offer(&mut net, 1, vec![record("n3", 3, 1, NodeState::Alive)], user_state.encode()).unwrap();
        }
        let clocks = net.node(1).table.clocks();
        for told in [clocks.member_time, clocks.event_time, clocks.query_time] {
            assert!(told <= 20 << 32, "{told:#x} after {time:#x}");
        }
        assert!(net.node(1).counters().unusable > 0);
        // What is said at the time that is told is heard, and joins and leaves are understood.
        let counted = |net: &mut Net| (net.node(1).counters().user_events, net.node(1).counters().queries);
        let before = counted(&mut net);
        let event = UserEvent { time: clocks.event_time, ..event };
        let query = Query { time: clocks.query_time, id: 2, ..query };
        for message in [SerfMessage::UserEvent(event), SerfMessage::Query(query)] {
            say(&mut net, &[1], &Packet::User(message.encode()));
        }
        assert_eq!(counted(&mut net), (before.0 + 1, before.1 + 1), "after {time:#x}");
        net.run_until(SECOND * 60, |net| {
            net.all_show("n2", GossipStatus::Alive) && net.all_show("n3", GossipStatus::Alive)
        });
        let now = net.now;
        net.node(3).leave(now);
        net.settle();
        net.kill(3);
        net.run_until(SECOND * 5, |net| net.all_show("n3", GossipStatus::Left));
    }
}
