//! What each process's disk holds for certain, as far as the log's terms and
//! votes speak of it: told by the writes, and by the word that they are stable.

use std::collections::VecDeque;
use std::time::Duration;

use funk_proto::wire::raft::RaftRecord;
use funk_proto::{Persist, Token};
use prost::Message as _;

use crate::checker::Scene;

/// What a disk holds, as far as messages speak of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    pub(super) term: u64,
    pub(super) voted: bool,
    pub(super) last: u64,
    /// The longest lease that it would honour after a restart.
    pub(super) kept_lease: Duration,
}

#[derive(Debug, Default)]
struct Disk {
    stable: Written,
    newest: Written,
    on_the_way: VecDeque<(Token, Written)>,
}

/// The disks of all hosts, by place.
#[derive(Debug, Default)]
pub(super) struct Disks(Vec<Disk>);

impl Disks {
    /// A process starts with what its disk kept.
    pub(super) fn start(&mut self, scene: Scene<'_>, at: usize) {
        self.0.resize_with(scene.hosts.len(), Disk::default);
        let kept = scene.hosts[at].disk.stable().iter().fold(Written::default(), after);
        self.0[at] = Disk { stable: kept, newest: kept, ..Disk::default() };
    }

    /// A write is on its way.
    pub(super) fn persist(&mut self, at: usize, persist: &Persist) {
        let disk = &mut self.0[at];
        disk.newest = after(disk.newest, &persist.record);
        disk.on_the_way.push_back((persist.token, disk.newest));
    }

    /// This write, and all before it, are stable.
    pub(super) fn persisted(&mut self, at: usize, token: Token) {
        let disk = &mut self.0[at];
        while disk.on_the_way.front().is_some_and(|(of, _)| *of <= token) {
            disk.stable = disk.on_the_way.pop_front().map_or(disk.stable, |(_, written)| written);
        }
    }

    /// What no crash takes from it.
    pub(super) fn stable(&self, at: usize) -> Written {
        self.0[at].stable
    }
}

fn after(before: Written, record: &bytes::Bytes) -> Written {
    let Some(record) = RaftRecord::decode(record.clone()).ok() else { return before };
    let entries = record.entries.last().map(|entry| entry.index);
    let snapshot = record.snapshot.map(|meta| meta.index);
    let last = entries.or(snapshot).unwrap_or(before.last);
    let kept_lease = Duration::from_micros(record.kept_lease_us.unwrap_or_default());
    Written { term: record.term, voted: record.vote != 0, last, kept_lease }
}
