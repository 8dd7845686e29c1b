//! Durability order: no message leaves before the write that it speaks of is
//! stable: a vote, a candidacy, an acknowledged entry.

use std::collections::VecDeque;

use funk_proto::wire::cluster::FrameBody;
use funk_proto::wire::raft::{RaftKind, RaftRecord};
use funk_proto::{Persist, Token};
use prost::Message as _;

use crate::checker::{Checker, Scene, Verdict};

/// What a disk holds, as far as messages speak of it.
#[derive(Clone, Copy, Debug, Default)]
struct Written {
    term: u64,
    voted: bool,
    last: u64,
}

#[derive(Debug, Default)]
struct Disk {
    stable: Written,
    newest: Written,
    on_the_way: VecDeque<(Token, Written)>,
    next: u64,
}

/// No message leaves before its write is stable.
#[derive(Debug, Default)]
pub struct DurabilityOrder {
    disks: Vec<Disk>,
}

impl Checker for DurabilityOrder {
    fn name(&self) -> &'static str {
        "durability order"
    }

    fn on_start(&mut self, scene: Scene<'_>, at: usize) -> Verdict {
        self.disks.resize_with(scene.hosts.len(), Disk::default);
        let mut disk = Disk::default();
        for record in scene.hosts[at].disk.stable() {
            disk.newest = after(disk.newest, record);
        }
        disk.stable = disk.newest;
        self.disks[at] = disk;
        Ok(())
    }

    fn on_persist(&mut self, scene: Scene<'_>, at: usize, persist: &Persist) -> Verdict {
        let disk = &mut self.disks[at];
        if persist.token.0 <= disk.next {
            return Err(format!("{} writes {} after {}", scene.name(at), persist.token.0, disk.next));
        }
        disk.next = persist.token.0;
        disk.newest = after(disk.newest, &persist.record);
        disk.on_the_way.push_back((persist.token, disk.newest));
        Ok(())
    }

    fn on_persisted(&mut self, _scene: Scene<'_>, at: usize, token: Token) -> Verdict {
        let disk = &mut self.disks[at];
        while disk.on_the_way.front().is_some_and(|(of, _)| *of <= token) {
            disk.stable = disk.on_the_way.pop_front().map_or(disk.stable, |(_, written)| written);
        }
        Ok(())
    }

    fn on_frame(&mut self, scene: Scene<'_>, at: usize, frame: &FrameBody) -> Verdict {
        let FrameBody::Raft(message) = frame else { return Ok(()) };
        let stable = self.disks[at].stable;
        let broken = match message.kind() {
            RaftKind::Vote => stable.term < message.term || stable.term == message.term && !stable.voted,
            RaftKind::VoteResponse => {
                stable.term < message.term || !message.reject && stable.term == message.term && !stable.voted
            }
            // An answer of an older term speaks of what was stable then.
            RaftKind::AppendResponse => {
                let behind = stable.term == message.term && stable.last < message.index;
                stable.term < message.term || !message.reject && behind
            }
            RaftKind::Append => stable.term < message.term,
            _ => false,
        };
        if broken {
            let (name, kind) = (scene.name(at), message.kind());
            return Err(format!(
                "{name} sends {kind:?} of term {} at {}, stable is {stable:?}",
                message.term, message.index
            ));
        }
        Ok(())
    }
}

fn after(before: Written, record: &bytes::Bytes) -> Written {
    let Some(record) = RaftRecord::decode(record.clone()).ok() else { return before };
    let entries = record.entries.last().map(|entry| entry.index);
    let snapshot = record.snapshot.map(|meta| meta.index);
    Written { term: record.term, voted: record.vote != 0, last: entries.or(snapshot).unwrap_or(before.last) }
}
