//! Durability order: no message leaves before the write that it speaks of is
//! stable: a vote, a candidacy, an acknowledged entry.

use funk_proto::wire::cluster::FrameBody;
use funk_proto::wire::raft::RaftKind;
use funk_proto::{Persist, Token};

use super::disks::Disks;
use crate::checker::{Checker, Scene, Verdict};

/// No message leaves before its write is stable.
#[derive(Debug, Default)]
pub struct DurabilityOrder {
    disks: Disks,
    /// The last write of each process.
    tokens: Vec<u64>,
}

impl Checker for DurabilityOrder {
    fn name(&self) -> &'static str {
        "durability order"
    }

    fn on_start(&mut self, scene: Scene<'_>, at: usize) -> Verdict {
        self.disks.start(scene, at);
        self.tokens.resize(scene.hosts.len(), 0);
        self.tokens[at] = 0;
        Ok(())
    }

    fn on_persist(&mut self, scene: Scene<'_>, at: usize, persist: &Persist) -> Verdict {
        let before = std::mem::replace(&mut self.tokens[at], persist.token.0);
        if persist.token.0 <= before {
            return Err(format!("{} writes {} after {before}", scene.name(at), persist.token.0));
        }
        self.disks.persist(at, persist);
        Ok(())
    }

    fn on_persisted(&mut self, _scene: Scene<'_>, at: usize, token: Token) -> Verdict {
        self.disks.persisted(at, token);
        Ok(())
    }

    fn on_frame(&mut self, scene: Scene<'_>, at: usize, frame: &FrameBody) -> Verdict {
        let FrameBody::Raft(message) = frame else { return Ok(()) };
        let stable = self.disks.stable(at);
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
