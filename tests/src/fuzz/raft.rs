//! The guard in front of Raft: whatever a peer sends, in whatever role this
//! node is, Raft does not panic and the log stays in order.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use bytes::Bytes;
use funk_proto::consensus::{Consensus, ConsensusConfig, ConsensusOutput, Sender};
use funk_proto::id::{LogIndex, RaftId, Term};
use funk_proto::wire::raft::{RaftKind, RaftMessage, SnapshotChunk, SnapshotMeta};
use funk_proto::{Seed, Timestamp, Token};

use super::draw::{self, Near};

const ME: u64 = 1;

struct Guarded {
    consensus: Consensus,
    now: Timestamp,
    writes: VecDeque<Token>,
    applied: LogIndex,
}

fn id(n: u64) -> RaftId {
    RaftId::new(n).expect("not zero")
}

/// The first byte draws a role, the others what happens next.
pub(super) fn guard(data: &[u8]) {
    let mut u = Unstructured::new(data);
    // The end of the bytes is the end of the story.
    let _ = story(&mut u);
}

fn story(u: &mut Unstructured<'_>) -> Result<()> {
    let mut guarded = Guarded::new(u.int_in_range(0..=3)?);
    while !u.is_empty() {
        guarded.step(u)?;
        guarded.drain();
    }
    Ok(())
}

impl Guarded {
    fn new(role: u8) -> Self {
        let bootstrap = (role == 0 || role == 1).then(|| Bytes::from_static(b"state"));
        let consensus = Consensus::new(
            ConsensusConfig { id: id(ME), bootstrap, kept_lease: Duration::ZERO },
            Seed::from_u64(1),
            Timestamp::from_millis(1),
        );
        let (now, writes, applied) = (Timestamp::from_millis(1), VecDeque::new(), LogIndex(0));
        let mut guarded = Self { consensus, now, writes, applied };
        guarded.settle();
        match role {
            1 => {
                let voters = (1..=3).map(id).collect();
                let _ = guarded.consensus.change_members(guarded.now, &voters, &BTreeSet::new());
                guarded.settle();
            }
            2 => {
                let meta = SnapshotMeta { index: 5, term: 2, voters: vec![1, 2, 3], ..SnapshotMeta::default() };
                let data = Bytes::from_static(b"state");
                let snapshot = Some(SnapshotChunk { meta: Some(meta), offset: 0, data, last: true });
                let kind = RaftKind::Snapshot.into();
                let message = RaftMessage { kind, term: 3, snapshot, ..RaftMessage::default() };
                guarded.consensus.handle_message(guarded.now, id(2), message).expect("a sound snapshot");
                guarded.settle();
            }
            _ => {}
        }
        guarded
    }

    /// Every write becomes stable, and what follows from it.
    fn settle(&mut self) {
        self.drain();
        while let Some(token) = self.writes.pop_front() {
            self.consensus.handle_persisted(self.now, token);
            self.drain();
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.consensus.poll_output() {
            match output {
                ConsensusOutput::Persist(persist) => self.writes.push_back(persist.token),
                ConsensusOutput::Apply { index, .. } | ConsensusOutput::ConfChanged { index } => {
                    assert!(self.applied.0 == 0 || index.0 == self.applied.0 + 1, "{index} after {}", self.applied);
                    self.applied = index;
                }
                ConsensusOutput::InstallSnapshot { index, .. } => {
                    assert!(index > self.applied, "a snapshot at {index} after {}", self.applied);
                    self.applied = index;
                }
                ConsensusOutput::SnapshotWanted => {
                    let index = self.consensus.applied();
                    self.consensus.provide_snapshot(self.now, index, Bytes::from_static(b"state"));
                }
                ConsensusOutput::Send { .. } | ConsensusOutput::LeaseKept | ConsensusOutput::Role { .. } => {}
            }
        }
    }

    fn near(&self) -> Near {
        let consensus = &self.consensus;
        Near { term: consensus.term().0, last: consensus.last_index().0, commit: consensus.commit().0 }
    }

    fn step(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let (now, near) = (self.now, self.near());
        let from = id(u.int_in_range(1..=5)?);
        match u.int_in_range(0..=15_u8)? {
            0..=6 => {
                let message = draw::raft_message(u, near, &Bytes::from_static(b"state"))?;
                let _ = self.consensus.handle_message(now, from, message);
            }
            7 => {
                let (term, commit) = (draw::number(u, near.term)?, draw::number(u, near.last)?);
                let _ = self.consensus.handle_heartbeat(now, from, Term(term), LogIndex(commit));
            }
            8 => self.consensus.handle_heartbeat_ack(now, from, Term(draw::number(u, near.term)?)),
            9 | 10 => {
                if let Some(token) = self.writes.pop_front() {
                    self.consensus.handle_persisted(now, token);
                }
            }
            11 => {
                self.now = now + Duration::from_millis(u64::from(u8::arbitrary(u)?) * 8);
                self.consensus.handle_timeout(self.now);
            }
            12 => drop(self.consensus.propose(now, draw::small(u)?)),
            13 => {
                let mut members = || -> Result<BTreeSet<RaftId>> {
                    let bits = u8::arbitrary(u)?;
                    Ok((1..=5).filter(|n| bits >> n & 1 == 1).map(id).collect())
                };
                let (voters, learners) = (members()?, members()?);
                drop(self.consensus.change_members(now, &voters, &learners));
            }
            14 => self.consensus.forget_leader(now, &(1..=3).map(id).collect()),
            _ => self.rare(u, from)?,
        }
        Ok(())
    }

    fn rare(&mut self, u: &mut Unstructured<'_>, peer: RaftId) -> Result<()> {
        match u.int_in_range(0..=5_u8)? {
            0 => drop(self.consensus.leave_joint(self.now)),
            1 => drop(self.consensus.transfer_leader(self.now, peer)),
            2 => self.consensus.handle_unreachable(peer),
            3 => {
                let (sender, term) = (Sender { id: peer, is_vouched: true }, self.consensus.term().0.saturating_add(1));
                drop(self.consensus.handle_heartbeat(self.now, sender, Term(term), LogIndex(1)));
            }
            4 => {
                let index = self.consensus.applied();
                self.consensus.provide_snapshot(self.now, index, Bytes::from_static(b"state"));
            }
            _ => self.settle(),
        }
        Ok(())
    }
}
