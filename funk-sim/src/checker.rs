//! What must hold, asked at every step.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use funk_proto::id::{Epoch, LogIndex, ShardId};
use funk_proto::shards::RouteTable;
use funk_proto::wire::cluster::FrameBody;
use funk_proto::wire::journal::Damaged;
use funk_proto::{Event, Persist, Timestamp};

use crate::host::{Facts, Host};

/// `Err` says in words what was broken.
pub type Verdict = Result<(), String>;

/// All that a checker may look at.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// True time.
    pub now: Timestamp,
    /// All hosts.
    pub hosts: &'a [Host],
}

impl Scene<'_> {
    /// One host as the story names it: by its place, since names may be taken.
    pub fn name(&self, at: usize) -> String {
        format!("n{at}")
    }

    /// A host's published map, if it is another than the one in `before`.
    pub(crate) fn new_routes(&self, at: usize, before: Option<&Facts>) -> Option<Arc<RouteTable>> {
        let host = &self.hosts[at];
        let version = host.facts()?.route_version;
        let changed = before.is_none_or(|before| before.route_version != version);
        if changed { host.node().map(|node| node.routes()) } else { None }
    }
}

/// A property, and what it remembers to tell when it is broken. Every method
/// has an empty default, so that each looks only at what concerns it.
pub trait Checker: fmt::Debug {
    /// The property's name.
    fn name(&self) -> &'static str;

    /// A process is about to start: what it reads of its disk, or why it must not go on with it.
    fn on_open(&mut self, _scene: Scene<'_>, _at: usize, _found: Result<&[Bytes], &Damaged>) -> Verdict {
        Ok(())
    }

    /// A process has started.
    fn on_start(&mut self, _scene: Scene<'_>, _at: usize) -> Verdict {
        Ok(())
    }

    /// A process is gone.
    fn on_stop(&mut self, _scene: Scene<'_>, _at: usize) -> Verdict {
        Ok(())
    }

    /// A process goes on after it stood still; nothing has reached it yet but the gap itself.
    fn on_resume(&mut self, _scene: Scene<'_>, _at: usize) -> Verdict {
        Ok(())
    }

    /// A step changed a host's facts. `before` is `None` at the first step of a process.
    fn on_change(&mut self, _scene: Scene<'_>, _at: usize, _before: Option<&Facts>) -> Verdict {
        Ok(())
    }

    /// A node told its application something.
    fn on_event(&mut self, _scene: Scene<'_>, _at: usize, _event: &Event) -> Verdict {
        Ok(())
    }

    /// A node sends a cluster frame.
    fn on_frame(&mut self, _scene: Scene<'_>, _at: usize, _frame: &FrameBody) -> Verdict {
        Ok(())
    }

    /// A node wants something written.
    fn on_persist(&mut self, _scene: Scene<'_>, _at: usize, _persist: &Persist) -> Verdict {
        Ok(())
    }

    /// A write, and all before it, are stable.
    fn on_persisted(&mut self, _scene: Scene<'_>, _at: usize, _token: funk_proto::Token) -> Verdict {
        Ok(())
    }

    /// A node's state was replaced by a snapshot.
    fn on_snapshot(&mut self, _scene: Scene<'_>, _at: usize) -> Verdict {
        Ok(())
    }

    /// A service gave an answer under its right to the shard.
    fn on_served(&mut self, _scene: Scene<'_>, _at: usize, _shard: ShardId, _epoch: Epoch) -> Verdict {
        Ok(())
    }

    /// A service gave what it has of a shard for the shard's next owner.
    fn on_state_given(
        &mut self,
        _scene: Scene<'_>,
        _at: usize,
        _change: LogIndex,
        _shard: ShardId,
        _state: Option<&Bytes>,
    ) -> Verdict {
        Ok(())
    }

    /// A node got a shard, under this epoch, with what its former owner gave.
    fn on_state_received(
        &mut self,
        _scene: Scene<'_>,
        _at: usize,
        _shard: ShardId,
        _epoch: Epoch,
        _state: &Bytes,
    ) -> Verdict {
        Ok(())
    }

    /// A client got an answer. `asked` and `answered` are the bytes of both.
    fn on_answer(&mut self, _scene: Scene<'_>, _shard: ShardId, _asked: &[u8], _answered: &[u8]) -> Verdict {
        Ok(())
    }

    /// A node took a request on that ends with an event of this number.
    fn on_request(&mut self, _scene: Scene<'_>, _at: usize, _id: funk_proto::RequestId) -> Verdict {
        Ok(())
    }

    /// A client proposed these bytes through a node, under this number of its own.
    fn on_propose(&mut self, _scene: Scene<'_>, _at: usize, _id: funk_proto::RequestId, _bytes: &[u8]) -> Verdict {
        Ok(())
    }

    /// A client wants to know through a node what was committed before.
    fn on_barrier(&mut self, _scene: Scene<'_>, _at: usize, _id: funk_proto::RequestId) -> Verdict {
        Ok(())
    }

    /// The run is over.
    fn at_end(&mut self, _scene: Scene<'_>) -> Verdict {
        Ok(())
    }

    /// A clock's rate is within the bound that leases rely on, or not any more.
    fn on_drift(&mut self, _scene: Scene<'_>, _within: bool) -> Verdict {
        Ok(())
    }
}

/// A property was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The property.
    pub property: &'static str,
    /// When, in true time.
    pub at: Timestamp,
    /// At which host's step.
    pub node: Option<usize>,
    /// What, in words.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is broken at {}: {}", self.property, self.at, self.what)
    }
}
