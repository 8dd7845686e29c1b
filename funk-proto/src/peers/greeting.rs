//! Who a peer is. Any process can send a hello in another's name, so a hello alone proves nothing.
//!
//! A node dials a peer where it knows the peer to be, and trusts the process that answers there. The dialler's first
//! hello carries a token, which is sent to that address only. A process that presents the token on another stream has
//! been reached at that address. So each side dials the other once, and from then on both know who is at the other end
//! of either stream. Only then does a stream carry frames other than requests to join.
//!
//! Where the other side has shown a certificate, that tells who it is: see [`certified`](super::certified).

use std::net::SocketAddr;

use bytes::Bytes;

use super::stream::Said;
use super::token::Token;
use super::{Peer, PeerNews, Peers, PeersOutput, Standing};
use crate::error::Misbehaviour;
use crate::id::{BootId, ClusterId, ConnId, RaftId};
use crate::io::CloseReason;
use crate::limits::{CLAIMS_MAX, PEERS_KNOWN_MAX, TOKENS_SHOWN};
use crate::mutate::{Mutant, planted};
use crate::time::Timestamp;
use crate::wire::cluster::{Frame, FrameBody, Hello};
use crate::wire::liveness::Key;

impl Peer {
    /// The latest tokens that were heard from whoever claims to be this peer, and the one that proved to be its.
    fn tokens(&self) -> impl Iterator<Item = Token> {
        self.token.into_iter().chain(self.heard.iter().copied().filter(|&token| Some(token) != self.token))
    }

    fn hear(&mut self, token: Token) {
        self.heard.retain(|&known| known != token);
        self.heard.push_front(token);
        self.heard.truncate(TOKENS_SHOWN);
    }
}

impl Peers {
    /// Says hello on a stream, if there is anything that this node has not said on it.
    pub(super) fn greet(&mut self, conn: ConnId) {
        if !self.streams.contains_key(&conn) {
            return;
        }
        let key = self.hand_key(conn).map(|key| Bytes::copy_from_slice(&key.0));
        let stream = self.streams.get(&conn).expect("it was there");
        let dialled = stream.to.zip(stream.peer);
        let peer = stream.peer.and_then(|id| self.peers.get(&id));
        let proofs = dialled.and(peer).into_iter().flat_map(Peer::tokens);
        let token = dialled.map(|(to, id)| Token::derive(&self.identity.secret, id, to).bytes());
        let identity = &self.identity;
        let hello = Frame::bytes(FrameBody::Hello(Hello {
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
            token: token.unwrap_or_default(),
            proofs: proofs.map(Token::bytes).collect(),
        }));
        let stream = self.streams.get_mut(&conn).expect("it was there");
        if stream.hello.as_ref() != Some(&hello) {
            stream.hello = Some(hello.clone());
            self.outputs.push_back(PeersOutput::Message { conn, bytes: hello });
        }
    }

    pub(super) fn handle_hello(&mut self, now: Timestamp, conn: ConnId, hello: &Hello) -> Result<(), Misbehaviour> {
        const WHAT: Misbehaviour = Misbehaviour::Malformed("hello");
        let id = RaftId::new(hello.id).filter(|&id| id != self.identity.id).ok_or(WHAT)?;
        let boot = BootId::new(hello.boot).ok_or(WHAT)?;
        let raft: SocketAddr = hello.raft.parse().map_err(|_| WHAT)?;
        let liveness: SocketAddr = hello.liveness.parse().map_err(|_| WHAT)?;
        let stream = self.streams.get(&conn).ok_or(WHAT)?;
        if stream.said.is_some_and(|said| said.boot != boot || stream.peer != Some(id)) {
            return Err(WHAT);
        }
        let (expected, is_first) = (stream.peer, stream.said.is_none());
        self.check_certificate(now, conn, id, &hello.name)?;
        if let Some(refusal) = self.identity.refusal(hello) {
            let refused = self.identity.refused(&refusal);
            self.news.push_back(PeerNews::Refused { address: Some(raft), refusal });
            self.outputs.push_back(PeersOutput::Reply { conn, bytes: Frame::bytes(FrameBody::Refused(refused)) });
            // Ended by this side, which says nothing of the other.
            self.handle_closed(now, conn, CloseReason::Malformed);
            return Ok(());
        }
        if !conn.is_accepted() && expected != Some(id) {
            // Another process listens where the peer was: whoever it is may introduce itself.
            self.close(now, conn);
            return Ok(());
        }
        let key = <[u8; 16]>::try_from(&hello.key[..]).ok().map(|key| self.bound(conn, Key(key)));
        let said = Said { boot, raft, liveness, key, cluster: ClusterId::new(hello.cluster) };
        let has_room = self.peers.len() < PEERS_KNOWN_MAX;
        let peer = self.peers.entry(id).or_default();
        peer.streams.insert(conn);
        if self.identity.cluster.is_none() && conn.is_accepted() && peer.places.is_empty() && has_room {
            // A node that is in no cluster has nobody else to ask where the peer is.
            peer.places.call(raft);
        }
        let token = Token::parse(&hello.token).filter(|_| conn.is_accepted());
        token.into_iter().for_each(|token| peer.hear(token));
        let proven = if conn.is_accepted() { self.check_proofs(id, hello) } else { Vec::new() };
        let stream = self.streams.get_mut(&conn).expect("it was there");
        (stream.peer, stream.said, stream.token) = (Some(id), Some(said), token.or(stream.token));
        proven.into_iter().rev().for_each(|address| stream.prove(address));
        if is_first && !conn.is_accepted() {
            self.settle_dialled(now, id, conn, boot);
        }
        self.drop_surplus(now, id);
        self.review(id);
        self.doubt(now, id, boot);
        self.redial(now, id);
        if conn.is_accepted() {
            self.repeat_dials(now, id, raft);
        }
        Ok(())
    }

    /// At which addresses the sender of this hello was told what it shows, the most trustworthy first.
    fn check_proofs(&self, id: RaftId, hello: &Hello) -> Vec<SocketAddr> {
        let proofs: Vec<Token> = hello.proofs.iter().take(TOKENS_SHOWN + 1).filter_map(Token::parse).collect();
        let known = self.peers.get(&id).into_iter().flat_map(|peer| peer.places.addresses());
        let is_shown = |address: &SocketAddr| {
            let ours = Token::derive(&self.identity.secret, id, *address);
            planted(Mutant::ClaimBelieved) || proofs.iter().any(|&proof| proof.is(ours))
        };
        known.filter(is_shown).collect()
    }

    /// Somebody answered where the peer was dialled, so the next dial there need not wait; an accepted stream proves
    /// nothing about dials. A stream that led there before is of an earlier process, or enough.
    fn settle_dialled(&mut self, now: Timestamp, id: RaftId, conn: ConnId, boot: BootId) {
        let to = self.streams.get(&conn).and_then(|stream| stream.to);
        if let Some((peer, address)) = self.peers.get_mut(&id).zip(to) {
            peer.places.reached(address);
        }
        let same_place = |other: &ConnId| {
            let stream = self.streams.get(other);
            *other != conn && stream.is_some_and(|other| other.to == to && other.said.is_some())
        };
        let others: Vec<ConnId> = self.conns(id).filter(same_place).collect();
        for other in others {
            if self.said_boot(other) == Some(boot) {
                self.discard(now, conn);
            } else {
                self.close(now, other);
            }
        }
    }

    /// Only the latest of those that dialled this node as a peer are kept. One that has proven to be it is not ended by
    /// the next: the peer may only be looking whether this node is still there.
    fn drop_surplus(&mut self, now: Timestamp, id: RaftId) {
        let accepted = self.conns(id).filter(|conn| conn.is_accepted());
        let (claims, proven): (Vec<ConnId>, Vec<ConnId>) =
            accepted.partition(|&conn| self.standing(conn) == Standing::Claimed);
        for streams in [claims, proven] {
            let surplus = streams.len().saturating_sub(CLAIMS_MAX);
            streams.into_iter().take(surplus).for_each(|conn| self.close(now, conn));
        }
    }

    /// A hello of another boot than the one that was reached: the peer may have restarted, or a stranger lies. Whoever
    /// answers where the peer was reached is the peer.
    fn doubt(&mut self, now: Timestamp, id: RaftId, boot: BootId) {
        let is_other = |conn: &ConnId| self.said_boot(*conn).is_some_and(|said| said != boot);
        let reached_at = self.conns(id).filter(is_other).find_map(|conn| self.streams.get(&conn)?.to);
        if let Some(address) = reached_at {
            self.probe(now, id, address);
        }
    }

    /// How far the other side of a stream has proven who it is.
    pub(super) fn standing(&self, conn: ConnId) -> Standing {
        let Some((stream, peer)) =
            self.streams.get(&conn).and_then(|stream| Some((stream, self.peers.get(&stream.peer?)?)))
        else {
            return Standing::Claimed;
        };
        let (Some(at), Some(said)) = (peer.places.reached_at(stream), stream.said) else { return Standing::Claimed };
        // A token outlives the process that was told it: whoever is there now counts.
        let contradicts = |other: &ConnId| {
            let other = self.streams.get(other).filter(|other| other.to == Some(at));
            other.and_then(|other| other.said).is_some_and(|now| now.boot != said.boot)
        };
        if conn.is_accepted() && peer.streams.iter().any(contradicts) {
            return Standing::Claimed;
        }
        if stream.certified.is_some() { Standing::Confirmed } else { peer.places.standing(at) }
    }

    /// Whether frames may be sent on it: both sides know who the other is. A peer that gives its key knows this node.
    pub(super) fn is_usable(&self, conn: ConnId) -> bool {
        let is_known = conn.is_accepted()
            || self.streams.get(&conn).and_then(|stream| stream.said).is_some_and(|said| said.key.is_some());
        is_known && self.standing(conn) > Standing::Claimed
    }

    /// Brings what is believed of a peer in line with what its streams have proven.
    pub(super) fn review(&mut self, id: RaftId) {
        if !self.peers.contains_key(&id) {
            return;
        }
        let streams: Vec<ConnId> = self.conns(id).collect();
        let known = streams.iter().copied().filter(|&conn| self.standing(conn) > Standing::Claimed);
        let mut known: Vec<ConnId> = known.collect();
        known.sort_by_key(|&conn| std::cmp::Reverse(self.rank(conn)));
        let best = known.first().copied();
        let reached_at = best.and_then(|conn| self.peers[&id].places.reached_at(self.streams.get(&conn)?));
        let said = best.and_then(|conn| self.streams.get(&conn)?.said);
        let usable = known.iter().any(|&conn| self.is_usable(conn));
        if let Some((said, reached_at)) = said.zip(reached_at) {
            let of_boot = known.iter().filter_map(|conn| self.streams.get(conn)?.said);
            let key = of_boot.filter(|other| other.boot == said.boot).find_map(|other| other.key);
            self.believe(id, said, reached_at, key);
        }
        let proven =
            streams.iter().filter_map(|conn| self.streams.get(conn)).filter(|stream| !stream.proven.is_empty());
        let token = proven.filter(|_| best.is_some()).find_map(|stream| stream.token);
        streams.iter().for_each(|&conn| self.greet(conn));
        let peer = self.peers.get_mut(&id).expect("it was there");
        peer.token = token.or(peer.token);
        let before = std::mem::replace(&mut peer.met, said.map(|said| (said.boot, usable)));
        if peer.met.is_some() {
            peer.broken = None;
        }
        let was_usable = before.is_some_and(|(_, usable)| usable);
        let gained = |(boot, usable)| before.is_none_or(|(known, was_usable)| known != boot || usable && !was_usable);
        if peer.met.is_some_and(gained) {
            self.news.push_back(PeerNews::Introduced(id));
        }
        if was_usable && !usable {
            self.news.push_back(PeerNews::Lost(id));
        }
        if usable {
            self.flush(id);
        }
    }

    /// That is the peer. A key is of one boot, and goes with it.
    fn believe(&mut self, id: RaftId, said: Said, reached_at: SocketAddr, key: Option<Key>) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.reached_at = Some(reached_at);
        let kept = peer.key.filter(|_| peer.boot == Some(said.boot));
        let next = (Some(said.boot), Some(said.liveness), key.or(kept));
        if (peer.boot, peer.liveness, peer.key) != next {
            (peer.boot, peer.liveness, peer.key) = next;
            self.routes_version += 1;
        }
    }

    /// Streams by how much they are trusted, then those that this node dialled, then the latest.
    pub(super) fn rank(&self, conn: ConnId) -> (Standing, bool, ConnId) {
        (self.standing(conn), !conn.is_accepted(), conn)
    }
}
