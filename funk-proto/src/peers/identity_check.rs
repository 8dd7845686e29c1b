//! Who a peer is, by what its streams said.
//!
//! Anybody can say a hello that names another. What was dialled is where the
//! peer is known to be, so its word counts for more than that of a stream that
//! was accepted. An accepted hello of another boot may be the peer's that has
//! restarted: it is believed, and where the former one was is dialled again;
//! whoever answers there is the peer.

use std::time::Duration;

use super::{Peer, PeerNews, Peers, PeersOutput, Said};
use crate::id::{ConnId, RaftId};
use crate::time::Timestamp;

impl Peer {
    /// Believes a hello. A key is of one boot, and goes with it.
    pub(super) fn believe(&mut self, said: Said) {
        if self.boot != Some(said.boot) {
            self.key = None;
        }
        (self.boot, self.raft, self.liveness) = (Some(said.boot), Some(said.raft), Some(said.liveness));
        self.key = said.key.or(self.key);
    }
}

impl Peers {
    /// The other side of a stream said who it is.
    pub(super) fn introduce(&mut self, now: Timestamp, conn: ConnId, id: RaftId, said: Said) {
        self.routes_version += 1;
        let (dialled, accepted) = self.peers.get(&id).map_or((None, None), |peer| (peer.dialled, peer.accepted));
        let (dialled, accepted) = (self.heard(dialled), self.heard(accepted));
        let peer = self.peers.entry(id).or_default();
        match dialled.filter(|_| conn.is_accepted()) {
            Some((_, before)) if before.boot == said.boot => peer.key = peer.key.or(said.key),
            _ => peer.believe(said),
        }
        (peer.backoff, peer.introduced, peer.broken) = (Duration::ZERO, true, None);
        let replaced = if conn.is_accepted() { peer.accepted.replace(conn) } else { peer.dialled.replace(conn) };
        let stream = self.streams.get_mut(&conn).expect("the caller looked it up");
        (stream.peer, stream.said) = (Some(id), Some(said));
        if let Some(old) = replaced.filter(|&old| old != conn) {
            self.streams.remove(&old);
            self.outputs.push_back(PeersOutput::Close { conn: old });
            self.news.push_back(PeerNews::Interrupted(id));
        }
        let other = if conn.is_accepted() { dialled } else { accepted };
        if let Some((other, before)) = other.filter(|(_, before)| before.boot != said.boot) {
            let again = self.streams.get(&other).and_then(|stream| stream.to);
            self.close(now, other);
            if let Some(address) = again {
                let conn = self.dial(now, id, address);
                self.streams.entry(conn).and_modify(|stream| stream.doubted = Some(before));
            }
        }
        self.news.push_back(PeerNews::Introduced(id));
    }

    /// A stream, and what was said on it, if that was said.
    fn heard(&self, conn: Option<ConnId>) -> Option<(ConnId, Said)> {
        let conn = conn?;
        Some((conn, self.streams.get(&conn)?.said?))
    }

    /// The stream on which frames go to the peer: one that said hello, if there is one.
    pub(super) fn standing(&self, peer: &Peer) -> Option<ConnId> {
        let said = |conn: &ConnId| self.streams.get(conn).is_some_and(|stream| stream.said.is_some());
        peer.dialled.filter(said).or(peer.accepted).or(peer.dialled)
    }

    /// A stream is gone. Tells whose it was.
    pub(super) fn forget(&mut self, conn: ConnId) -> Option<RaftId> {
        let id = self.streams.remove(&conn)?.peer?;
        let peer = self.peers.get_mut(&id)?;
        peer.dialled.take_if(|dialled| *dialled == conn);
        peer.accepted.take_if(|accepted| *accepted == conn);
        // What ended may have been a stranger's hello, or an old process's. The
        // stream that stands says who the peer is, and says no hello again.
        let stream = |conn: Option<ConnId>| self.streams.get(&conn?);
        let said = |conn| stream(conn)?.said;
        let standing = said(peer.dialled).or(said(peer.accepted)).or(stream(peer.dialled).and_then(|it| it.doubted));
        if let Some(said) = standing {
            self.routes_version += 1;
            peer.believe(said);
        }
        Some(id)
    }
}
