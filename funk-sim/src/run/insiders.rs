//! A member that says what is others' to say, on the streams on which it is known.
//!
//! What every member may say of itself, it may lie about as well: such lies are no fault of this kind.

use bytes::Bytes;
use funk_proto::id::{LogIndex, ShardId};
use funk_proto::limits::SHARD_STATES_KEPT_BYTES_MAX;
use funk_proto::wire::cluster::{BootName, Carry, Frame, FrameBody, REASON_REMOVED, Refused, Release, UserEntry};
use funk_proto::wire::raft::{RaftKind, RaftMessage};

use super::Runner;
use super::slander::all;

/// Kinds of frames that [`Runner::betrayal`] tells.
const LIES: u64 = 11;

impl Runner<'_> {
    /// Each of these members tells another something that only a third, or the leader, may.
    pub(super) fn betray(&mut self, hosts: &[usize]) {
        for &from in hosts {
            let (to, about) = (self.draw(self.plan.nodes), self.draw(self.plan.nodes));
            let kind = self.rng.below(LIES);
            if from == to || from == about || !self.follows_another(to, from) {
                continue;
            }
            if let Some(body) = self.betrayal(kind, from, to, about) {
                self.world.say_as(from, to, Frame::bytes(body));
            }
        }
    }

    /// The host follows a leader, or leads, and this is not the one.
    fn follows_another(&self, host: usize, other: usize) -> bool {
        let leader = self.world.hosts()[host].facts().and_then(|facts| facts.leader);
        let other = self.world.hosts()[other].facts().map(|facts| facts.id);
        leader.is_some() && leader != other
    }

    fn betrayal(&mut self, kind: u64, from: usize, to: usize, about: usize) -> Option<FrameBody> {
        let (liar, own, said) = (self.name_of(from)?, self.name_of(to)?, self.name_of(about)?);
        let refused = Refused { reason: REASON_REMOVED, boot: own.boot, ..Refused::default() };
        // An entry that applications do not see: to propose is the liar's right.
        let of = |name: BootName, boot: u64, request: u64| {
            let id = name.id;
            UserEntry { id, boot, request, barrier: true, ..UserEntry::default() }
        };
        Some(match kind {
            0 | 1 => FrameBody::Raft(self.entries(to, said, 0)?),
            2 => FrameBody::Raft(self.invitation(to)?),
            3 => FrameBody::Farewell(own),
            4 => FrameBody::JoinRefused(refused),
            5 => FrameBody::Release(Release { id: said.id, boot: said.boot, shards: all(1), change: 9 }),
            6 => FrameBody::Update(self.record_of(said, about)),
            7 => FrameBody::Propose(of(said, said.boot, self.request_of(about))),
            // Under its own id, but as if that process had proposed it.
            8 => FrameBody::Propose(of(liar, said.boot, self.request_of(about))),
            9 => FrameBody::ProposeRefused(of(own, own.boot, self.request_of(to))),
            _ => FrameBody::Carry(self.state_of_nobody(own)),
        })
    }

    /// The number of a request that waits at this host, or will.
    fn request_of(&mut self, host: usize) -> u64 {
        let waiting = self.world.hosts()[host].newest_proposal();
        match waiting {
            Some(id) => id.0 + self.rng.below(2),
            None => self.rng.below(99),
        }
    }

    /// A piece of a state of some shard that this process was never given: for a move of long ago, or to come.
    ///
    /// One for a move that may come true is never whole: by then the liar may be the owner, whose states are its own to tell.
    fn state_of_nobody(&mut self, to: BootName) -> Carry {
        let shard = ShardId(u32::try_from(self.rng.below(u64::from(self.plan.shards))).expect("a shard"));
        let (change, short) =
            if self.rng.below(2) == 0 { (LogIndex(self.rng.below(99)), 4) } else { (LogIndex(u64::MAX >> 2), 3) };
        let total = if self.rng.below(2) == 0 { short } else { SHARD_STATES_KEPT_BYTES_MAX as u64 / 16 };
        let bytes = Bytes::from_static(b"lie");
        Carry { change: change.0, boot: to.boot, shard: shard.0, total, offset: 0, bytes }
    }

    /// To campaign, at the receiver's term.
    fn invitation(&self, to: usize) -> Option<RaftMessage> {
        let term = self.world.hosts()[to].node()?.inspect().term().0;
        Some(RaftMessage { kind: RaftKind::TimeoutNow.into(), term, ..RaftMessage::default() })
    }
}
