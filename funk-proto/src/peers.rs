//! Connections to the other nodes: who is behind which stream, where a node
//! is to be found, and under which key datagrams to it are sealed.
//!
//! Each side's first frame is its hello. A stream carries frames both ways;
//! to send, a node uses the stream that it dialled, else one that the peer
//! dialled, else it dials.

mod broken;
mod identity;
mod identity_check;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use broken::Broken;
use bytes::Bytes;
pub(crate) use identity::Identity;

use crate::error::{Misbehaviour, Refusal};
use crate::id::{BootId, ClusterId, ConnId, DialNumbers, Incarnation, RaftId};
use crate::io::{Channel, CloseReason};
use crate::limits::CLUSTER_STREAMS_MAX;
use crate::rng::Rng;
use crate::time::Timestamp;
use crate::version::Versions;
use crate::wire::cluster::{Frame, FrameBody, Hello, REASON_CLUSTER_ID, REASON_GENERATION, REASON_VERSION, Refused};
use crate::wire::liveness::Key;

/// First pause before a lost stream is dialled again; it doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// A stream that said no hello in this time is ended.
const HELLO_TIMEOUT: Duration = Duration::from_secs(2);
/// The same for a dial to where the peer is not any more, as was learnt meanwhile: it stands in the way of one to
/// where the peer is. It is not ended at once, for what is learnt may be wrong, and may change again and again.
const STRAY_TIMEOUT: Duration = Duration::from_millis(50);

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PeersOutput {
    Dial { conn: ConnId, to: SocketAddr, channel: Channel },
    Message { conn: ConnId, bytes: Bytes },
    Reply { conn: ConnId, bytes: Bytes },
    Close { conn: ConnId },
}

/// What the node must know of a peer's stream.
#[derive(Debug)]
pub(crate) enum PeerNews {
    /// The peer said hello.
    Introduced(RaftId),
    /// This side ended a stream to the peer, or another took its place: what was under way on it may be lost.
    Interrupted(RaftId),
    /// The last stream to the peer ended.
    Lost(RaftId),
    /// The streams of that boot broke, and where it listened a fresh dial is refused.
    Gone(Incarnation),
    /// The peer, or this node, refused the other.
    Refused { address: Option<SocketAddr>, refusal: Refusal },
}

#[derive(Debug, Default)]
struct Peer {
    raft: Option<SocketAddr>,
    /// The address in the member table, as it was when it was last looked at.
    listed: Option<SocketAddr>,
    liveness: Option<SocketAddr>,
    boot: Option<BootId>,
    key: Option<Key>,
    dialled: Option<ConnId>,
    accepted: Option<ConnId>,
    introduced: bool,
    retry_at: Timestamp,
    backoff: Duration,
    broken: Option<Broken>,
}

/// What a hello said of its sender.
#[derive(Clone, Copy, Debug)]
struct Said {
    boot: BootId,
    raft: SocketAddr,
    liveness: SocketAddr,
    key: Option<Key>,
    cluster: Option<ClusterId>,
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    peer: Option<RaftId>,
    /// The other side's last hello.
    said: Option<Said>,
    /// What the stream before it said, which this one puts to the test.
    doubted: Option<Said>,
    opened: Timestamp,
    /// What was dialled for it.
    to: Option<SocketAddr>,
}

/// The streams and addresses of all peers.
#[derive(Debug)]
pub(crate) struct Peers {
    pub(crate) identity: Identity,
    dials: DialNumbers,
    rng: Rng,
    peers: BTreeMap<RaftId, Peer>,
    streams: BTreeMap<ConnId, Stream>,
    wanted: BTreeSet<RaftId>,
    outputs: VecDeque<PeersOutput>,
    news: VecDeque<PeerNews>,
    /// Grows when datagrams to a peer go elsewhere, or under another key.
    routes_version: u64,
}

impl Peers {
    pub(crate) fn new(identity: Identity, dials: DialNumbers, rng: Rng) -> Self {
        Self {
            identity,
            dials,
            rng,
            peers: BTreeMap::new(),
            streams: BTreeMap::new(),
            wanted: BTreeSet::new(),
            outputs: VecDeque::new(),
            news: VecDeque::new(),
            routes_version: 0,
        }
    }

    pub(crate) fn poll_output(&mut self) -> Option<PeersOutput> {
        self.outputs.pop_front()
    }

    pub(crate) fn poll_news(&mut self) -> Option<PeerNews> {
        self.news.pop_front()
    }

    /// The key under which that boot of that peer seals its datagrams to us.
    pub(crate) fn incoming_key(&self, from: RaftId, boot: BootId) -> Key {
        Key::derive(&self.identity.secret, from, boot)
    }

    /// Where and under which key datagrams to a peer go; `None` before its hello.
    pub(crate) fn datagram_route(&self, to: RaftId) -> Option<(SocketAddr, Key)> {
        let peer = self.peers.get(&to)?;
        Some((peer.liveness?, peer.key?))
    }

    /// Where and under which key datagrams go to each peer that said hello.
    pub(crate) fn datagram_routes(&self) -> impl Iterator<Item = (RaftId, SocketAddr, Key)> {
        self.peers.iter().filter_map(|(&id, peer)| Some((id, peer.liveness?, peer.key?)))
    }

    /// Grows with each change of [`Peers::datagram_routes`].
    pub(crate) fn routes_version(&self) -> u64 {
        self.routes_version
    }

    /// Who is at the other end of a stream, if it is known.
    pub(crate) fn peer_of(&self, conn: ConnId) -> Option<RaftId> {
        self.streams.get(&conn)?.peer
    }

    /// The boot of the peer's last hello.
    pub(crate) fn boot(&self, id: RaftId) -> Option<BootId> {
        self.peers.get(&id)?.boot
    }

    /// Whether a stream to the peer stands and both sides said hello.
    pub(crate) fn is_connected(&self, id: RaftId) -> bool {
        self.peers.get(&id).is_some_and(|peer| peer.introduced)
    }

    /// The same, with that boot of the peer.
    pub(crate) fn is_connected_to(&self, peer: Incarnation) -> bool {
        self.is_connected(peer.id) && self.boot(peer.id) == Some(peer.boot)
    }

    /// An address that a table or tag gives; a hello's is fresher and replaces it.
    pub(crate) fn learn(&mut self, id: RaftId, raft: SocketAddr) {
        if id == self.identity.id {
            return;
        }
        let peer = self.peers.entry(id).or_default();
        if !peer.introduced && peer.raft != Some(raft) {
            peer.raft = Some(raft);
            (peer.retry_at, peer.backoff) = (Timestamp::ZERO, Duration::ZERO);
        }
    }

    /// Sees to a stream to that boot, which is there by its own word. Streams to a former boot stand in the way.
    pub(crate) fn call(&mut self, now: Timestamp, boot: Incarnation, raft: SocketAddr) {
        if self.is_connected_to(boot) {
            return;
        }
        let former = self.peers.get(&boot.id).filter(|peer| peer.introduced);
        let former: Vec<ConnId> = former.into_iter().flat_map(|peer| [peer.dialled, peer.accepted]).flatten().collect();
        former.into_iter().for_each(|conn| self.close(now, conn));
        self.learn(boot.id, raft);
        self.peers.entry(boot.id).or_default().retry_at = now;
        self.stream_to(now, boot.id);
    }

    /// The member table says where the peer is. A restarted peer may have moved
    /// since, so what gossip or the peer itself said is kept until the table changes.
    pub(crate) fn learn_listed(&mut self, id: RaftId, raft: SocketAddr) {
        if id != self.identity.id && self.peers.entry(id).or_default().listed.replace(raft) != Some(raft) {
            self.learn(id, raft);
        }
    }

    /// This node is in a cluster from now on. Streams from before may lead to
    /// nodes of another one: those known to are closed, and on the others this
    /// node says hello again, so that the far side can refuse.
    pub(crate) fn enter_cluster(&mut self, now: Timestamp, cluster: ClusterId) {
        self.identity.cluster = Some(cluster);
        self.routes_version += 1;
        let strange =
            |stream: &Stream| stream.said.and_then(|said| said.cluster).is_some_and(|theirs| theirs != cluster);
        let (strangers, rest): (Vec<_>, Vec<_>) = self.streams.iter().partition(|(_, stream)| strange(stream));
        let strangers: Vec<ConnId> = strangers.into_iter().map(|(&conn, _)| conn).collect();
        let rest: Vec<(ConnId, RaftId)> = rest
            .into_iter()
            .filter(|(_, stream)| stream.said.is_some())
            .filter_map(|(&conn, stream)| Some((conn, stream.peer?)))
            .collect();
        strangers.into_iter().for_each(|conn| self.close(now, conn));
        for (conn, id) in rest {
            let hello = self.hello(self.boot(id).map(|boot| (id, boot)));
            self.outputs.push_back(PeersOutput::Message { conn, bytes: hello });
        }
    }

    /// Ends all streams and dials anew: only who says hello again is there. A
    /// stream to a host that was cut off or lost its power may stand for minutes.
    pub(crate) fn probe_all(&mut self, now: Timestamp) {
        let conns: Vec<ConnId> = self.streams.keys().copied().collect();
        conns.into_iter().for_each(|conn| self.close(now, conn));
        for peer in self.peers.values_mut() {
            (peer.retry_at, peer.backoff) = (now, Duration::ZERO);
        }
        self.handle_timeout(now);
    }

    /// The peers to which a stream is kept up. Others' addresses are kept, their streams not renewed.
    pub(crate) fn set_wanted(&mut self, now: Timestamp, wanted: BTreeSet<RaftId>) {
        self.wanted = wanted;
        self.wanted.remove(&self.identity.id);
        self.handle_timeout(now);
    }

    /// Sends a frame, dialling if need be. False if there is no way to the peer now.
    pub(crate) fn send(&mut self, now: Timestamp, to: RaftId, body: FrameBody) -> bool {
        let Some(conn) = self.stream_to(now, to) else { return false };
        self.outputs.push_back(PeersOutput::Message { conn, bytes: Frame::bytes(body) });
        true
    }

    fn stream_to(&mut self, now: Timestamp, to: RaftId) -> Option<ConnId> {
        let peer = self.peers.get(&to)?;
        if let Some(conn) = self.standing(peer) {
            return Some(conn);
        }
        if now < peer.retry_at {
            return None;
        }
        Some(self.dial(now, to, peer.raft?))
    }

    fn dial(&mut self, now: Timestamp, to: RaftId, address: SocketAddr) -> ConnId {
        let conn = self.dials.next();
        self.peers.entry(to).or_default().dialled = Some(conn);
        self.streams.insert(conn, Stream { peer: Some(to), said: None, doubted: None, opened: now, to: Some(address) });
        self.outputs.push_back(PeersOutput::Dial { conn, to: address, channel: Channel::Cluster });
        let hello = self.hello(None);
        self.outputs.push_back(PeersOutput::Message { conn, bytes: hello });
        conn
    }

    /// Our hello. The key can be derived only for a boot that is known, so the
    /// dialler's first hello has none and it says a second one when it has
    /// heard the other's.
    fn hello(&self, peer: Option<(RaftId, BootId)>) -> Bytes {
        let key = peer.map(|(id, boot)| Bytes::copy_from_slice(&self.incoming_key(id, boot).0));
        let identity = &self.identity;
        Frame::bytes(FrameBody::Hello(Hello {
            cluster_name: identity.cluster_name.to_string(),
            cluster: identity.cluster.map_or(0, ClusterId::get),
            id: identity.id.get(),
            boot: identity.boot.get(),
            name: identity.name.to_string(),
            raft: identity.raft.to_string(),
            liveness: identity.liveness.to_string(),
            key: key.unwrap_or_default(),
            oldest: identity.versions.oldest,
            newest: identity.versions.newest,
        }))
    }

    /// Takes a frame in. Hellos are dealt with here; anything else comes back
    /// with its sender, if the sender has introduced itself.
    pub(crate) fn handle_frame(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        bytes: &Bytes,
    ) -> Result<Option<(RaftId, FrameBody)>, Misbehaviour> {
        if conn.is_accepted() && !self.streams.contains_key(&conn) {
            if self.streams.len() >= CLUSTER_STREAMS_MAX {
                self.outputs.push_back(PeersOutput::Close { conn });
                return Ok(None);
            }
            self.streams.insert(conn, Stream { peer: None, said: None, doubted: None, opened: now, to: None });
        }
        let result = match Frame::parse(bytes) {
            // Of a later version. The rest of what comes on the stream is understood.
            Err(Misbehaviour::UnknownKind) if self.streams.get(&conn).is_some_and(|stream| stream.said.is_some()) => {
                return Ok(None);
            }
            parsed => parsed.and_then(|body| self.handle_body(now, conn, body)),
        };
        if result.is_err() {
            self.close(now, conn);
        }
        result
    }

    fn handle_body(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        body: FrameBody,
    ) -> Result<Option<(RaftId, FrameBody)>, Misbehaviour> {
        let Some(stream) = self.streams.get(&conn) else { return Ok(None) };
        match (body, stream.peer.filter(|_| stream.said.is_some())) {
            (FrameBody::Hello(hello), _) => self.handle_hello(now, conn, &hello).map(|()| None),
            (FrameBody::Refused(refused), _) => {
                self.handle_refused(conn, &refused);
                self.close(now, conn);
                Ok(None)
            }
            (body, Some(peer)) => Ok(Some((peer, body))),
            (_, None) => Err(Misbehaviour::Unintroduced),
        }
    }

    fn handle_hello(&mut self, now: Timestamp, conn: ConnId, hello: &Hello) -> Result<(), Misbehaviour> {
        const WHAT: Misbehaviour = Misbehaviour::Malformed("hello");
        let id = RaftId::new(hello.id).filter(|&id| id != self.identity.id).ok_or(WHAT)?;
        let boot = BootId::new(hello.boot).ok_or(WHAT)?;
        let raft: SocketAddr = hello.raft.parse().map_err(|_| WHAT)?;
        let liveness: SocketAddr = hello.liveness.parse().map_err(|_| WHAT)?;
        let stream = self.streams.get(&conn).ok_or(WHAT)?;
        let (expected, again) = (stream.peer, stream.said.is_some());
        if let Some(refusal) = self.identity.refusal(hello) {
            let refused = self.identity.refused(&refusal);
            self.news.push_back(PeerNews::Refused { address: Some(raft), refusal });
            self.forget(conn);
            self.outputs.push_back(PeersOutput::Reply { conn, bytes: Frame::bytes(FrameBody::Refused(refused)) });
            return Ok(());
        }
        if conn.is_accepted() && again && expected != Some(id) {
            return Err(WHAT);
        }
        if !conn.is_accepted() && expected != Some(id) {
            // Another process listens where the peer was: whoever it is may introduce itself.
            self.close(now, conn);
            self.learn(id, raft);
            return Ok(());
        }
        let key = <[u8; 16]>::try_from(&hello.key[..]).ok().map(Key);
        self.introduce(now, conn, id, Said { boot, raft, liveness, key, cluster: ClusterId::new(hello.cluster) });
        // The dialler speaks first and without a key, the acceptor answers with
        // one, and the dialler then says hello again, with its own.
        if !again {
            let answer = self.hello(Some((id, boot)));
            self.outputs.push_back(PeersOutput::Message { conn, bytes: answer });
        }
        Ok(())
    }

    fn handle_refused(&mut self, conn: ConnId, refused: &Refused) {
        let address = self.streams.get(&conn).and_then(|stream| self.peers.get(&stream.peer?)?.raft);
        let refusal = match (refused.reason, self.identity.cluster, ClusterId::new(refused.cluster)) {
            (REASON_CLUSTER_ID, Some(ours), Some(theirs)) => Refusal::ClusterId { ours, theirs },
            (REASON_GENERATION, Some(former), Some(present)) => {
                Refusal::FormerGeneration { former, present, generation: refused.generation }
            }
            (REASON_VERSION, ..) => {
                let theirs = Versions::told(refused.oldest, refused.newest);
                Refusal::Version { ours: self.identity.versions, theirs }
            }
            _ => Refusal::ClusterName { theirs: refused.name.chars().take(64).collect() },
        };
        self.news.push_back(PeerNews::Refused { address, refusal });
    }

    /// A stream ended.
    pub(crate) fn handle_closed(&mut self, now: Timestamp, conn: ConnId, why: CloseReason) {
        let stream = self.streams.get(&conn).copied();
        let Some(id) = self.forget(conn) else { return };
        let low = self.peers.get(&id).map_or(BACKOFF_MIN, |peer| (peer.backoff * 2).clamp(BACKOFF_MIN, BACKOFF_MAX));
        let pause = self.rng.between(low / 2, low);
        let peer = self.peers.entry(id).or_default();
        (peer.backoff, peer.retry_at) = (low, now + pause);
        if peer.dialled.is_none() && peer.accepted.is_none() {
            peer.introduced = false;
            self.news.push_back(PeerNews::Lost(id));
            if let Some(stream) = stream {
                self.note_end(now, id, &stream, why);
            }
        }
    }

    fn close(&mut self, now: Timestamp, conn: ConnId) {
        if let Some(stream) = self.streams.get(&conn) {
            self.news.extend(stream.peer.map(PeerNews::Interrupted));
            self.outputs.push_back(PeersOutput::Close { conn });
            // By this side: that says nothing of the other.
            self.handle_closed(now, conn, CloseReason::Malformed);
        }
    }

    /// Until when the other side of a stream may still say its first hello.
    fn mute_until(&self, stream: &Stream) -> Option<Timestamp> {
        if stream.said.is_some() {
            return None;
        }
        let known = stream.peer.and_then(|id| self.peers.get(&id)?.raft);
        let stray = stream.to.zip(known).is_some_and(|(to, known)| to != known);
        Some(stream.opened + if stray { STRAY_TIMEOUT } else { HELLO_TIMEOUT })
    }

    /// Dials the wanted peers that have no stream, ends streams that never said hello.
    pub(crate) fn handle_timeout(&mut self, now: Timestamp) {
        let late = |stream: &Stream| self.mute_until(stream).is_some_and(|until| now >= until);
        let mute: Vec<ConnId> = self.streams.iter().filter(|(_, stream)| late(stream)).map(|(&conn, _)| conn).collect();
        for conn in mute {
            self.close(now, conn);
        }
        for id in self.wanted.clone() {
            self.stream_to(now, id);
        }
        self.probe_broken(now);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Timestamp> {
        let mute = self.streams.values().filter_map(|stream| self.mute_until(stream));
        let wanted = |&(id, peer): &(&RaftId, &Peer)| self.wanted.contains(id) || peer.is_open_question();
        let retries = self.peers.iter().filter(wanted).filter_map(|(_, peer)| {
            let idle = peer.dialled.is_none() && peer.accepted.is_none() && peer.raft.is_some();
            idle.then_some(peer.retry_at)
        });
        mute.chain(retries).min()
    }
}

#[cfg(test)]
mod tests;
