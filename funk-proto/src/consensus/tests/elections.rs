use std::time::Duration;

use super::network::{Net, id, ids};
use crate::consensus::{ProposeRefused, RaftRole, Sender};
use crate::id::{LogIndex, Term};

/// Well before Raft's own timeout, which is a second.
const NO_FALLBACK: Duration = Duration::from_millis(900);

fn kill_leader(net: &mut Net) -> u64 {
    let leader = net.leader().unwrap();
    net.dead.insert(leader);
    let survivors: Vec<u64> = net.peers.keys().copied().filter(|n| !net.dead.contains(n)).collect();
    let unsuspected = ids(survivors.iter().copied());
    let now = net.now;
    for n in survivors {
        net.machine(n).forget_leader(now, &unsuspected);
        net.drain(n);
    }
    leader
}

#[test]
fn survivors_that_forget_a_dead_leader_elect_without_a_fallback_tick() {
    for (nodes, seed) in [(3, 10), (5, 11), (5, 12)] {
        let mut net = Net::voters(nodes, seed);
        net.propose("before");
        net.converge(1..=nodes);
        let (then, messages) = (net.now, net.messages_seen);
        let dead = kill_leader(&mut net);
        net.until("a new leader", |net| net.leader().is_some_and(|leader| leader != dead));
        assert!(net.now - then < Duration::from_millis(10), "{:?}", net.now - then);
        assert!(net.messages_seen - messages <= 40);
        net.propose("after");
        net.converge((1..=nodes).filter(|n| *n != dead));
    }
}

#[test]
fn a_survivor_that_campaigns_too_early_tries_again_and_wins() {
    let mut net = Net::voters(3, 13);
    net.converge(1..=3);
    net.dead.insert(1);
    let then = net.now;
    net.machine(2).forget_leader(then, &ids([2, 3]));
    net.drain(2);
    net.run(Duration::from_millis(60));
    assert_eq!(net.leader(), None, "node 3 still follows");
    let now = net.now;
    net.machine(3).forget_leader(now, &ids([2, 3]));
    net.drain(3);
    net.until("a new leader", |net| net.leader().is_some());
    assert!(net.now - then < NO_FALLBACK);
}

#[test]
fn of_two_that_ask_at_the_same_time_the_one_with_the_smaller_id_stands() {
    let mut net = Net::voters(3, 16);
    net.converge(1..=3);
    net.dead.insert(1);
    let (now, term) = (net.now, net.machine(2).term());
    // Each takes itself for the only one that is left: neither waits for the other.
    for n in [2, 3] {
        net.machine(n).forget_leader(now, &ids([n]));
        net.drain(n);
    }
    net.until("a new leader", |net| net.leader().is_some_and(|leader| leader != 1));
    assert_eq!((net.leader(), net.machine(2).term()), (Some(2), Term(term.0 + 1)));
}

#[test]
fn without_the_liveness_machine_the_fallback_elects() {
    let mut net = Net::voters(3, 14);
    net.converge(1..=3);
    net.dead.insert(1);
    net.until("a new leader", |net| net.leader().is_some());
    net.propose("after");
    net.converge([2, 3]);
}

#[test]
fn one_wrong_node_that_forgets_a_healthy_leader_deposes_nobody() {
    let mut net = Net::voters(3, 15);
    net.converge(1..=3);
    let term = net.machine(1).term();
    for _ in 0..20 {
        let now = net.now;
        net.machine(3).forget_leader(now, &ids([3]));
        net.machine(3).forget_leader(now, &ids([3]));
        net.drain(3);
        net.run(Duration::from_millis(50));
        assert_eq!((net.leader(), net.machine(3).leader()), (Some(1), Some(id(1))));
    }
    assert_eq!(net.machine(1).term(), term);
    net.propose("still here");
    net.converge(1..=3);
}

#[test]
fn a_leader_deposed_by_a_late_word_campaigns_when_nobody_else_can_win() {
    let mut net = Net::voters(3, 20);
    net.converge(1..=3);
    net.dead.extend([2, 3]);
    let now = net.now;
    net.machine(1).propose(now, "only here".into()).unwrap();
    net.drain(1);
    net.run(Duration::from_millis(20));
    net.dead.remove(&2);
    let (then, term) = (net.now, net.machine(1).term());
    net.machine(1).handle_heartbeat_ack(then, id(2), Term(term.0 + 1));
    assert_eq!(net.machine(1).role(), RaftRole::Follower);
    net.drain(1);
    net.run(Duration::from_millis(10));
    let now = net.now;
    net.machine(2).forget_leader(now, &ids([1, 2]));
    net.drain(2);
    net.until("a leader again", |net| net.leader().is_some());
    assert_eq!(net.leader(), Some(1), "the other's log is shorter");
    assert!(net.now - then < NO_FALLBACK, "{:?}", net.now - then);
}

#[test]
fn a_node_that_lost_leadership_twice_leaves_it_to_others_while_they_can() {
    let mut net = Net::voters(3, 21);
    for _ in 0..2 {
        net.propose("before");
        net.converge(1..=3);
        net.run(Duration::from_millis(20));
        let now = net.now;
        net.machine(1).resign(now);
        net.drain(1);
        net.run(Duration::from_millis(5));
        for n in [2, 3] {
            let now = net.now;
            net.machine(n).forget_leader(now, &ids([1, 2, 3]));
            net.drain(n);
        }
        net.until("another leader", |net| net.leader().is_some_and(|leader| leader != 1));
        let (now, leader) = (net.now, net.leader().unwrap());
        net.machine(leader).transfer_leader(now, id(1)).unwrap();
        net.drain(leader);
        net.until("the first again", |net| net.leader() == Some(1));
    }
    net.propose("after");
    net.converge(1..=3);
    net.run(Duration::from_millis(20));
    let now = net.now;
    net.machine(1).transfer_leader(now, id(2)).unwrap();
    net.drain(1);
    net.until("the second", |net| net.leader() == Some(2));
    net.run(Duration::from_millis(20));
    assert_eq!(kill_leader(&mut net), 2);
    net.until("a new leader", |net| net.leader().is_some_and(|leader| leader != 2));
    assert_eq!(net.leader(), Some(3), "the first comes before it in the order of ids");
    net.dead.remove(&2);
    let (now, then) = (net.now, net.now);
    net.machine(3).transfer_leader(now, id(1)).unwrap();
    net.drain(3);
    net.until("the first, when it is asked to", |net| net.leader() == Some(1));
    assert!(net.now - then < NO_FALLBACK);
}

#[test]
fn one_of_five_that_lost_leadership_twice_by_its_links_stands_back_too() {
    let mut net = Net::voters(5, 24);
    for _ in 0..2 {
        net.propose("before");
        net.converge(1..=5);
        net.run(Duration::from_millis(20));
        // Nobody hears it any more, and it hears nobody.
        assert_eq!(kill_leader(&mut net), 1);
        net.until("another leader", |net| net.leader().is_some_and(|leader| leader != 1));
        net.dead.remove(&1);
        net.propose("meanwhile");
        net.converge(1..=5);
        let (now, leader) = (net.now, net.leader().unwrap());
        net.machine(leader).transfer_leader(now, id(1)).unwrap();
        net.drain(leader);
        net.until("the first again", |net| net.leader() == Some(1));
    }
    let now = net.now;
    net.machine(1).transfer_leader(now, id(2)).unwrap();
    net.drain(1);
    net.until("the second", |net| net.leader() == Some(2));
    for next in [3, 4] {
        net.run(Duration::from_millis(20));
        kill_leader(&mut net);
        net.until("a new leader", |net| net.leader().is_some_and(|leader| !net.dead.contains(&leader)));
        assert_eq!(net.leader(), Some(next), "the first comes before it in the order of ids");
        // A quorum must be left for the next.
        net.dead.remove(&2);
    }
}

#[test]
fn leadership_moves_on_request() {
    let mut net = Net::voters(3, 16);
    net.propose("x");
    let now = net.now;
    assert!(matches!(net.machine(1).transfer_leader(now, id(1)), Err(ProposeRefused::Invalid(_))));
    assert!(matches!(net.machine(1).transfer_leader(now, id(9)), Err(ProposeRefused::Invalid(_))));
    net.machine(1).transfer_leader(now, id(3)).unwrap();
    assert_eq!(net.machine(1).transferring(), Some(id(3)));
    assert_eq!(net.machine(1).propose(now, "no".into()), Err(ProposeRefused::Transferring));
    net.drain(1);
    net.until("the successor", |net| net.leader() == Some(3));
    assert!(net.now - now < NO_FALLBACK);
    assert_eq!(net.machine(1).role(), RaftRole::Follower);
    net.change([2, 3], []);
    net.propose("y");
    net.converge([2, 3]);
}

#[test]
fn a_leader_without_a_quorum_steps_down() {
    let mut net = Net::voters(3, 17);
    net.dead.extend([2, 3]);
    net.until("the leader to give up", |net| net.leader().is_none());
}

#[test]
fn a_heartbeat_is_believed_of_the_leader_alone() {
    let mut net = Net::voters(3, 18);
    net.converge(1..=3);
    let (now, term) = (net.now, net.machine(1).term());
    let follower = net.machine(2);
    assert_eq!(follower.handle_heartbeat(now, id(1), term, LogIndex(u64::MAX)), Ok(true), "commit is cut");
    assert_eq!(follower.handle_heartbeat(now, id(1), Term(term.0 - 1), LogIndex(1)), Ok(false));
    assert!(follower.handle_heartbeat(now, id(3), term, LogIndex(1)).is_err(), "a second leader");
    assert!(follower.handle_heartbeat(now, id(9), Term(term.0 + 1), LogIndex(1)).is_err(), "a stranger");
    assert!(follower.handle_heartbeat(now, id(2), term, LogIndex(1)).is_err(), "itself");
    assert!(follower.handle_heartbeat(now, id(1), Term(u64::MAX), LogIndex(1)).is_err());
    let vouched = Sender { id: id(9), is_vouched: true };
    assert_eq!(follower.handle_heartbeat(now, vouched, Term(term.0 + 1), LogIndex(1)), Ok(true));
    assert_eq!(follower.leader(), Some(id(9)));
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let run = |seed| {
        let mut net = Net::voters(5, seed);
        for n in 0..50u8 {
            net.propose(vec![n]);
        }
        net.converge(1..=5);
        let first = kill_leader(&mut net);
        net.until("a new leader", |net| net.leader().is_some());
        net.propose("after");
        net.run(Duration::from_millis(300));
        // The second failover goes by Raft's own timeouts.
        let second = net.leader().unwrap();
        net.dead.insert(second);
        net.until("a third leader", |net| net.leader().is_some());
        net.propose("after");
        net.converge((1..=5).filter(|n| *n != first && *n != second));
        net.trace
    };
    let trace = run(19);
    assert!(trace == run(19));
    assert!(trace != run(20));
}
