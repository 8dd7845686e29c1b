//! The virtual network's streams: in order, whole, and gone when a host is.

use std::net::SocketAddr;

use bytes::Bytes;
use funk_proto::id::ConnId;
use funk_proto::{Channel, CloseReason, Input, Timestamp};

use super::{Happening, World};

/// One direction of a stream: when its last message arrives, so that none overtakes.
#[derive(Debug)]
pub(super) struct End {
    pub(super) peer: usize,
    pub(super) conn: ConnId,
    pub(super) channel: Channel,
    pub(super) last: Timestamp,
}

impl World {
    pub(super) fn host_at(&self, address: SocketAddr) -> Option<usize> {
        (0..self.hosts.len()).find(|&at| Self::address(at, address.port()) == address)
    }

    pub(super) fn dial(&mut self, at: usize, conn: ConnId, to: SocketAddr, channel: Channel) {
        let peer = self.host_at(to).filter(|&peer| self.hosts[peer].node.is_some());
        let Some(peer) = peer.filter(|&peer| self.reachable(at, peer)) else {
            self.later(at, Happening::Input(Input::Closed { conn, why: CloseReason::Refused }));
            return;
        };
        self.hosts[peer].accepted += 1;
        let accepted = ConnId::accepted(self.hosts[peer].accepted);
        let last = self.now;
        self.hosts[at].streams.insert(conn, End { peer, conn: accepted, channel, last });
        self.hosts[peer].streams.insert(accepted, End { peer: at, conn, channel, last });
    }

    pub(super) fn send(&mut self, at: usize, conn: ConnId, bytes: Bytes) {
        let delay = self.delay();
        let (now, cut) = (self.now, self.cut.clone());
        let Some(end) = self.hosts[at].streams.get_mut(&conn) else { return };
        if cut.contains(&(at.min(end.peer), at.max(end.peer))) {
            return;
        }
        end.last = end.last.max(now + delay);
        let (when, peer, conn, channel) = (end.last, end.peer, end.conn, end.channel);
        self.at(when, peer, Happening::Input(Input::Message { conn, channel, bytes }));
    }

    /// Ends a stream after what was sent on it.
    pub(super) fn hang_up(&mut self, at: usize, conn: ConnId) {
        let Some(end) = self.hosts[at].streams.remove(&conn) else { return };
        if self.hosts[end.peer].streams.remove(&end.conn).is_some() {
            let when = end.last.max(self.now);
            self.at(when, end.peer, Happening::Input(Input::Closed { conn: end.conn, why: CloseReason::Ended }));
        }
    }

    /// The kernel closes a dead process's streams.
    pub(super) fn reset_all(&mut self, at: usize) {
        for (_, end) in std::mem::take(&mut self.hosts[at].streams) {
            self.hosts[end.peer].streams.remove(&end.conn);
            self.later(end.peer, Happening::Input(Input::Closed { conn: end.conn, why: CloseReason::Reset }));
        }
    }
}
