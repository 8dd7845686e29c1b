//! What only the leader can do: done here if this node leads, else passed on to it, once.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

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

/// Something that only the leader can do.
#[derive(Debug)]
pub(super) enum Change {
    Add(NodeName),
    Remove(NodeName),
    Drain(NodeName),
    Pin(Range<u32>, Option<NodeName>),
    StepDown,
}

impl Change {
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
    /// Carries `change` out, here or at the leader, within the time that `request` leaves.
    /// Gives the leader's id, and why it was not done.
    pub(super) async fn change<T>(&self, change: &Change, request: &Request<T>) -> Result<(String, Answer), Status> {
        let status = self.look().await?;
        let leader = text(status.leader.as_ref());
        let time = time_for(request);
        if status.leader.as_ref() == Some(self.cluster.name()) {
            return Ok((leader, self.change_here(change, time).await));
        }
        let was_passed_on = request.metadata().contains_key(HOP_KEY);
        let Some(address) = leader_at(&status).filter(|_| !was_passed_on) else {
            return Ok((self.me(), error(Code::NoLeader, "no leader is known here")));
        };
        let answer = match within::<N, _>(time, change.call(self, address, time)).await {
            Some(Ok(answer)) => answer,
            Some(Err(why)) => error(Code::Generic, format!("the leader at {address}: {}", why.message())),
            None => late(format_args!("the call to the leader at {address}"), time),
        };
        Ok((leader, answer))
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

    async fn change_here(&self, change: &Change, time: Duration) -> Answer {
        match within::<N, _>(time, change.carry_out(&self.cluster)).await {
            Some(Ok(())) => None,
            Some(Err(why)) => refused(&why),
            None => late("the change", time),
        }
    }
}
