//! Forged peers: they introduce themselves, may answer as a member should, and
//! say whatever the fuzzer draws.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use bytes::Bytes;
use funk_proto::id::{BootId, ClusterId, ConnId, LogIndex, RaftId, Term};
use funk_proto::state::set;
use funk_proto::wire::cluster::{
    BootName, Carried, Carry, Frame, FrameBody, Hello, MemberRecord, Refused, Release, UserEntry,
};
use funk_proto::wire::liveness::{Body, Grant, Header, Key, LAST_COUNTER, open, seal};
use funk_proto::wire::raft::{RaftKind, RaftMessage};
use funk_proto::{DatagramSocket, Input, Node, StreamKind, Timestamp};

use crate::fuzz::draw::{self, Near};

/// Peers that one story has.
pub(super) const PEERS: usize = 4;

/// What one peer knows.
#[derive(Debug, Default)]
struct Peer {
    conn: Option<ConnId>,
    /// The stream that the node dialled, and what it told there.
    dialled: Option<ConnId>,
    token: Option<Bytes>,
    key: Option<Key>,
    counter: u64,
    log: u64,
    log_term: u64,
    /// Appends and heartbeats that it has not answered.
    appends: Vec<RaftMessage>,
    beats: Vec<(u64, Term)>,
}

/// All peers, and the streams that they opened.
#[derive(Debug, Default)]
pub(super) struct Peers {
    peers: [Peer; PEERS],
    accepted: u64,
    owners: BTreeMap<ConnId, usize>,
    /// The node's id, boot and cluster, from its hellos.
    node: Option<(u64, u64, u64)>,
}

pub(super) fn address(host: usize, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(host).unwrap_or(u8::MAX)], port))
}

fn raft_id(peer: usize) -> u64 {
    peer as u64 + 2
}

fn boot(peer: usize) -> u64 {
    peer as u64 + 102
}

impl Peers {
    fn accept(&mut self, peer: usize) -> ConnId {
        self.accepted += 1;
        let conn = ConnId::accepted(self.accepted);
        self.owners.insert(conn, peer);
        conn
    }

    /// The peer's stream, a new one if it has none.
    fn stream(&mut self, peer: usize) -> ConnId {
        if let Some(conn) = self.peers[peer].conn {
            return conn;
        }
        let conn = self.accept(peer);
        self.peers[peer].conn = Some(conn);
        conn
    }

    /// A stream of this peer, or any number.
    pub(super) fn some_stream(&mut self, u: &mut Unstructured<'_>, peer: usize) -> Result<ConnId> {
        Ok(match u.int_in_range(0..=3_u8)? {
            0 => ConnId::dialled(u64::from(u8::arbitrary(u)? % 16)),
            1 => self.accept(peer),
            _ => self.stream(peer),
        })
    }

    /// A stream on which nobody spoke yet.
    pub(super) fn gossip_stream(&mut self) -> ConnId {
        self.accepted += 1;
        ConnId::accepted(self.accepted)
    }

    pub(super) fn closed(&mut self, conn: ConnId) {
        self.owners.remove(&conn);
        for peer in &mut self.peers {
            peer.conn.take_if(|own| *own == conn);
            peer.dialled.take_if(|own| *own == conn);
        }
    }

    fn hello(peer: usize) -> Hello {
        Hello {
            cluster_name: "fuzz".into(),
            cluster: 0,
            id: raft_id(peer),
            boot: boot(peer),
            name: format!("n{}", raft_id(peer)),
            raft: address(peer + 2, 2).to_string(),
            liveness: address(peer + 2, 3).to_string(),
            key: Bytes::from_static(&[9; 16]),
            oldest: 2,
            newest: 2,
            ..Hello::default()
        }
    }

    fn frame(&mut self, peer: usize, body: FrameBody) -> Input {
        Input::Message { conn: self.stream(peer), channel: StreamKind::Cluster, bytes: Frame::bytes(body) }
    }

    /// The peer's hello, on a stream of its own and on the one that the node dialled; it shows what it was told.
    pub(super) fn introduce(&mut self, peer: usize) -> Vec<Input> {
        let proofs = self.peers[peer].token.clone().into_iter().collect();
        let hello = FrameBody::Hello(Hello { proofs, ..Self::hello(peer) });
        let dialled = self.peers[peer].dialled;
        let answer = |conn| Input::Message { conn, channel: StreamKind::Cluster, bytes: Frame::bytes(hello.clone()) };
        let mut inputs: Vec<Input> = dialled.map(answer).into_iter().collect();
        inputs.extend([self.frame(peer, hello.clone()), self.frame(peer, hello)]);
        inputs
    }

    /// The node dials a peer.
    pub(super) fn dialled(&mut self, conn: ConnId, to: SocketAddr) {
        if let Some(peer) = (0..PEERS).find(|&peer| to == address(peer + 2, 2)) {
            self.peers[peer].dialled = Some(conn);
            self.owners.insert(conn, peer);
        }
    }

    fn record(peer: usize) -> MemberRecord {
        MemberRecord {
            id: raft_id(peer),
            boot: boot(peer),
            name: format!("n{}", raft_id(peer)),
            serf: address(peer + 2, 1).to_string(),
            raft: address(peer + 2, 2).to_string(),
            liveness: address(peer + 2, 3).to_string(),
            weight: 1,
            ..MemberRecord::default()
        }
    }

    pub(super) fn join(&mut self, peer: usize) -> Input {
        self.frame(peer, FrameBody::Join(Self::record(peer)))
    }

    /// The node said something on a stream.
    pub(super) fn hear(&mut self, conn: ConnId, bytes: &Bytes) {
        let Ok(body) = Frame::parse(bytes) else { return };
        if let FrameBody::Hello(hello) = &body {
            self.node = Some((hello.id, hello.boot, hello.cluster));
        }
        let Some(&peer) = self.owners.get(&conn) else { return };
        match body {
            FrameBody::Hello(hello) => {
                if !hello.token.is_empty() {
                    self.peers[peer].token = Some(hello.token);
                }
                if let Ok(key) = <[u8; 16]>::try_from(&hello.key[..]) {
                    self.peers[peer].key = Some(Key(key));
                }
            }
            FrameBody::Raft(message) => self.peers[peer].appends.push(message),
            _ => {}
        }
    }

    /// The node sent a datagram to the peer that it names.
    pub(super) fn hear_datagram(&mut self, bytes: &Bytes) {
        let Ok((header, Body::Heartbeat { term, .. })) = open(bytes, |_| Some(Key([9; 16]))) else { return };
        let peer = usize::try_from(header.to.get().saturating_sub(2)).unwrap_or(PEERS);
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.beats.push((header.counter, term));
        }
    }

    /// What a member that works would answer by now.
    pub(super) fn honest_answers(&mut self, peer: usize) -> Vec<Input> {
        let mut answers = Vec::new();
        for message in std::mem::take(&mut self.peers[peer].appends) {
            let knows = &mut self.peers[peer];
            let mut answer = RaftMessage { term: message.term, ..RaftMessage::default() };
            match message.kind() {
                RaftKind::Append => {
                    let fits = message.index <= knows.log;
                    answer.kind = RaftKind::AppendResponse.into();
                    if fits {
                        if let Some(entry) = message.entries.last() {
                            (knows.log, knows.log_term) = (knows.log.max(entry.index), entry.term);
                        }
                        answer.index = message.index + message.entries.len() as u64;
                    } else {
                        (answer.reject, answer.index) = (true, message.index);
                        (answer.reject_hint, answer.log_term) = (knows.log, knows.log_term);
                    }
                }
                RaftKind::Snapshot => {
                    let Some(chunk) = &message.snapshot else { continue };
                    let Some(meta) = chunk.meta.as_ref().filter(|_| chunk.last) else { continue };
                    (knows.log, knows.log_term) = (meta.index, meta.term);
                    (answer.kind, answer.index) = (RaftKind::AppendResponse.into(), meta.index);
                }
                RaftKind::Vote => answer.kind = RaftKind::VoteResponse.into(),
                RaftKind::PreVote => answer.kind = RaftKind::PreVoteResponse.into(),
                _ => continue,
            }
            answers.push(self.frame(peer, FrameBody::Raft(answer)));
        }
        for (echo, term) in std::mem::take(&mut self.peers[peer].beats) {
            let applied = LogIndex(self.peers[peer].log);
            answers.extend(self.datagram(
                peer,
                Timestamp::ZERO,
                Body::Ack { term, echo, applied, hash: 0, promise: None },
            ));
        }
        answers
    }

    fn datagram(&mut self, peer: usize, at: Timestamp, body: Body) -> Option<Input> {
        let (id, _, cluster) = self.node?;
        let key = self.peers[peer].key?;
        self.peers[peer].counter += 1;
        let header = Header {
            cluster: ClusterId::new(cluster)?,
            from: RaftId::new(raft_id(peer))?,
            boot: BootId::new(boot(peer))?,
            to: RaftId::new(id)?,
            counter: self.peers[peer].counter,
            at,
        };
        let (socket, from) = (DatagramSocket::Liveness, address(peer + 2, 3));
        Some(Input::Datagram { socket, from, bytes: seal(&key, &header, &body) })
    }

    fn near(&self, node: &Node) -> Near {
        let inside = node.inspect();
        Near { term: inside.term().0, last: inside.applied().0, commit: inside.commit().0 }
    }

    /// An authentic datagram with any content.
    pub(super) fn forged_datagram(&mut self, u: &mut Unstructured<'_>, peer: usize, node: &Node) -> Result<Input> {
        let near = self.near(node);
        let grant = |u: &mut Unstructured<'_>| -> Result<Grant> {
            let length = Duration::from_micros(u64::arbitrary(u)? >> u.int_in_range(0..=63)?);
            Ok(Grant { echo: draw::number(u, 8)?, length })
        };
        let body = match u.int_in_range(0..=3_u8)? {
            0 => Body::Grant(grant(u)?),
            1 => Body::Heartbeat {
                term: Term(draw::number(u, near.term)?),
                commit: LogIndex(draw::number(u, near.commit)?),
                lease: Duration::from_millis(u64::from(u16::arbitrary(u)?)),
                drift_ppm: u32::from(u16::arbitrary(u)?) * 4,
                grant: if u.ratio(1, 2)? { Some(grant(u)?) } else { None },
            },
            3 if u.ratio(1, 4)? => return self.forged_goodbye(u, peer),
            _ => {
                let newest = self.peers[peer].beats.last().map_or(0, |&(counter, _)| counter);
                Body::Ack {
                    term: Term(draw::number(u, near.term)?),
                    echo: draw::number(u, newest)?,
                    applied: LogIndex(draw::number(u, near.last)?),
                    hash: u64::from(u.ratio(1, 8)?),
                    promise: if u.ratio(1, 8)? { Some(Duration::from_millis(u16::arbitrary(u)?.into())) } else { None },
                }
            }
        };
        let (socket, from) = (DatagramSocket::Liveness, address(peer + 2, 3));
        let unknown = Input::Datagram { socket, from, bytes: Bytes::from_static(&[1; 60]) };
        let at = if u.ratio(1, 8)? { u64::arbitrary(u)? >> u.int_in_range(0..=63)? } else { 0 };
        Ok(self.datagram(peer, Timestamp::from_nanos(at), body).unwrap_or(unknown))
    }

    /// A goodbye of this peer, which may go on speaking after it, or of a boot that it never had.
    fn forged_goodbye(&mut self, u: &mut Unstructured<'_>, peer: usize) -> Result<Input> {
        let Some((key, (id, _, cluster))) = self.peers[peer].key.zip(self.node) else { return Ok(Input::Timeout) };
        let boot = boot(peer) + u64::from(u.int_in_range(0..=2_u8)?);
        let counter = if u.ratio(3, 4)? { LAST_COUNTER } else { draw::number(u, self.peers[peer].counter)?.max(1) };
        let ids = (ClusterId::new(cluster), RaftId::new(raft_id(peer)), BootId::new(boot), RaftId::new(id));
        let (Some(cluster), Some(from), Some(boot), Some(to)) = ids else { return Ok(Input::Timeout) };
        let header = Header { cluster, from, boot, to, counter, at: Timestamp::ZERO };
        let bytes = seal(&key, &header, &Body::Goodbye { reaped: u.arbitrary()? });
        Ok(Input::Datagram { socket: DatagramSocket::Liveness, from: address(peer + 2, 3), bytes })
    }

    /// A frame of any kind from an introduced peer.
    pub(super) fn forged_frame(&mut self, u: &mut Unstructured<'_>, peer: usize, node: &Node) -> Result<Input> {
        let near = self.near(node);
        let about = u.int_in_range(0..=PEERS - 1)?;
        let (own_id, own_boot, cluster) = self.node.unwrap_or((1, 1, 1));
        let own = u.ratio(1, 4)?;
        let name = if own {
            BootName { id: own_id, boot: own_boot }
        } else {
            BootName { id: raft_id(about), boot: boot(about) }
        };
        let entry = |u: &mut Unstructured<'_>| -> Result<UserEntry> {
            let (request, bytes, barrier) = (draw::number(u, 1)?, draw::small(u)?, u.ratio(1, 4)?);
            Ok(UserEntry { id: name.id, boot: name.boot, request, bytes, barrier })
        };
        let body = match u.int_in_range(0..=17_u8)? {
            0..=5 => FrameBody::Raft(draw::raft_message(u, near, &snapshot_body(node))?),
            6 => FrameBody::Hello(Hello {
                cluster: if u.ratio(3, 4)? { cluster } else { draw::number(u, cluster)? },
                boot: boot(about) + u64::from(u.int_in_range(0..=2_u8)?),
                newest: if own { 3 } else { 2 },
                oldest: if own { 3 } else { 0 },
                ..Self::hello(about)
            }),
            7 => FrameBody::Refused(Refused {
                reason: u.int_in_range(0..=8)?,
                name: "x".into(),
                cluster,
                boot: name.boot,
                generation: u.int_in_range(0..=3)?,
                oldest: u32::try_from(about).unwrap_or(0),
                newest: 1,
                address: String::new(),
            }),
            8 => FrameBody::JoinRefused(Refused {
                reason: u.int_in_range(0..=5)?,
                name: "x".into(),
                cluster,
                boot: name.boot,
                ..Refused::default()
            }),
            9 => FrameBody::Leave(name),
            10 => FrameBody::Farewell(name),
            11 => {
                let change = draw::number(u, near.last)?;
                let shards = if u.ratio(1, 8)? {
                    draw::small(u)?
                } else {
                    let bits = u16::arbitrary(u)?;
                    let shards: Vec<_> = (0..16).filter(|n| bits >> n & 1 == 1).map(funk_proto::id::ShardId).collect();
                    set::encode(&shards)
                };
                FrameBody::Release(Release { id: name.id, boot: name.boot, change, shards })
            }
            12 | 13 => forged_carry(u, name.boot, near.last)?,
            14 => FrameBody::Propose(entry(u)?),
            15 => FrameBody::ProposeRefused(entry(u)?),
            kind => {
                let mut record = Self::record(about);
                record.weight = u32::from(u8::arbitrary(u)?);
                record.boot += u64::from(u.int_in_range(0..=2_u8)?);
                (record.never_votes, record.non_member) = (u.ratio(1, 8)?, u.ratio(1, 8)?);
                if u.ratio(1, 8)? {
                    record.name = "n1".into();
                }
                if kind == 16 { FrameBody::Join(record) } else { FrameBody::Update(record) }
            }
        };
        Ok(self.frame(peer, body))
    }
}

/// A snapshot that the node could have made, so that one reaches the state behind it.
fn snapshot_body(node: &Node) -> Bytes {
    crate::fuzz::shards::saved(node.inspect().applied().0)
}

/// A piece of a shard's state, or a receipt of one.
fn forged_carry(u: &mut Unstructured<'_>, boot: u64, near: u64) -> Result<FrameBody> {
    let (change, shard) = (draw::number(u, near)?, u.int_in_range(0..=16)?);
    if u.arbitrary()? {
        let (received, refused) = (draw::number(u, 5)?, u.ratio(1, 4)?);
        return Ok(FrameBody::Carried(Carried { change, boot, shard, received, refused }));
    }
    let (total, offset) = (draw::number(u, 4)?, u.int_in_range(0..=4)?);
    Ok(FrameBody::Carry(Carry { change, boot, shard, total, offset, bytes: draw::small(u)? }))
}
