//! A stranger that knows all about the cluster, and says what only members may, in their names.

use bytes::Bytes;
use funk_proto::StreamKind;
use funk_proto::id::{LogIndex, RaftId, ShardId};
use funk_proto::state::set;
use funk_proto::wire::cluster::{
    BootName, Carried, Carry, Command, DownRecord, Frame, FrameBody, Hello, MemberRecord, Op, Operation, Place,
    REASON_REMOVED, Refused, Release, Transfer, UserEntry,
};
use funk_proto::wire::raft::{RaftEntry, RaftKind, RaftMessage};
use prost::Message;

use super::Runner;
use crate::world::World;

/// Kinds of frames that [`Runner::lie`] tells.
const LIES: u64 = 15;

impl Runner<'_> {
    /// Hellos in a member's name, and frames that are its to send, or the leader's.
    pub(super) fn slander(&mut self, hosts: &[usize]) {
        for &host in hosts {
            let about = self.draw(self.plan.nodes);
            let Some(hello) = self.hello_of(about).filter(|_| about != host) else { continue };
            let mut frames = vec![FrameBody::Hello(hello)];
            for _ in 0..=self.rng.below(3) {
                let kind = self.rng.below(LIES);
                frames.extend(self.lie(kind, host, about));
            }
            let frames: Vec<Bytes> = frames.into_iter().map(Frame::bytes).collect();
            self.world.inject_messages(host, StreamKind::Cluster, frames);
        }
    }

    /// The hello of a member, but for where it listens: there is nobody.
    pub(super) fn hello_of(&self, about: usize) -> Option<Hello> {
        let host = &self.world.hosts()[about];
        let node = host.node()?.inspect();
        let versions = funk_proto::version::Versions::OURS;
        Some(Hello {
            cluster_name: host.config.cluster.to_string(),
            cluster: node.cluster().map_or(0, |cluster| cluster.get()),
            id: node.id().get(),
            boot: node.boot().get(),
            name: host.config.name.to_string(),
            raft: World::address_of(9, about, 2).to_string(),
            liveness: World::address_of(9, about, 3).to_string(),
            oldest: versions.oldest,
            newest: versions.newest,
            ..Hello::default()
        })
    }

    pub(super) fn name_of(&self, host: usize) -> Option<BootName> {
        let node = self.world.hosts()[host].node()?.inspect();
        Some(BootName { id: node.id().get(), boot: node.boot().get() })
    }

    /// A member's record, but for where it listens: there is nobody.
    pub(super) fn record_of(&self, said: BootName, about: usize) -> MemberRecord {
        MemberRecord {
            id: said.id,
            boot: said.boot,
            name: self.world.hosts()[about].config.name.to_string(),
            serf: World::address_of(9, about, 1).to_string(),
            raft: World::address_of(9, about, 2).to_string(),
            liveness: World::address_of(9, about, 3).to_string(),
            weight: 1,
            ..MemberRecord::default()
        }
    }

    fn lie(&mut self, kind: u64, to: usize, about: usize) -> Option<FrameBody> {
        let (own, said) = (self.name_of(to)?, self.name_of(about)?);
        let third = self.draw(self.plan.nodes);
        let third = self.name_of(third).unwrap_or(said);
        let refused = Refused { reason: REASON_REMOVED, boot: own.boot, ..Refused::default() };
        let record = self.record_of(said, about);
        let entry = UserEntry { id: said.id, boot: said.boot, request: self.rng.below(99), ..UserEntry::default() };
        Some(match kind {
            0..=3 => {
                let ahead = self.rng.below(2);
                FrameBody::Raft(self.entries(to, said, ahead)?)
            }
            4 => FrameBody::Raft(self.raft(to)?),
            5 => FrameBody::Leave(third),
            6 => FrameBody::Farewell(own),
            7 => FrameBody::JoinRefused(refused),
            8 => FrameBody::Release(Release { id: said.id, boot: said.boot, shards: all(1), change: 9 }),
            9 => FrameBody::Update(record),
            10 => FrameBody::Propose(entry),
            11 => FrameBody::ProposeRefused(entry),
            12 => FrameBody::Gone(third),
            13 => FrameBody::LeaderAt(Place { id: third.id, raft: record.raft }),
            _ if self.rng.below(2) == 0 => FrameBody::Carry(Carry::default()),
            _ => FrameBody::Carried(Carried::default()),
        })
    }

    /// An append that fits the receiver's log, of its term or of one ahead: one member gets everything, or another is dead.
    pub(super) fn entries(&mut self, to: usize, said: BootName, ahead: u64) -> Option<RaftMessage> {
        let shards = self.plan.shards;
        let node = self.world.hosts()[to].node()?.inspect();
        let (term, last) = (node.term().0 + ahead, node.last_index());
        let up: Vec<(RaftId, _)> = node.up();
        let log_term = node.term_at(last)?.0;
        let at = usize::try_from(self.rng.below(up.len().max(1) as u64)).ok()?;
        let &(id, boot) = up.get(at)?;
        let op = if self.rng.below(2) == 0 {
            Op::Owned(Transfer { seen: u64::MAX >> 2, to: id.get(), boot: boot.get(), shards: all(shards) })
        } else {
            Op::Down(DownRecord { id: said.id, boot: said.boot, stopped: false })
        };
        let data = Command { operations: vec![Operation { op: Some(op) }] }.encode_to_vec().into();
        let index = LogIndex(last.0 + 1);
        let entry = RaftEntry { term, index: index.0, data, ..RaftEntry::default() };
        let (kind, entries) = (RaftKind::Append.into(), vec![entry]);
        Some(RaftMessage { kind, term, log_term, index: last.0, entries, commit: index.0, ..RaftMessage::default() })
    }

    /// Any other message of Raft, with the receiver's own numbers.
    fn raft(&mut self, to: usize) -> Option<RaftMessage> {
        let node = self.world.hosts()[to].node()?.inspect();
        let (term, last) = (node.term().0 + self.rng.below(3), node.last_index());
        let log_term = node.term_at(last)?.0;
        let kinds = [
            RaftKind::AppendResponse,
            RaftKind::Vote,
            RaftKind::VoteResponse,
            RaftKind::PreVote,
            RaftKind::PreVoteResponse,
            RaftKind::TimeoutNow,
        ];
        let kind = kinds[self.draw(kinds.len())].into();
        Some(RaftMessage { kind, term, log_term, index: last.0, commit: last.0, ..RaftMessage::default() })
    }
}

pub(super) fn all(shards: u32) -> Bytes {
    set::encode(&(0..shards).map(ShardId).collect::<Vec<_>>())
}
