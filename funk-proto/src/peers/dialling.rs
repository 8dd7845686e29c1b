//! When a peer is dialled, and where.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::stream::Stream;
use super::{HELLO_TIMEOUT, MUTE_PATIENCE, PROBE_PAUSE, Peer, Peers, PeersOutput, Standing};
use crate::id::{ConnId, Incarnation, RaftId};
use crate::io::StreamKind;
use crate::time::Timestamp;

impl Peers {
    /// Sees to a stream to that boot, which is at this address by its own word.
    pub(crate) fn call(&mut self, now: Timestamp, boot: Incarnation, raft: SocketAddr) {
        if boot.id == self.identity.id || self.is_connected_to(boot) {
            return;
        }
        if !self.make_place(boot.id) {
            return;
        }
        let peer = self.peers.entry(boot.id).or_default();
        if now < peer.call_at {
            return;
        }
        peer.call_at = now + PROBE_PAUSE;
        peer.places.call(raft);
        self.look(now, boot.id, raft);
    }

    /// Dials an address on the word of whoever claims to be the peer.
    pub(super) fn probe(&mut self, now: Timestamp, id: RaftId, address: SocketAddr) {
        if let Some(peer) = self.peers.get_mut(&id).filter(|peer| now >= peer.probe_at) {
            peer.probe_at = now + PROBE_PAUSE;
            self.look(now, id, address);
        }
    }

    /// Dials an address though a stream to it may stand: who is there now?
    fn look(&mut self, now: Timestamp, id: RaftId, address: SocketAddr) {
        let is_fresh = |stream: &Stream| now < stream.opened + MUTE_PATIENCE;
        let is_mute = |stream: &Stream| stream.to == Some(address) && stream.said.is_none() && is_fresh(stream);
        let is_under_way = self.conns(id).any(|conn| self.streams.get(&conn).is_some_and(is_mute));
        if !is_under_way {
            self.dial(now, id, address);
        }
    }

    /// Somebody turned up as the peer, at this address by its own word, so the network may work again: a dial that has
    /// heard nothing for long is repeated, and one that waits for its time waits no longer.
    pub(super) fn repeat_dials(&mut self, now: Timestamp, id: RaftId, raft: SocketAddr) {
        let Some(peer) = self.peers.get(&id) else { return };
        let streams = || self.conns(id).filter_map(|conn| self.streams.get(&conn));
        let is_answered = |address| streams().any(|stream| stream.to == Some(address) && stream.said.is_some());
        let is_late = |stream: &&Stream| stream.said.is_none() && now >= stream.opened + MUTE_PATIENCE;
        let late = streams().filter(is_late).filter_map(|stream| stream.to).find(|&address| !is_answered(address));
        let waiting = || self.dials(peer).into_iter().map(|(address, _)| address);
        let address = late.or_else(|| waiting().find(|&address| address == raft)).or_else(|| waiting().next());
        address.into_iter().for_each(|address| self.probe(now, id, address));
    }

    /// There is news of where a peer is: what its streams have proven may count for more or less now.
    pub(super) fn handle_moved(&mut self, now: Timestamp, id: RaftId) {
        self.review(id);
        self.redial(now, id);
    }

    /// Whether a peer is dialled without a frame that is for it.
    pub(super) fn is_sought(&self, id: RaftId, peer: &Peer) -> bool {
        let claimed = |conn: &ConnId| conn.is_accepted() && self.standing(*conn) == Standing::Claimed;
        self.wanted.contains(&id) || !peer.waiting.is_empty() || peer.streams.iter().any(claimed)
    }

    /// The addresses at which a peer is to be dialled, and from when on.
    fn dials(&self, peer: &Peer) -> Vec<(SocketAddr, Timestamp)> {
        let streams = || peer.streams.iter().filter_map(|conn| self.streams.get(conn));
        let is_found = |stream: &Stream| {
            stream.said.is_some() && stream.to.is_some_and(|at| peer.places.standing(at) == Standing::Confirmed)
        };
        // Where it is listed comes first; who is found there need not be looked for elsewhere.
        if streams().any(is_found) {
            return Vec::new();
        }
        let is_open = |address: SocketAddr| streams().any(|stream| stream.to == Some(address));
        let mut seen = BTreeSet::new();
        let idle = peer.places.iter().filter(|place| seen.insert(place.address) && !is_open(place.address));
        idle.map(|place| (place.address, place.retry_at)).collect()
    }

    /// Dials a peer wherever it may be, if it is sought.
    pub(super) fn redial(&mut self, now: Timestamp, id: RaftId) {
        if self.peers.get(&id).is_some_and(|peer| self.is_sought(id, peer)) {
            self.reach(now, id);
        }
    }

    /// Dials a peer wherever it may be and is not dialled yet.
    pub(super) fn reach(&mut self, now: Timestamp, id: RaftId) {
        let Some(peer) = self.peers.get(&id) else { return };
        for (address, retry_at) in self.dials(peer) {
            if now >= retry_at {
                self.dial(now, id, address);
            }
        }
    }

    pub(super) fn dial(&mut self, now: Timestamp, to: RaftId, address: SocketAddr) {
        let conn = self.dials.next();
        self.peers.entry(to).or_default().streams.insert(conn);
        self.streams.insert(conn, Stream::dialled(now, to, address));
        self.outputs.push_back(PeersOutput::Dial { conn, to: address, channel: StreamKind::Cluster });
        self.greet(conn);
    }

    /// Until when the other side of a stream may still say its first hello.
    fn mute_until(stream: &Stream) -> Option<Timestamp> {
        stream.said.is_none().then_some(stream.ready + HELLO_TIMEOUT)
    }

    /// Dials the peers that are sought, ends streams that never said hello.
    pub(crate) fn handle_timeout(&mut self, now: Timestamp) {
        let late = |stream: &Stream| Self::mute_until(stream).is_some_and(|until| now >= until);
        let mute: Vec<ConnId> = self.streams.iter().filter(|(_, stream)| late(stream)).map(|(&conn, _)| conn).collect();
        for conn in mute {
            self.close(now, conn);
        }
        let sought: Vec<RaftId> = self.sought().map(|(id, _)| id).collect();
        for id in sought {
            self.reach(now, id);
        }
        self.probe_broken(now);
    }

    fn sought(&self) -> impl Iterator<Item = (RaftId, &Peer)> {
        self.peers.iter().filter(|(id, peer)| self.is_sought(**id, peer)).map(|(&id, peer)| (id, peer))
    }

    /// Called after every input, and computed anew only when a peer, a stream or the wanted set may have changed.
    pub(crate) fn poll_timeout(&self) -> Option<Timestamp> {
        let changed = [self.peers.take_changed(), self.streams.take_changed(), self.wanted.take_changed()];
        if changed.contains(&true) {
            self.due.set(self.next_due());
        }
        self.due.get()
    }

    fn next_due(&self) -> Option<Timestamp> {
        let mute = self.streams.values().filter_map(Self::mute_until);
        let retries = self.sought().flat_map(|(_, peer)| self.dials(peer)).map(|(_, retry_at)| retry_at);
        let questions = self.peers.values().filter_map(|peer| self.next_look(peer)).map(|(_, at)| at);
        mute.chain(retries).chain(questions).min()
    }
}
