//! Whether a process has ended, as far as its streams tell. One that breaks may
//! be a network's doing. If its peer's address then refuses a fresh dial, the
//! peer's machine says that nobody listens there any more: the process has
//! ended, or closed its listener, or something answers in its place. So this
//! is evidence and no proof, and of one boot only: that which said hello on
//! the stream that broke, from the address that is dialled.

use std::net::SocketAddr;

use super::{Peer, PeerNews, Peers, Stream};
use crate::id::{BootId, Incarnation, RaftId};
use crate::io::CloseReason;
use crate::time::Timestamp;

/// Dials that look after a boot whose streams broke, where none would be dialled otherwise. The first may
/// still be accepted: a kernel closes what a process had open one after the other.
const DIALS: u8 = 3;

/// A boot whose streams broke.
#[derive(Clone, Copy, Debug)]
pub(super) struct Broken {
    boot: BootId,
    /// Where it said that it listens.
    raft: SocketAddr,
    since: Timestamp,
    dials_left: u8,
}

impl Peer {
    /// Whether it is to be found out if the boot whose streams broke has ended.
    pub(super) fn is_open_question(&self) -> bool {
        self.broken.is_some_and(|broken| broken.dials_left > 0)
    }
}

impl Peers {
    /// The last stream to a peer has ended.
    pub(super) fn note_end(&mut self, now: Timestamp, id: RaftId, stream: &Stream, why: CloseReason) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if let (Some(said), CloseReason::Ended | CloseReason::Reset) = (stream.said, why) {
            peer.broken = Some(Broken { boot: said.boot, raft: said.raft, since: now, dials_left: DIALS });
            peer.retry_at = now;
            self.probe_broken(now);
            return;
        }
        let Some(broken) = peer.broken else { return };
        let fresh = stream.said.is_none() && stream.opened >= broken.since;
        if fresh && why == CloseReason::Refused && stream.to == Some(broken.raft) {
            peer.broken = None;
            self.news.push_back(PeerNews::Gone(Incarnation { id, boot: broken.boot }));
        }
    }

    /// Dials peers whose streams broke, wanted or not.
    pub(super) fn probe_broken(&mut self, now: Timestamp) {
        let idle = |peer: &Peer| peer.dialled.is_none() && peer.accepted.is_none() && now >= peer.retry_at;
        let due = self.peers.iter().filter(|(_, peer)| peer.is_open_question() && idle(peer));
        let due: Vec<RaftId> = due.map(|(&id, _)| id).collect();
        for id in due {
            if self.stream_to(now, id).is_none() {
                continue;
            }
            if let Some(broken) = self.peers.get_mut(&id).and_then(|peer| peer.broken.as_mut()) {
                broken.dials_left -= 1;
            }
        }
    }
}
