//! Streams to the other nodes: who is behind which, where a node is to be found, and under which key datagrams to it
//! are sealed.
//!
//! Each side's first frame is its hello, and each side dials the other: see [`greeting`]. A stream carries frames both
//! ways.

mod broken;
mod certified;
mod dialling;
mod greeting;
mod identity;
mod keys;
mod places;
mod stream;
mod token;
mod tracked;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use broken::Broken;
use bytes::Bytes;
pub(crate) use identity::Identity;
use keys::Keys;
use places::Places;
pub(crate) use stream::Standing;
use stream::Stream;
use token::Token;
use tracked::Tracked;

use crate::error::{Misbehaviour, Refusal};
use crate::id::{BootId, ClusterId, ConnId, DialNumbers, Incarnation, NodeName, RaftId};
use crate::io::{CloseReason, StreamKind};
use crate::limits::{CLUSTER_STREAMS_MAX, FRAMES_WAITING_BYTES_MAX, FRAMES_WAITING_MAX, PEERS_KNOWN_MAX};
use crate::rng::Rng;
use crate::time::Timestamp;
use crate::version::Versions;
use crate::wire::cluster::{Frame, FrameBody, REASON_CLUSTER_ID, REASON_GENERATION, REASON_VERSION, Refused};
use crate::wire::liveness::Key;

/// First pause before a lost stream is dialled again; it doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// A stream whose other side has not said hello by then is ended. Two round trips at the longest distance that the timing
/// `wan` allows take 1.2 s. No longer, because a dial into a network that was cut hears nothing when the cut ends, and
/// the peer stays unknown until the dial is given up.
const HELLO_TIMEOUT: Duration = Duration::from_millis(1_500);
/// A dial that heard nothing for this long may have gone into a network that was cut: if the peer itself turns up, it is
/// dialled again beside it.
const MUTE_PATIENCE: Duration = Duration::from_millis(250);
/// Between two dials that others' words lead to.
const PROBE_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PeersOutput {
    Dial { conn: ConnId, to: SocketAddr, channel: StreamKind },
    Message { conn: ConnId, bytes: Bytes },
    Reply { conn: ConnId, bytes: Bytes },
    Close { conn: ConnId },
}

/// What the node must know of a peer's stream.
#[derive(Debug)]
pub(crate) enum PeerNews {
    /// The peer was reached, or from now on frames may be sent to it.
    Introduced(RaftId),
    /// This side ended a stream to the peer: what was under way on it may be lost.
    Interrupted(RaftId),
    /// No stream is left on which frames may be sent to the peer, or the dial for those that waited failed.
    Lost(RaftId),
    /// The streams of that boot broke, and where it listened a fresh dial is refused.
    Gone(Incarnation),
    /// The peer, or this node, refused the other.
    Refused { address: Option<SocketAddr>, refusal: Refusal },
}

#[derive(Debug, Default)]
struct Peer {
    places: Places,
    /// Those that lead to it, and those of which the other side claims to be it.
    streams: BTreeSet<ConnId>,
    /// The process that was reached last, at which address, where its datagrams go, and under which key.
    boot: Option<BootId>,
    reached_at: Option<SocketAddr>,
    liveness: Option<SocketAddr>,
    key: Option<Key>,
    /// Under which it may seal datagrams to this node, of streams with a certificate.
    handed: Keys,
    /// Its name in the member table.
    name: Option<NodeName>,
    /// Its boot while a stream stands, and whether frames may be sent on one.
    met: Option<(BootId, bool)>,
    /// What it told this node.
    token: Option<Token>,
    /// The same, from whoever claims to be it; the latest first.
    heard: VecDeque<Token>,
    /// It is not looked for again, on the word of whoever claims to be it, before the one; nor called before the other.
    probe_at: Timestamp,
    call_at: Timestamp,
    broken: Option<Broken>,
    /// Frames for the first stream that stands.
    waiting: VecDeque<Bytes>,
}

/// The streams and addresses of all peers.
#[derive(Debug)]
pub(crate) struct Peers {
    pub(crate) identity: Identity,
    dials: DialNumbers,
    rng: Rng,
    peers: Tracked<BTreeMap<RaftId, Peer>>,
    streams: Tracked<BTreeMap<ConnId, Stream>>,
    wanted: Tracked<BTreeSet<RaftId>>,
    /// The next deadline, computed from the three above.
    due: Cell<Option<Timestamp>>,
    outputs: VecDeque<PeersOutput>,
    news: VecDeque<PeerNews>,
    /// Grows when datagrams to a peer go elsewhere, or under another key.
    routes_version: u64,
    /// When it was said last that a peer is not whom its certificate names.
    warned: Option<Timestamp>,
}

impl Peers {
    pub(crate) fn new(identity: Identity, dials: DialNumbers, rng: Rng) -> Self {
        Self {
            identity,
            dials,
            rng,
            peers: Tracked::new(BTreeMap::new()),
            streams: Tracked::new(BTreeMap::new()),
            wanted: Tracked::new(BTreeSet::new()),
            due: Cell::new(None),
            outputs: VecDeque::new(),
            news: VecDeque::new(),
            routes_version: 0,
            warned: None,
        }
    }

    pub(crate) fn poll_output(&mut self) -> Option<PeersOutput> {
        self.outputs.pop_front()
    }

    pub(crate) fn poll_news(&mut self) -> Option<PeerNews> {
        self.news.pop_front()
    }

    /// Where and under which key datagrams to a peer go; `None` before it gave a key.
    pub(crate) fn datagram_route(&self, to: RaftId) -> Option<(SocketAddr, Key)> {
        let peer = self.peers.get(&to)?;
        Some((peer.liveness?, peer.key?))
    }

    /// Where and under which key datagrams go to each peer that gave a key.
    pub(crate) fn datagram_routes(&self) -> impl Iterator<Item = (RaftId, SocketAddr, Key)> {
        self.peers.iter().filter_map(|(&id, peer)| Some((id, peer.liveness?, peer.key?)))
    }

    /// Grows with each change of [`Peers::datagram_routes`].
    pub(crate) fn routes_version(&self) -> u64 {
        self.routes_version
    }

    /// Who is at the other end of a stream, if it has proven it.
    pub(crate) fn peer_of(&self, conn: ConnId) -> Option<RaftId> {
        self.streams.get(&conn)?.peer.filter(|_| self.standing(conn) > Standing::Claimed)
    }

    /// The process of that peer that was reached last.
    pub(crate) fn boot(&self, id: RaftId) -> Option<BootId> {
        self.peers.get(&id)?.boot
    }

    /// Where the peer was reached last.
    pub(crate) fn reached_at(&self, id: RaftId) -> Option<SocketAddr> {
        self.peers.get(&id)?.reached_at
    }

    /// Whether a stream to the peer stands on which both sides know who the other is.
    pub(crate) fn is_connected(&self, id: RaftId) -> bool {
        self.peers.get(&id).is_some_and(|peer| peer.met.is_some_and(|(_, usable)| usable))
    }

    /// The same, with that boot of the peer.
    pub(crate) fn is_connected_to(&self, peer: Incarnation) -> bool {
        self.stream_of(peer).is_some()
    }

    /// Whether a stream stands on which that very process was reached.
    pub(crate) fn is_reached(&self, peer: Incarnation) -> bool {
        self.conns(peer.id)
            .any(|conn| self.said_boot(conn) == Some(peer.boot) && self.standing(conn) > Standing::Claimed)
    }

    /// Whether the peer was reached where the member table says that it is.
    pub(crate) fn is_at_home(&self, id: RaftId) -> bool {
        self.conns(id).any(|conn| self.standing(conn) == Standing::Confirmed)
    }

    /// The streams that lead to a peer, and those of which the other side claims to be it.
    fn conns(&self, id: RaftId) -> impl Iterator<Item = ConnId> {
        self.peers.get(&id).into_iter().flat_map(|peer| peer.streams.iter().copied())
    }

    /// The boot that the other side of a stream said.
    fn said_boot(&self, conn: ConnId) -> Option<BootId> {
        Some(self.streams.get(&conn)?.said?.boot)
    }

    /// Gossip shows the peer at this address.
    pub(crate) fn learn(&mut self, now: Timestamp, id: RaftId, raft: SocketAddr) {
        if self.make_place(id) && self.peers.entry(id).or_default().places.show(raft) {
            self.handle_moved(now, id);
        }
    }

    /// Makes place for a peer, if it is not known: others decide how many there are. One that is neither listed nor in
    /// touch makes way for the next.
    fn make_place(&mut self, id: RaftId) -> bool {
        if id == self.identity.id {
            return false;
        }
        if self.peers.contains_key(&id) || self.peers.len() < PEERS_KNOWN_MAX {
            return true;
        }
        let is_idle = |id: &RaftId, peer: &Peer| {
            peer.streams.is_empty() && !peer.places.is_listed() && !self.is_sought(*id, peer)
        };
        let idle = self.peers.iter().find(|(id, peer)| is_idle(id, peer)).map(|(&id, _)| id);
        idle.is_some_and(|idle| self.peers.remove(&idle).is_some())
    }

    /// Somebody says that the peer is at this address, of which gossip and the member table know nothing.
    pub(crate) fn learn_another(&mut self, now: Timestamp, id: RaftId, raft: SocketAddr) {
        if self.make_place(id) && self.peers.entry(id).or_default().places.call(raft) {
            self.handle_moved(now, id);
        }
    }

    /// The member table says where the peer is.
    pub(crate) fn learn_listed(&mut self, now: Timestamp, id: RaftId, raft: SocketAddr) {
        if id != self.identity.id && self.peers.entry(id).or_default().places.list(raft) {
            self.handle_moved(now, id);
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
        let rest: Vec<ConnId> =
            rest.into_iter().filter(|(_, stream)| stream.said.is_some()).map(|(&conn, _)| conn).collect();
        strangers.into_iter().for_each(|conn| self.close(now, conn));
        rest.into_iter().for_each(|conn| self.greet(conn));
    }

    /// Ends all streams and dials anew: only who says hello again is there. A
    /// stream to a host that was cut off or lost its power may stand for minutes.
    pub(crate) fn probe_all(&mut self, now: Timestamp) {
        let conns: Vec<ConnId> = self.streams.keys().copied().collect();
        conns.into_iter().for_each(|conn| self.close(now, conn));
        self.peers.values_mut().for_each(|peer| peer.places.hurry(now));
        self.handle_timeout(now);
    }

    /// The peers to which a stream is kept up. Others' addresses are kept, their streams not renewed.
    pub(crate) fn set_wanted(&mut self, now: Timestamp, wanted: BTreeSet<RaftId>) {
        *self.wanted = wanted;
        self.wanted.remove(&self.identity.id);
        self.handle_timeout(now);
    }

    /// Sends a frame, dialling if need be. False if there is no way to the peer now. A request to join goes out at
    /// once; anything else waits until both sides know who the other is.
    pub(crate) fn send(&mut self, now: Timestamp, to: RaftId, body: FrameBody) -> bool {
        if let Some(conn) = self.best(to, |conn| self.is_usable(conn)) {
            self.outputs.push_back(PeersOutput::Message { conn, bytes: Frame::bytes(body) });
            return true;
        }
        self.reach(now, to);
        let Some(conn) = self.best(to, |conn| !conn.is_accepted()) else { return false };
        let is_join = matches!(body, FrameBody::Join(_));
        let bytes = Frame::bytes(body);
        if is_join {
            self.outputs.push_back(PeersOutput::Message { conn, bytes });
            return true;
        }
        let waiting = &mut self.peers.entry(to).or_default().waiting;
        let held: usize = waiting.iter().map(Bytes::len).sum();
        let has_room = waiting.len() < FRAMES_WAITING_MAX && held + bytes.len() <= FRAMES_WAITING_BYTES_MAX;
        if has_room {
            waiting.push_back(bytes);
        }
        has_room
    }

    /// Sends a frame to one process of a peer, if a stream to it stands; else as [`Peers::send`] does.
    pub(crate) fn send_to(&mut self, now: Timestamp, to: Incarnation, body: FrameBody) -> bool {
        if let Some(conn) = self.stream_of(to) {
            self.outputs.push_back(PeersOutput::Message { conn, bytes: Frame::bytes(body) });
            return true;
        }
        self.send(now, to.id, body)
    }

    /// Sends a frame on a stream whose other side has shown a certificate, if there is one.
    pub(crate) fn send_certified(&mut self, to: RaftId, body: FrameBody) {
        let fits = |conn| self.is_usable(conn) && self.certified_name(conn).is_some();
        if let Some(conn) = self.best(to, fits) {
            self.outputs.push_back(PeersOutput::Message { conn, bytes: Frame::bytes(body) });
        }
    }

    /// Sends a frame on the stream that carried the frame it answers.
    pub(crate) fn answer(&mut self, conn: ConnId, body: FrameBody) {
        if self.streams.contains_key(&conn) {
            self.outputs.push_back(PeersOutput::Message { conn, bytes: Frame::bytes(body) });
        }
    }

    /// The stream on which frames go to that process.
    fn stream_of(&self, to: Incarnation) -> Option<ConnId> {
        self.best(to.id, |conn| self.said_boot(conn) == Some(to.boot) && self.is_usable(conn))
    }

    fn best(&self, id: RaftId, fits: impl Fn(ConnId) -> bool) -> Option<ConnId> {
        self.conns(id).filter(|&conn| fits(conn)).max_by_key(|&conn| self.rank(conn))
    }

    /// What waited for a stream goes out.
    fn flush(&mut self, id: RaftId) {
        let Some(conn) = self.best(id, |conn| self.is_usable(conn)) else { return };
        let waiting = self.peers.get_mut(&id).map(|peer| std::mem::take(&mut peer.waiting)).unwrap_or_default();
        self.outputs.extend(waiting.into_iter().map(|bytes| PeersOutput::Message { conn, bytes }));
    }

    /// Takes a frame in. Hellos are dealt with here; anything else comes back with its sender, if the sender has
    /// introduced itself, and with how far it has proven who it is.
    pub(crate) fn handle_frame(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        bytes: &Bytes,
    ) -> Result<Option<(Incarnation, Standing, FrameBody)>, Misbehaviour> {
        if !self.accept(now, conn) {
            return Ok(None);
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

    /// Something came on a stream. If it is a new one, there must be room for it: false if it is closed instead.
    fn accept(&mut self, now: Timestamp, conn: ConnId) -> bool {
        if !conn.is_accepted() || self.streams.contains_key(&conn) {
            return true;
        }
        let has_room = self.make_room(now);
        if has_room {
            self.streams.insert(conn, Stream::accepted(now));
        } else {
            self.outputs.push_back(PeersOutput::Close { conn });
        }
        has_room
    }

    /// Room for one more stream: the oldest whose other side has proven nothing makes way.
    fn make_room(&mut self, now: Timestamp) -> bool {
        if self.streams.len() < CLUSTER_STREAMS_MAX {
            return true;
        }
        let claims = |conn: &&ConnId| conn.is_accepted() && self.standing(**conn) == Standing::Claimed;
        let oldest = self.streams.keys().find(claims).copied();
        oldest.into_iter().for_each(|conn| self.discard(now, conn));
        oldest.is_some()
    }

    fn handle_body(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        body: FrameBody,
    ) -> Result<Option<(Incarnation, Standing, FrameBody)>, Misbehaviour> {
        let Some(stream) = self.streams.get(&conn) else { return Ok(None) };
        let boot = stream.said.map(|said| said.boot);
        match (body, stream.peer.zip(boot)) {
            (FrameBody::Hello(hello), _) => self.handle_hello(now, conn, &hello).map(|()| None),
            (FrameBody::Refused(refused), _) => {
                self.handle_refused(conn, &refused);
                self.close(now, conn);
                Ok(None)
            }
            (body, Some((id, boot))) => Ok(Some((Incarnation { id, boot }, self.standing(conn), body))),
            (_, None) => Err(Misbehaviour::Unintroduced),
        }
    }

    fn handle_refused(&mut self, conn: ConnId, refused: &Refused) {
        let address = self.streams.get(&conn).and_then(|stream| stream.to.or(stream.proven.first().copied()));
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
        let was_known = self.peer_of(conn).is_some();
        if why == CloseReason::Untrusted {
            self.end_key(conn);
        }
        let Some((id, stream)) = self.forget(conn) else { return };
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if let Some(address) = stream.to {
            let since = if stream.said.is_none() { stream.opened } else { now };
            peer.places.back_off(now, since, address, &mut self.rng);
        }
        let is_dialled = |conn: &ConnId| !conn.is_accepted();
        if peer.met.is_none() && !peer.streams.iter().any(is_dialled) && !peer.waiting.is_empty() {
            peer.waiting.clear();
            self.news.push_back(PeerNews::Lost(id));
        }
        if peer.streams.is_empty() && peer.places.is_empty() {
            self.peers.remove(&id);
        }
        self.note_end(now, id, &stream, was_known, why);
    }

    /// Ends a stream, and tells that what is under way on it may be lost.
    fn close(&mut self, now: Timestamp, conn: ConnId) {
        self.news.extend(self.peer_of(conn).map(PeerNews::Interrupted));
        self.discard(now, conn);
    }

    /// Ends a stream on which nothing is under way.
    fn discard(&mut self, now: Timestamp, conn: ConnId) {
        if self.streams.contains_key(&conn) {
            self.outputs.push_back(PeersOutput::Close { conn });
            // By this side: that says nothing of the other.
            self.handle_closed(now, conn, CloseReason::Malformed);
        }
    }

    /// A stream is gone. Returns it, and whose it was by what its other side said.
    fn forget(&mut self, conn: ConnId) -> Option<(RaftId, Stream)> {
        let stream = self.streams.remove(&conn)?;
        let id = stream.peer?;
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.streams.remove(&conn);
            peer.handed.end(conn);
        }
        self.review(id);
        Some((id, stream))
    }
}

#[cfg(test)]
mod tests;
