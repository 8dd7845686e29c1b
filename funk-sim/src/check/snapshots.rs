//! Snapshots: those of one entry hold one state, whoever takes, gets or writes them.

use std::collections::BTreeMap;
use std::hash::Hasher;

use funk_proto::Persist;
use funk_proto::wire::raft::RaftRecord;
use prost::Message as _;
use siphasher::sip::SipHasher13;

use crate::checker::{Checker, Scene, Verdict};

/// Equal indexes are equal snapshots.
#[derive(Debug, Default)]
pub struct Snapshots {
    /// Digest of the state by index and term of the last entry in it.
    states: BTreeMap<(u64, u64), u64>,
}

impl Checker for Snapshots {
    fn name(&self) -> &'static str {
        "snapshots"
    }

    fn on_persist(&mut self, scene: Scene<'_>, at: usize, persist: &Persist) -> Verdict {
        let host = &scene.hosts[at];
        if !host.known || host.foreign {
            return Ok(());
        }
        let Some(record) = RaftRecord::decode(persist.record.clone()).ok() else { return Ok(()) };
        let Some(meta) = record.snapshot else { return Ok(()) };
        let mut hasher = SipHasher13::new();
        hasher.write(&record.state);
        let digest = hasher.finish();
        if *self.states.entry((meta.index, meta.term)).or_insert(digest) != digest {
            return Err(format!("{} writes another snapshot of {} than a node before it", scene.name(at), meta.index));
        }
        Ok(())
    }
}
