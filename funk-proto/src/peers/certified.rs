//! Streams whose other side has shown a certificate: who it is, and the keys that are of such a stream only.
//!
//! A certificate names a node, and a hello that names another is refused; so is one under a Raft id that the member table
//! has for another. Where both agree, the stream needs no proof that the peer was reached where it should be.

use super::{Peers, Standing, Stream};
use crate::error::Misbehaviour;
use crate::id::{BootId, ConnId, NodeName, RaftId};
use crate::io::PeerIdentity;
use crate::time::Timestamp;
use crate::wire::liveness::Key;

/// Between two lines of the log about peers that are not whom their certificates name.
const WARN_PAUSE: std::time::Duration = std::time::Duration::from_secs(1);

impl Peers {
    /// The other side of a stream has shown a certificate.
    ///
    /// # Errors
    /// It is of another cluster; the stream is closed. So is one that was dialled and leads to another node.
    pub(crate) fn handle_opened(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        identity: PeerIdentity,
    ) -> Result<(), Misbehaviour> {
        if !self.accept(now, conn) {
            return Ok(());
        }
        let Some(stream) = self.streams.get_mut(&conn) else { return Ok(()) };
        let expected = stream.peer;
        let is_foreign = identity.cluster != self.identity.cluster_name;
        let certified = stream.certified.insert(identity);
        stream.ready = now;
        if is_foreign {
            let claimed = format!("{} of cluster {}", certified.name, self.identity.cluster_name);
            let what = self.impersonation(now, conn, &claimed);
            self.close(now, conn);
            return Err(what);
        }
        let listed = expected.and_then(|id| self.peers.get(&id)?.name.as_ref());
        if listed.is_some_and(|listed| *listed != certified.name) {
            // Another node listens where this one was. It has not said that it is this one.
            self.close(now, conn);
        }
        Ok(())
    }

    /// Whether the certificate at the other end of a stream, if there is one, is that of the node that is said to be there,
    /// by its name and by its Raft id.
    pub(super) fn check_certificate(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        id: RaftId,
        name: &str,
    ) -> Result<(), Misbehaviour> {
        let Some(certified) = self.certified_name(conn) else { return Ok(()) };
        let listed = self.peers.get(&id).and_then(|peer| peer.name.as_ref());
        let claimed = match listed {
            _ if certified.as_str() != name => name.chars().take(64).collect(),
            Some(listed) if listed != certified => listed.to_string(),
            _ => return Ok(()),
        };
        Err(self.impersonation(now, conn, &claimed))
    }

    fn impersonation(&mut self, now: Timestamp, conn: ConnId, claimed: &str) -> Misbehaviour {
        let shown = self.streams.get(&conn).and_then(|stream| stream.certified.as_ref());
        let certified = shown.map_or_else(String::new, |shown| shown.name.to_string());
        if self.warned.is_none_or(|warned| now >= warned + WARN_PAUSE) {
            let peer = shown.map(|shown| shown.address.to_string()).unwrap_or_default();
            tracing::warn!(
                peer,
                certified,
                claimed,
                "a peer is refused: it is not the node that its certificate names"
            );
            self.warned = Some(now);
        }
        Misbehaviour::Impersonation { certified, claimed: claimed.into() }
    }

    /// The member table has this name for the peer. Streams on which another has shown a certificate are closed.
    pub(crate) fn learn_name(&mut self, now: Timestamp, id: RaftId, name: &NodeName) {
        if id == self.identity.id || self.peers.get(&id).is_some_and(|peer| peer.name.as_ref() == Some(name)) {
            return;
        }
        self.peers.entry(id).or_default().name = Some(name.clone());
        let others: Vec<ConnId> =
            self.conns(id).filter(|&conn| self.certified_name(conn).is_some_and(|other| other != name)).collect();
        others.into_iter().for_each(|conn| self.close(now, conn));
    }

    /// The node that the certificate at the other end of a stream names.
    pub(crate) fn certified_name(&self, conn: ConnId) -> Option<&NodeName> {
        Some(&self.streams.get(&conn)?.certified.as_ref()?.name)
    }

    /// The keys under which that boot of that peer may seal its datagrams to us, if it is the one that was reached. Whoever
    /// was reached elsewhere, or on another stream with a certificate, has another key, whatever boot it said.
    pub(crate) fn incoming_keys(&self, from: RaftId, boot: BootId) -> impl Iterator<Item = Key> {
        let peer = self.peers.get(&from);
        let is_plain =
            |stream: &Stream| stream.certified.is_none() && stream.said.is_some_and(|said| said.boot == boot);
        let is_open = peer.is_some_and(|peer| {
            peer.handed.is_empty() || peer.streams.iter().filter_map(|conn| self.streams.get(conn)).any(is_plain)
        });
        let reached_at = peer.and_then(|peer| peer.reached_at).filter(|_| is_open);
        let of_address = reached_at.map(|at| Key::derive(&self.identity.secret, from, boot, at));
        peer.into_iter().flat_map(move |peer| peer.handed.of(boot)).chain(of_address)
    }

    /// The key for whoever is at the other end, if that is known: of one boot, at one address or on one stream.
    pub(super) fn hand_key(&mut self, conn: ConnId) -> Option<Key> {
        let stream = self.streams.get(&conn).filter(|_| self.standing(conn) > Standing::Claimed)?;
        let (id, boot) = (stream.peer?, stream.said?.boot);
        let Some(certified) = &stream.certified else {
            let reached_at = self.peers.get(&id)?.places.reached_at(stream)?;
            return Some(Key::derive(&self.identity.secret, id, boot, reached_at));
        };
        let key = Key::derive(&self.identity.secret, id, boot, self.identity.raft);
        let bound = key.bound(&certified.exporter);
        self.peers.get_mut(&id)?.handed.hand(conn, boot, bound);
        Some(key)
    }

    /// The other side of a stream is believed no more, nor is what it seals under the stream's key.
    pub(super) fn end_key(&mut self, conn: ConnId) {
        let id = self.streams.get(&conn).and_then(|stream| stream.peer);
        if let Some(peer) = id.and_then(|id| self.peers.get_mut(&id)) {
            peer.handed.forget(conn);
        }
    }

    /// A key that was said on a stream, as it is used.
    pub(super) fn bound(&self, conn: ConnId, key: Key) -> Key {
        let certified = self.streams.get(&conn).and_then(|stream| stream.certified.as_ref());
        certified.map_or(key, |certified| key.bound(&certified.exporter))
    }
}
