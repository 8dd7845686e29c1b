//! Who may say what on a stream: each kind of frame has a rightful sender.
//!
//! | frame | from whom |
//! |---|---|
//! | hello, refusal, join | anybody |
//! | Raft | consensus decides, see `consensus/admission.rs` |
//! | leave | the node itself, or a member that passes it on |
//! | farewell, join refused | the leader that this node follows; without one, whom this node asked to be let in |
//! | release, piece of a state, evidence | a member that is up, in its own name |
//! | proposal | the same; anybody else is told that it is refused, so that no request waits for ever |
//! | update | that member itself |
//! | answers to a proposal or a piece | a member, or the leader that this node follows |

use super::Node;
use crate::error::Misbehaviour;
use crate::id::{Incarnation, RaftId};
use crate::mutate::{Mutant, planted};
use crate::wire::cluster::FrameBody;

impl Node {
    /// Refuses a frame that its sender has no right to send.
    ///
    /// # Errors
    /// [`Misbehaviour::Unauthorized`] with the kind of the frame.
    pub(super) fn check_sender(&self, from: RaftId, body: &FrameBody) -> Result<(), Misbehaviour> {
        let (kind, is_rightful) = match body {
            FrameBody::Hello(_) | FrameBody::Refused(_) | FrameBody::Join(_) => return Ok(()),
            FrameBody::Raft(_) | FrameBody::Propose(_) => return Ok(()),
            FrameBody::Leave(name) => ("leave", name.id == from.get() || self.is_up_member(from)),
            FrameBody::Farewell(_) => ("farewell", self.is_from_leader(from)),
            FrameBody::JoinRefused(_) => ("refusal to join", self.is_from_leader(from)),
            FrameBody::Release(_) => ("release", self.is_up_member(from)),
            FrameBody::Update(record) => ("member update", record.id == from.get() && self.is_up_member(from)),
            FrameBody::Carry(_) => ("state of a shard", self.is_up_member(from)),
            FrameBody::Gone(_) => ("evidence", self.is_up_member(from)),
            FrameBody::ProposeRefused(_) | FrameBody::Carried(_) => ("answer", self.is_known(from)),
        };
        if is_rightful || planted(Mutant::AnySenderBelieved) { Ok(()) } else { Err(Misbehaviour::Unauthorized(kind)) }
    }

    fn is_known(&self, from: RaftId) -> bool {
        let is_listed = self.state.as_ref().is_some_and(|state| state.members.get(from).is_some());
        is_listed || self.consensus.leader() == Some(from)
    }

    /// The process that said hello as this node is listed as up.
    pub(super) fn is_up_member(&self, from: RaftId) -> bool {
        let said = self.peers.boot(from).map(|boot| Incarnation { id: from, boot });
        let is_up = |who: Incarnation| self.state.as_ref().is_some_and(|state| state.members.is_up(who.id, who.boot));
        said.is_some_and(is_up)
    }

    /// The leader says so, or, to a node that knows none, a node that it may have asked.
    fn is_from_leader(&self, from: RaftId) -> bool {
        self.consensus.leader().map_or_else(|| self.joining.may_be_told(), |leader| leader == from)
    }
}
