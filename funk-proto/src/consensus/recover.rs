//! A node that starts again: its log put together from the records that were
//! stable, and Raft begun on it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use raft::eraftpb::HardState;

use super::admission::{NUMBER_MAX, check_configuration};
use super::{Consensus, ConsensusOutput, Mirror, convert};
use crate::id::{LogIndex, RaftId};
use crate::rng::Seed;
use crate::time::Timestamp;
use crate::wire::raft::{RaftEntry, RaftRecord, SnapshotMeta};

/// What the records of a data directory come to.
#[derive(Clone, Debug, PartialEq)]
pub struct RecoveredLog {
    /// The node that wrote them.
    pub id: RaftId,
    /// The newest term.
    pub term: u64,
    /// Whom this node voted for in it; 0 for nobody.
    pub vote: u64,
    /// The last index known to be committed; never past the log.
    pub commit: u64,
    /// The newest snapshot with its bytes; `None`: this node never had a log.
    pub snapshot: Option<(SnapshotMeta, Bytes)>,
    /// The log after the snapshot.
    pub entries: Vec<RaftEntry>,
    /// The longest lease that this node may have promised for; `None`: any that its cluster allows.
    pub kept_lease: Option<Duration>,
}

/// Records that no node wrote in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRecord {
    /// Its place among the records.
    pub record: usize,
    /// What is wrong with it.
    pub why: &'static str,
}

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {} of the log: {}", self.record, self.why)
    }
}

impl RecoveredLog {
    /// Puts the records together, oldest first; `None` without any.
    ///
    /// # Errors
    /// The first record that does not follow from those before it.
    pub fn fold(records: &[Bytes]) -> Result<Option<RecoveredLog>, BadRecord> {
        let mut log: Option<RecoveredLog> = None;
        for (at, bytes) in records.iter().enumerate() {
            let bad = |why| BadRecord { record: at, why };
            let record = RaftRecord::decode(bytes.clone()).map_err(|_| bad("it does not decode"))?;
            let id = RaftId::new(record.node).ok_or(bad("it names no node"))?;
            let log = log.get_or_insert_with(|| RecoveredLog {
                id,
                term: 0,
                vote: 0,
                commit: 0,
                snapshot: None,
                entries: Vec::new(),
                kept_lease: None,
            });
            if log.id != id {
                return Err(bad("it is another node's"));
            }
            log.take(record).map_err(bad)?;
        }
        if let Some(log) = &mut log {
            log.commit = log.commit.min(log.last()).max(log.base());
        }
        Ok(log)
    }

    fn base(&self) -> u64 {
        self.snapshot.as_ref().map_or(0, |(meta, _)| meta.index)
    }

    fn last(&self) -> u64 {
        self.base() + self.entries.len() as u64
    }

    fn take(&mut self, record: RaftRecord) -> Result<(), &'static str> {
        let meta = record.snapshot.as_ref();
        let numbers = [record.term, record.commit, meta.map_or(0, |meta| meta.index), meta.map_or(0, |meta| meta.term)];
        if numbers.iter().any(|&number| number > NUMBER_MAX) {
            return Err("it holds a number beyond all logs");
        }
        if meta.is_some_and(|meta| check_configuration(meta).is_err()) {
            return Err("its configuration contradicts itself");
        }
        // A node that never had a log may begin a cluster, in its first term.
        let begins = self.snapshot.is_none() && record.snapshot.is_some();
        if record.term < self.term && !begins {
            return Err("its term is older than the one before");
        }
        (self.term, self.vote) = (record.term, record.vote);
        if let Some(meta) = record.snapshot {
            if meta.index == 0 || meta.index < self.base() {
                return Err("its snapshot is older than the one before");
            }
            self.entries.clear();
            self.snapshot = Some((meta, record.state));
        }
        if let Some(first) = record.entries.first() {
            let keep = first.index.checked_sub(self.base() + 1).and_then(|keep| usize::try_from(keep).ok());
            let keep = keep.filter(|&keep| keep <= self.entries.len() && self.snapshot.is_some());
            self.entries.truncate(keep.ok_or("its entries leave a gap")?);
        }
        for entry in record.entries {
            if entry.index != self.last() + 1 {
                return Err("its entries are not consecutive");
            }
            self.entries.push(entry);
        }
        self.commit = self.commit.max(record.commit);
        self.kept_lease = record.kept_lease_us.map(Duration::from_micros);
        Ok(())
    }
}

impl Consensus {
    /// A node that starts again from its log. The state is given out as a
    /// snapshot and the committed entries after it, as to any node.
    pub fn restart(log: RecoveredLog, seed: Seed, now: Timestamp) -> Consensus {
        let mut hard = HardState::default();
        (hard.term, hard.vote, hard.commit) = (log.term, log.vote, log.commit);
        let snapshot = log.snapshot.map(|(meta, state)| convert::from_meta(meta, state));
        let entries: Vec<_> = log.entries.into_iter().map(convert::to_entry).collect();
        let mirror = Mirror::recovered(hard, snapshot.clone(), &entries);
        let mut consensus = Consensus::over(log.id, mirror, seed, now);
        consensus.hard = (log.term, log.vote);
        consensus.commit_written = log.commit;
        consensus.kept_lease = log.kept_lease.unwrap_or_default();
        if let Some(snapshot) = snapshot {
            let meta = snapshot.get_metadata();
            let index = LogIndex(meta.index);
            consensus.configurations.push_back((meta.index, meta.get_conf_state().clone()));
            consensus.outputs.push_back(ConsensusOutput::InstallSnapshot { index, state: snapshot.data });
        }
        consensus
    }
}
