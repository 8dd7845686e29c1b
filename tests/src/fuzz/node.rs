//! Sequences of inputs into a live node: it leads a cluster that it began, and
//! up to four forged peers talk to it over every channel. They hold the keys
//! that the node gave them, so nothing but the node's own checks protects it.

mod gossip;
mod peers;

use std::collections::VecDeque;
use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use bytes::Bytes;
use funk_proto::id::{LogIndex, NodeName, ShardId};
use funk_proto::{
    CloseReason, DatagramSocket, Input, Node, NodeConfig, Output, Recovered, Request, Seed, StreamKind, Timestamp,
    Token,
};
use peers::Peers;

use super::draw;

/// Inputs from one string of bytes.
const STEPS_MAX: usize = 400;
/// How long the peers behave, if they do at first: two leases and some.
const ROUNDS: usize = 14;
const ROUND: Duration = Duration::from_millis(40);
/// Outputs of one input: a snapshot to each of a few peers, and some.
const OUTPUTS_MAX: usize = 4_096;

/// The node and what the world owes it.
#[derive(Debug)]
struct Live {
    node: Node,
    now: Timestamp,
    writes: VecDeque<Token>,
    drains: VecDeque<(LogIndex, Vec<ShardId>)>,
    freezes: VecDeque<LogIndex>,
    wanted: VecDeque<(LogIndex, Vec<ShardId>)>,
    snapshots: VecDeque<LogIndex>,
    peers: Peers,
}

pub(super) fn inputs(data: &[u8]) {
    let mut u = Unstructured::new(data);
    // The end of the bytes is the end of the story.
    let _ = story(&mut u);
}

fn story(u: &mut Unstructured<'_>) -> Result<()> {
    let mut live = Live::new(u.int_in_range(0..=3)?);
    for _ in 0..STEPS_MAX {
        if u.is_empty() {
            break;
        }
        live.step(u)?;
    }
    let _ = live.node.status();
    Ok(())
}

impl Live {
    /// A node that leads alone, one that leads with one or two peers that
    /// answer as they should, or one that waits to be taken in.
    fn new(kind: u8) -> Self {
        let address = |port: u16| std::net::SocketAddr::from(([10, 0, 0, 1], port));
        let (name, cluster) = ("n1".parse().expect("legal"), "fuzz".parse().expect("legal"));
        let mut config = NodeConfig::new(name, cluster, address(1), address(2), address(3));
        (config.bootstrap, config.shards, config.hands_over_state) = (kind != 2, 16, true);
        let now = Timestamp::from_millis(1);
        let node = Node::new(config, Recovered::default(), Seed::from_u64(3), now).expect("legal");
        let (writes, drains, freezes, wanted, snapshots) = Default::default();
        let mut live = Self { node, now, writes, drains, freezes, wanted, snapshots, peers: Peers::default() };
        live.drain();
        for _ in 0..4 {
            live.tick(Duration::from_millis(1));
            live.settle();
        }
        match kind {
            1 => live.admit_honest_peers(1),
            3 => live.admit_honest_peers(2),
            _ => {}
        }
        live
    }

    /// Peers introduce themselves, join, and answer as they should for so long
    /// that two of them vote.
    fn admit_honest_peers(&mut self, count: usize) {
        for peer in 0..count {
            for message in self.peers.introduce(peer) {
                self.feed(message);
            }
            let join = self.peers.join(peer);
            self.feed(join);
            // The node has dialled it, to find out whether it can be let in.
            for message in self.peers.introduce(peer) {
                self.feed(message);
            }
        }
        for _ in 0..ROUNDS {
            self.settle();
            for peer in 0..count {
                for answer in self.peers.honest_answers(peer) {
                    self.feed(answer);
                }
            }
            self.settle();
            self.tick(ROUND);
        }
    }

    /// Time passes; timers fire when they are due, and then rest.
    fn tick(&mut self, length: Duration) {
        let end = self.now + length;
        for round in 0.. {
            let Some(due) = self.node.poll_timeout().filter(|&due| due <= end) else { break };
            assert!(round < 10_000, "the node finds no rest at {due}");
            self.now = self.now.max(due);
            self.feed(Input::Timeout);
        }
        self.now = end;
    }

    fn feed(&mut self, input: Input) {
        self.node.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        let mut count = 0;
        while let Some(output) = self.node.poll_output() {
            count += 1;
            assert!(count < OUTPUTS_MAX, "one input, and no end of outputs");
            match output {
                Output::Persist(persist) => self.writes.push_back(persist.token),
                Output::Drain { change, shards } => self.drains.push_back((change, shards)),
                Output::Freeze { change, .. } => self.freezes.push_back(change),
                Output::StateWanted { change, shards } => self.wanted.push_back((change, shards)),
                Output::SnapshotWanted { index } => self.snapshots.push_back(index),
                Output::Message { conn, bytes } | Output::Reply { conn, bytes } => self.peers.hear(conn, &bytes),
                Output::Datagram { socket: DatagramSocket::Liveness, bytes, .. } => self.peers.hear_datagram(&bytes),
                Output::Close { conn } => self.peers.closed(conn),
                Output::Dial { conn, to, channel: StreamKind::Cluster } => self.peers.dialled(conn, to),
                _ => {}
            }
        }
    }

    /// The world does its part: writes are stable, guards are gone.
    fn settle(&mut self) {
        while let Some(token) = self.writes.pop_front() {
            self.feed(Input::Persisted(token));
        }
        while let Some((change, shards)) = self.drains.pop_front() {
            self.feed(Input::Drained { change, shards });
        }
        while let Some(change) = self.freezes.pop_front() {
            self.feed(Input::Frozen { change, until: self.now });
        }
        while let Some((change, shards)) = self.wanted.pop_front() {
            for shard in shards {
                let state = (shard.0 % 2 == 0).then(|| "state".into());
                self.feed(Input::StateGiven { change, shard, state });
            }
        }
        if let Some(index) = self.snapshots.pop_front() {
            self.feed(Input::SnapshotTaken { index, state: "user".into() });
        }
    }

    fn step(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let peer = u.int_in_range(0..=peers::PEERS - 1)?;
        match u.int_in_range(0..=15_u8)? {
            0 | 1 => self.tick(Duration::from_micros(u64::from(u16::arbitrary(u)?) * 4)),
            2 | 3 => self.settle(),
            4 => {
                for message in self.peers.introduce(peer) {
                    self.feed(message);
                }
            }
            5 => {
                for answer in self.peers.honest_answers(peer) {
                    self.feed(answer);
                }
            }
            6 => {
                let join = self.peers.join(peer);
                self.feed(join);
            }
            7..=9 => {
                let frame = self.peers.forged_frame(u, peer, &self.node)?;
                self.feed(frame);
            }
            10..=12 => {
                let datagram = self.peers.forged_datagram(u, peer, &self.node)?;
                self.feed(datagram);
            }
            13 => {
                let datagram = u.ratio(1, 2)?;
                let gossip =
                    if datagram { gossip::packet(u, peer)? } else { gossip::sync(u, self.peers.gossip_stream())? };
                self.feed(gossip);
            }
            14 => self.ask(u)?,
            _ => self.rare(u, peer)?,
        }
        Ok(())
    }

    fn ask(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let request = match u.int_in_range(0..=7_u8)? {
            0..=3 => Request::Propose(draw::small(u)?),
            4 => Request::StepDown,
            5 => Request::SetEndpoint { name: "ep.fuzz".into(), address: Some(peers::address(1, 9)) },
            6 => Request::Join(vec![peers::address(2, 1)]),
            _ if u.ratio(1, 4)? => Request::Leave,
            _ => operation(u)?,
        };
        let _ = self.node.request(self.now, request);
        self.drain();
        Ok(())
    }

    fn rare(&mut self, u: &mut Unstructured<'_>, peer: usize) -> Result<()> {
        let input = match u.int_in_range(0..=7_u8)? {
            0 => Input::ClockGap { gap: Duration::from_micros(u64::from(u32::arbitrary(u)?)) },
            1 => Input::Unreachable { to: peers::address(peer + 2, 3) },
            2 => {
                let why = *u.choose(&[CloseReason::Ended, CloseReason::Reset, CloseReason::Refused])?;
                let conn = self.peers.some_stream(u, peer)?;
                self.peers.closed(conn);
                Input::Closed { conn, why }
            }
            3 if u.ratio(1, 2)? => {
                let until = self.now + Duration::from_millis(u64::from(u8::arbitrary(u)?));
                Input::Frozen { change: LogIndex(u64::from(u8::arbitrary(u)?)), until }
            }
            3 => Input::Drained { change: LogIndex(u64::from(u8::arbitrary(u)?)), shards: vec![ShardId(3)] },
            4 => Input::SnapshotTaken { index: LogIndex(u64::from(u8::arbitrary(u)?)), state: draw::small(u)? },
            5 => {
                let conn = self.peers.some_stream(u, peer)?;
                Input::Message { conn, channel: StreamKind::Cluster, bytes: draw::small(u)? }
            }
            6 => {
                let socket = *u.choose(&[DatagramSocket::Liveness, DatagramSocket::Gossip])?;
                Input::Datagram { socket, from: peers::address(peer + 2, 3), bytes: draw::small(u)? }
            }
            _ => Input::Message {
                conn: self.peers.gossip_stream(),
                channel: StreamKind::Gossip,
                bytes: Bytes::copy_from_slice(u.bytes(u.len().min(300))?),
            },
        };
        self.feed(input);
        Ok(())
    }
}

/// What an operator asks for, of members that exist and of others.
fn operation(u: &mut Unstructured<'_>) -> Result<Request> {
    let name = |u: &mut Unstructured<'_>| -> Result<NodeName> {
        let known = u.int_in_range(1..=peers::PEERS + 2)?;
        Ok(format!("n{known}").parse().expect("legal"))
    };
    Ok(match u.int_in_range(0..=4_u8)? {
        0 => Request::AddMember(name(u)?),
        1 => Request::RemoveMember(name(u)?),
        2 => Request::Drain(name(u)?),
        3 => {
            let (start, length) = (u32::from(u8::arbitrary(u)? % 24), u32::from(u8::arbitrary(u)? % 24));
            let node = if bool::arbitrary(u)? { Some(name(u)?) } else { None };
            Request::Pin { shards: start..start.saturating_add(length), node }
        }
        _ => Request::SetWeight(name(u)?, u32::arbitrary(u)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn honest_peers_are_taken_in_and_two_of_them_vote() {
        for (kind, members, voters) in [(0, 1, 1), (1, 2, 1), (3, 3, 3)] {
            let mut live = Live::new(kind);
            for _ in 0..5 {
                live.tick(Duration::from_millis(1));
                live.settle();
            }
            let status = live.node.status();
            let votes = status.members.iter().filter(|member| member.raft.as_str() == "Voter").count();
            assert_eq!((status.members.len(), votes), (members, voters), "{status:#?}");
        }
    }
}
