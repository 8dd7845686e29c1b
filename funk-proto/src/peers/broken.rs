//! Whether a process has ended, as far as its streams tell. One that breaks may
//! be a network's doing. If its peer's address then refuses a fresh dial, the
//! peer's machine says that nobody listens there any more: the process has
//! ended, or closed its listener, or something answers in its place. So this
//! is evidence and no proof, and of one boot only: that which said hello on
//! the stream that broke, from the address that is dialled.

use std::net::SocketAddr;

use super::stream::Stream;
use super::{BACKOFF_MIN, Peer, PeerNews, Peers};
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
    /// Where it was reached.
    raft: SocketAddr,
    since: Timestamp,
    dials_left: u8,
    dial_at: Timestamp,
}

impl Peers {
    /// A stream has ended, of which it `was_known` who is at its other end.
    pub(super) fn note_end(&mut self, now: Timestamp, id: RaftId, stream: &Stream, was_known: bool, why: CloseReason) {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.met.is_none()) else { return };
        let reached = stream.said.zip(peer.places.reached_at(stream)).filter(|_| was_known);
        if let (Some((said, raft)), CloseReason::Ended | CloseReason::Reset) = (reached, why) {
            peer.broken = Some(Broken { boot: said.boot, raft, since: now, dials_left: DIALS, dial_at: now });
            self.probe_broken(now);
            return;
        }
        let Some(broken) = &mut peer.broken else { return };
        if stream.said.is_some() || stream.opened < broken.since || stream.to != Some(broken.raft) {
            return;
        }
        if why == CloseReason::Refused {
            let boot = broken.boot;
            peer.broken = None;
            self.news.push_back(PeerNews::Gone(Incarnation { id, boot }));
        } else {
            broken.dial_at = now + BACKOFF_MIN * u32::from(DIALS - broken.dials_left);
        }
    }

    /// Where the boot whose streams broke is looked for next, and when.
    pub(super) fn next_look(&self, peer: &Peer) -> Option<(SocketAddr, Timestamp)> {
        let broken = peer.broken.filter(|broken| broken.dials_left > 0)?;
        let mut streams = peer.streams.iter().filter_map(|conn| self.streams.get(conn));
        let is_dialled = streams.any(|stream| stream.to == Some(broken.raft));
        (!is_dialled).then_some((broken.raft, broken.dial_at))
    }

    /// Dials peers whose streams broke, wanted or not.
    pub(super) fn probe_broken(&mut self, now: Timestamp) {
        let looks = self.peers.iter().filter_map(|(&id, peer)| Some((id, self.next_look(peer)?)));
        let due: Vec<(RaftId, SocketAddr)> =
            looks.filter(|&(_, (_, at))| now >= at).map(|(id, (address, _))| (id, address)).collect();
        for (id, address) in due {
            self.dial(now, id, address);
            if let Some(broken) = self.peers.get_mut(&id).and_then(|peer| peer.broken.as_mut()) {
                broken.dials_left -= 1;
            }
        }
    }
}
