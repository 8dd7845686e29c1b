//! Who may say what on a stream: each kind of frame has a rightful sender.
//!
//! | frame | from whom |
//! |---|---|
//! | hello, refusal | anybody |
//! | join | anybody; on a stream with a certificate, the node that it names, or a member that passes it on |
//!
//! All others come from a node that has proven to be who it says it is: it was reached where the member table says that
//! it is. If nobody is reached there, where gossip shows it will do, for all may have moved at once; but not to a node
//! that follows another leader, since the leader's log will tell where the sender is.
//!
//! | frame | from whom |
//! |---|---|
//! | Raft | consensus decides, see `consensus/admission.rs` |
//! | leave | the node itself, or a member that passes it on |
//! | farewell, join refused | the leader that this node follows; without one, whom this node asked to be let in |
//! | release, piece of a state, evidence | a member that is up, in its own name |
//! | proposal | the same; anybody else is told that it is refused, so that no request waits for ever |
//! | update | that member itself |
//! | question for the gossip keys | a member that is up |
//! | gossip keys | the same, on a stream with a certificate; they count only if they are those that the replicated state names |
//! | answers to a proposal or a piece | a member, or the leader that this node follows; each counts from whom it was sent to |
//! | where the leader is | the same; to a node that is in no cluster yet, anybody |

use super::Node;
use crate::error::Misbehaviour;
use crate::event::Event;
use crate::id::{ConnId, Incarnation, NodeName, RaftId};
use crate::mutate::{Mutant, planted};
use crate::peers::Standing;
use crate::wire::cluster::FrameBody;

impl Node {
    /// Refuses a frame that its sender has no right to send.
    ///
    /// # Errors
    /// [`Misbehaviour::Unauthorized`] with the kind of the frame.
    pub(super) fn check_sender(
        &self,
        from: Incarnation,
        standing: Standing,
        certified: Option<&NodeName>,
        body: &FrameBody,
    ) -> Result<(), Misbehaviour> {
        let id = from.id;
        let (kind, is_rightful) = match body {
            FrameBody::Hello(_) | FrameBody::Refused(_) => return Ok(()),
            FrameBody::Join(record) => {
                let is_own = |name: &NodeName| record.id == id.get() && record.name == name.as_str();
                if certified.is_none_or(is_own) || self.is_up(from) {
                    return Ok(());
                }
                ("join of another node", false)
            }
            FrameBody::Raft(_) => ("Raft message", true),
            FrameBody::Propose(_) => ("proposal", true),
            FrameBody::Leave(name) => {
                ("leave", name.id == id.get() || self.is_up(from) || planted(Mutant::LeaveOfStranger))
            }
            FrameBody::Farewell(_) => ("farewell", self.is_from_leader(id) || planted(Mutant::FarewellOfAnyMember)),
            FrameBody::JoinRefused(_) => {
                ("refusal to join", self.is_from_leader(id) || planted(Mutant::JoinRefusedByAnyMember))
            }
            FrameBody::Release(_) => ("release", self.is_up(from) || planted(Mutant::ReleaseOfStranger)),
            FrameBody::Update(record) => {
                let is_own = record.id == id.get() && record.boot == from.boot.get() && self.is_up(from);
                ("member update", is_own || planted(Mutant::UpdateOfAnyMember))
            }
            FrameBody::Carry(_) => ("state of a shard", self.is_up(from) || planted(Mutant::StateOfStranger)),
            FrameBody::WantRing(_) => ("question for the gossip keys", self.is_up(from)),
            FrameBody::Ring(_) => ("gossip keyring", self.is_up(from) && certified.is_some()),
            FrameBody::Gone(_) => ("evidence", self.is_up(from) || planted(Mutant::EvidenceOfStranger)),
            FrameBody::ProposeRefused(_) | FrameBody::Carried(_) => {
                ("answer", self.is_known(id) || planted(Mutant::AnswerOfStranger))
            }
            FrameBody::LeaderAt(_) => {
                ("place of the leader", self.is_known(id) || self.state.is_none() || planted(Mutant::AnswerOfStranger))
            }
        };
        let is_rightful = is_rightful && self.is_proven(id, standing);
        if is_rightful || planted(Mutant::AnySenderBelieved) { Ok(()) } else { Err(Misbehaviour::Unauthorized(kind)) }
    }

    /// Counts and reports what a peer did wrong.
    pub(super) fn note_misbehaviour(&mut self, conn: ConnId, what: Misbehaviour) {
        match what {
            Misbehaviour::Raft(_) => self.view.counters.raft_refused += 1,
            Misbehaviour::Impersonation { .. } => self.view.counters.impersonations += 1,
            _ => self.view.counters.frames_dropped += 1,
        }
        tracing::debug!(%conn, %what, "frame dropped");
        self.event(Event::PeerMisbehaved { what });
    }

    /// Whether the sender is who it says it is, as far as this node can tell.
    fn is_proven(&self, from: RaftId, standing: Standing) -> bool {
        match standing {
            Standing::Claimed => false,
            Standing::Elsewhere => {
                let leader = self.consensus.leader();
                let follows = leader.is_some_and(|leader| leader != self.me.id && leader != from);
                let needs_it = !follows || self.liveness.leader_is_silent();
                needs_it && !self.peers.is_at_home(from) || planted(Mutant::ElsewhereBelieved)
            }
            Standing::Confirmed => true,
        }
    }

    /// The table has that node, up or down.
    pub(super) fn is_listed(&self, id: RaftId) -> bool {
        self.state.as_ref().is_some_and(|state| state.members.get(id).is_some())
    }

    fn is_known(&self, from: RaftId) -> bool {
        self.is_listed(from) || self.consensus.leader() == Some(from)
    }

    /// That process is listed as up.
    fn is_up(&self, who: Incarnation) -> bool {
        self.state.as_ref().is_some_and(|state| state.members.is_up(who.id, who.boot))
    }

    /// The process of that node that was reached last is listed as up.
    pub(super) fn is_up_member(&self, from: RaftId) -> bool {
        self.peers.boot(from).is_some_and(|boot| self.is_up(Incarnation { id: from, boot }))
    }

    /// The leader says so, or, to a node that knows none, a node that it may have asked.
    fn is_from_leader(&self, from: RaftId) -> bool {
        self.consensus.leader().map_or_else(|| self.joining.may_be_told(), |leader| leader == from)
    }
}
