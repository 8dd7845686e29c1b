//! What only the leader can do: done here if this node leads, else passed on to it, once.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use funk_io::{Cluster, OperationError};
use funk_proto::id::NodeName;
use tonic::{Request, Status};

use super::{ENDPOINT, Management, NodeStatus, error, pb, text};
use crate::net::{Net, within};
use crate::pb::managepb::cluster_management_client::ClusterManagementClient;
use crate::pb::managepb::error::Code;
use crate::reply::time_for;

/// Marks a call that was passed on: it is not passed on again.
const HOP_KEY: &str = "x-funk-hop";

/// Pause before the leader that comes next is looked for.
const AGAIN: Duration = Duration::from_millis(50);

/// Something that only the leader can do.
#[derive(Debug)]
pub(super) enum Change {
    Add(NodeName),
    Remove(NodeName),
    Drain(NodeName),
    Pin(Range<u32>, Option<NodeName>),
    StepDown,
}

/// How far a change came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// Asking again brings nothing new.
    Final,
    /// Whoever was asked does not lead: nothing was done.
    NotDone,
    /// The leader was lost meanwhile.
    Unknown,
}

impl Change {
    /// Whether doing it twice comes to the same as once. A second removal would find nobody, a second
    /// step down would unseat the new leader.
    fn may_repeat(&self) -> bool {
        matches!(self, Self::Add(_) | Self::Drain(_) | Self::Pin(..))
    }

    async fn carry_out(&self, cluster: &Cluster) -> Result<(), OperationError> {
        match self {
            Self::Add(name) => cluster.add_member(name).await,
            Self::Remove(name) => cluster.remove_member(name).await,
            Self::Drain(name) => cluster.drain(name).await,
            Self::Pin(shards, Some(node)) => cluster.pin(shards.clone(), node).await,
            Self::Pin(shards, None) => cluster.unpin(shards.clone()).await,
            Self::StepDown => cluster.step_down().await,
        }
    }

    /// The same call at another node, with the time that is left for it.
    async fn call<N: Net>(&self, node: &Management<N>, at: SocketAddr, time: Duration) -> Result<Answer, Status> {
        let mut leader = ClusterManagementClient::new(node.pool.at(at));
        Ok(match self {
            Self::Add(name) => {
                let asked = passed_on(pb::AddNodeRequest { node_id: name.to_string() }, time);
                leader.add_node(asked).await?.into_inner().error
            }
            Self::Remove(name) => {
                let asked = passed_on(pb::RemoveNodeRequest { node_id: name.to_string() }, time);
                leader.remove_node(asked).await?.into_inner().error
            }
            Self::Drain(name) => {
                let asked = passed_on(pb::DrainNodeRequest { node_id: name.to_string() }, time);
                leader.drain_node(asked).await?.into_inner().error
            }
            Self::Pin(shards, node) => {
                let asked = passed_on(pb::PinShardsRequest::of(shards, node.as_ref()), time);
                leader.pin_shards(asked).await?.into_inner().error
            }
            Self::StepDown => leader.step_down(passed_on(pb::StepDownRequest {}, time)).await?.into_inner().error,
        })
    }
}

/// Why it was not done, if it was not.
pub(super) type Answer = Option<pb::Error>;

fn passed_on<T>(message: T, time: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(time);
    request.metadata_mut().insert(HOP_KEY, tonic::metadata::MetadataValue::from_static("1"));
    request
}

/// Where the leader serves this.
fn leader_at(status: &NodeStatus) -> Option<SocketAddr> {
    let leader = status.leader.as_ref()?;
    let member = status.members.iter().find(|member| member.name == *leader)?;
    member.endpoints.get(ENDPOINT).copied()
}

pub(super) fn refused(why: &OperationError) -> Answer {
    let code = match why {
        OperationError::NotLeader { .. } => Code::NoLeader,
        OperationError::UnknownMember(name) => return error(Code::UnknownId, format!("no node is called {name:?}")),
        OperationError::Refused(_) => Code::Invalid,
        _ => Code::Generic,
    };
    error(code, why.to_string())
}

fn late(who: impl fmt::Display, time: Duration) -> Answer {
    error(Code::Generic, format!("{who} was not done within {time:?}: it may be done yet; look before you ask again"))
}

impl<N: Net> Management<N> {
    /// Carries `change` out, here or at the leader, within the time that `request` leaves. When the leader
    /// changes meanwhile the next one is asked, where that is safe.
    /// Gives the leader's id, and why it was not done.
    pub(super) async fn change<T>(&self, change: &Change, request: &Request<T>) -> Result<(String, Answer), Status> {
        let was_passed_on = request.metadata().contains_key(HOP_KEY);
        let deadline = Instant::now() + time_for(request);
        let mut led = false;
        loop {
            let status = self.look().await?;
            let leader = text(status.leader.as_ref());
            let left = deadline.saturating_duration_since(Instant::now());
            let (how, answer) = if status.leader.as_ref() == Some(self.cluster.name()) {
                self.change_here(change, left).await
            } else if let Some(address) = leader_at(&status).filter(|_| !was_passed_on) {
                self.change_there(change, address, left).await
            } else {
                (How::NotDone, error(Code::NoLeader, "no leader is known here"))
            };
            // Only a leader that was there can have changed: a cluster without one is told of at once.
            led |= status.leader.is_some();
            let again = match how {
                How::Final => false,
                How::NotDone => true,
                How::Unknown => change.may_repeat(),
            };
            let time_left = deadline.saturating_duration_since(Instant::now()) > 2 * AGAIN;
            if !again || !led || was_passed_on || !time_left {
                // Who answers without a leader is this node.
                return Ok((if leader.is_empty() { self.me() } else { leader }, answer));
            }
            N::sleep(AGAIN).await;
        }
    }

    async fn change_there(&self, change: &Change, address: SocketAddr, time: Duration) -> (How, Answer) {
        match within::<N, _>(time, change.call(self, address, time)).await {
            Some(Ok(None)) => (How::Final, None),
            Some(Ok(Some(why))) => {
                let how = match why.error_code() {
                    Code::NoLeader => How::NotDone,
                    // The leader's word for an outcome that it does not know is a text, as for all that it refuses.
                    Code::Generic => How::Unknown,
                    _ => How::Final,
                };
                (how, Some(why))
            }
            Some(Err(why)) => {
                (How::Unknown, error(Code::Generic, format!("the leader at {address}: {}", why.message())))
            }
            None => (How::Final, late(format_args!("the call to the leader at {address}"), time)),
        }
    }

    /// Carries out what `kind` makes of the node `id`, and gives why it was not done.
    pub(super) async fn change_node<T>(
        &self,
        kind: fn(NodeName) -> Change,
        id: &str,
        request: &Request<T>,
    ) -> Result<Answer, Status> {
        match id.parse() {
            Ok(name) => Ok(self.change(&kind(name), request).await?.1),
            Err(_) => Ok(error(Code::Invalid, format!("{id:?} is no node id: give 1 to 28 of A-Z a-z 0-9 . -"))),
        }
    }

    async fn change_here(&self, change: &Change, time: Duration) -> (How, Answer) {
        match within::<N, _>(time, change.carry_out(&self.cluster)).await {
            Some(Ok(())) => (How::Final, None),
            Some(Err(why)) => {
                let how = match why {
                    OperationError::NotLeader { .. } => How::NotDone,
                    OperationError::Unknown => How::Unknown,
                    _ => How::Final,
                };
                (how, refused(&why))
            }
            None => (How::Final, late("the change", time)),
        }
    }
}
