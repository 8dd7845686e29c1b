//! The management service of a node: `managepb.ClusterManagement`.
//!
//! What only the leader can do is passed on to it, once.
//!
//! | file | idea |
//! |---|---|
//! | `calls` | the same for the process that the node runs in |
//! | `change` | done here if this node leads, else passed on |
//! | `shards` | plans and pins as messages |
//! | `keys` | gossip keys: listed and changed through the leader |

mod calls;
mod change;
mod keys;
mod shards;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use funk_io::{Cluster, Runtime};
use funk_proto::Status as NodeStatus;
use funk_proto::id::{ClusterName, NodeName};
use funk_proto::status::{GossipStatus, MemberStatus, RaftStatus};
use funk_tls::Current;
use tonic::{Request, Response, Status};

pub use self::calls::ManagementError;
use self::change::Change;
use self::keys::Keys;
use crate::caller::Caller;
use crate::pb::managepb as pb;
use crate::pb::managepb::cluster_management_server::ClusterManagement;
use crate::pb::managepb::error::Code;
use crate::pool::Pool;
use crate::server::Peer;

/// The endpoint at which nodes serve this.
pub const ENDPOINT: &str = "ep.clusterfunk.management";

/// Serves the management of one node's cluster.
pub struct Management<N> {
    cluster: Cluster,
    name: ClusterName,
    pool: Pool<N>,
    tls: Option<Current>,
    net: PhantomData<fn() -> N>,
}

impl<N> Clone for Management<N> {
    fn clone(&self) -> Self {
        let (cluster, name) = (self.cluster.clone(), self.name.clone());
        Self { cluster, name, pool: self.pool.clone(), tls: self.tls.clone(), net: PhantomData }
    }
}

impl<N> fmt::Debug for Management<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Management").field("node", self.cluster.name()).finish_non_exhaustive()
    }
}

impl<N: Runtime> Management<N> {
    /// The management of the cluster `name` through this node.
    pub fn new(cluster: Cluster, name: ClusterName) -> Self {
        Self { cluster, name, pool: Pool::new(), tls: None, net: PhantomData }
    }

    /// The same over TLS with these credentials, if they are given; `permit_plaintext` lets it call a leader that speaks
    /// none without it.
    #[must_use]
    pub fn over(mut self, credentials: Option<Current>, permit_plaintext: bool) -> Self {
        self.pool = Pool::new().over_or_plain(credentials.clone(), permit_plaintext);
        self.tls = credentials;
        self
    }

    /// The process that this node runs in, as a caller.
    fn own_process(&self) -> Caller {
        Caller::here(self.tls.as_ref().map(|tls| Arc::new(tls.get().identity().clone())))
    }

    async fn look(&self) -> Result<NodeStatus, Status> {
        self.cluster.status().await.map_err(|_| Status::unavailable("the node has stopped"))
    }

    fn me(&self) -> String {
        self.cluster.name().to_string()
    }
}

fn error(code: Code, message: impl Into<String>) -> Option<pb::Error> {
    Some(pb::Error { error_code: code.into(), message: message.into() })
}

fn text(name: Option<&NodeName>) -> String {
    name.map(ToString::to_string).unwrap_or_default()
}

fn number(count: impl TryInto<i32>) -> i32 {
    count.try_into().unwrap_or(i32::MAX)
}

fn node_info(member: &MemberStatus) -> pb::NodeInfo {
    pb::NodeInfo {
        node_id: member.name.clone(),
        raft_state: member.raft.as_str().into(),
        serf_state: member.gossip.as_str().into(),
        leader: member.leader,
        drained: member.drained,
    }
}

#[tonic::async_trait]
impl<N: Runtime> ClusterManagement for Management<N> {
    async fn get_status(
        &self,
        request: Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::GetStatusResponse>, Status> {
        let status = self.look().await?;
        let count = |is: fn(&&MemberStatus) -> bool| number(status.members.iter().filter(is).count());
        let asker = request.extensions().get::<Peer>();
        Ok(Response::new(pb::GetStatusResponse {
            local_node_id: self.me(),
            leader_node_id: text(status.leader.as_ref()),
            raft_node_count: count(|member| member.raft != RaftStatus::None),
            serf_node_count: count(|member| member.gossip == GossipStatus::Alive),
            local_role: status.role.to_string(),
            local_state: status.state.to_string(),
            cluster_name: self.name.to_string(),
            shard_count: number(status.shards_total),
            error: None,
            created: status.created_ns,
            your_ip: asker.map(|asker| asker.0.ip().to_string()).unwrap_or_default(),
        }))
    }

    async fn list_nodes(&self, _: Request<pb::ListNodesRequest>) -> Result<Response<pb::ListNodesResponse>, Status> {
        let status = self.look().await?;
        Ok(Response::new(pb::ListNodesResponse {
            node_id: self.me(),
            leader_id: text(status.leader.as_ref()),
            nodes: status.members.iter().map(node_info).collect(),
            error: None,
        }))
    }

    async fn list_shards(&self, _: Request<pb::ListShardsRequest>) -> Result<Response<pb::ListShardsResponse>, Status> {
        let status = self.look().await?;
        let members = status.members.iter().filter(|member| member.raft != RaftStatus::None || member.shards > 0);
        let info = |member: &MemberStatus| pb::ShardInfo {
            node_id: member.name.clone(),
            shard_count: number(member.shards),
            drained: member.drained,
        };
        Ok(Response::new(pb::ListShardsResponse {
            node_id: self.me(),
            error: None,
            shards: members.map(info).collect(),
            total_shards: number(status.shards_total),
        }))
    }

    async fn list_endpoints(
        &self,
        request: Request<pb::ListEndpointsRequest>,
    ) -> Result<Response<pb::ListEndpointsResponse>, Status> {
        let filter = request.into_inner().filter;
        let status = self.look().await?;
        let alive = status.members.iter().filter(|member| member.gossip == GossipStatus::Alive);
        let endpoints = alive.flat_map(|member| {
            let wanted = |name: &str| member.name.contains(&filter) || name.contains(&filter);
            member.endpoints.iter().filter(move |(name, _)| wanted(name)).map(|(name, address)| pb::EndpointInfo {
                node_id: member.name.clone(),
                name: name.clone(),
                address: address.to_string(),
            })
        });
        Ok(Response::new(pb::ListEndpointsResponse { node_id: self.me(), error: None, endpoints: endpoints.collect() }))
    }

    async fn step_down(&self, request: Request<pb::StepDownRequest>) -> Result<Response<pb::StepDownResponse>, Status> {
        let done = self.change(&Change::StepDown, &request).await?;
        Ok(done.response(|done| pb::StepDownResponse { node_id: done.node_id, error: done.error }))
    }

    async fn add_node(&self, request: Request<pb::AddNodeRequest>) -> Result<Response<pb::AddNodeResponse>, Status> {
        let done = self.change_node(Change::Add, &request.get_ref().node_id, &request).await?;
        Ok(done.response(|done| pb::AddNodeResponse { node_id: request.into_inner().node_id, error: done.error }))
    }

    async fn remove_node(
        &self,
        request: Request<pb::RemoveNodeRequest>,
    ) -> Result<Response<pb::RemoveNodeResponse>, Status> {
        let done = self.change_node(Change::Remove, &request.get_ref().node_id, &request).await?;
        Ok(done.response(|done| pb::RemoveNodeResponse { node_id: request.into_inner().node_id, error: done.error }))
    }

    async fn drain_node(
        &self,
        request: Request<pb::DrainNodeRequest>,
    ) -> Result<Response<pb::DrainNodeResponse>, Status> {
        let done = self.change_node(Change::Drain, &request.get_ref().node_id, &request).await?;
        Ok(done.response(|done| pb::DrainNodeResponse { node_id: request.into_inner().node_id, error: done.error }))
    }

    async fn recover(&self, request: Request<pb::RecoverRequest>) -> Result<Response<pb::RecoverResponse>, Status> {
        let (error, generation) = self.recover_here(&request).await?;
        Ok(Response::new(pb::RecoverResponse { node_id: self.me(), error, generation }))
    }

    async fn plan_shards(
        &self,
        request: Request<pb::PlanShardsRequest>,
    ) -> Result<Response<pb::PlanShardsResponse>, Status> {
        let failed = |error| pb::PlanShardsResponse { node_id: self.me(), error, ..pb::PlanShardsResponse::default() };
        Ok(Response::new(match shards::what_if(request.get_ref()) {
            Ok(change) => match self.cluster.plan(change).await {
                Ok(run) => shards::told(self.me(), &run),
                Err(why) => failed(change::refused(&why)),
            },
            Err(why) => failed(error(Code::Invalid, why)),
        }))
    }

    async fn list_keys(&self, request: Request<pb::ListKeysRequest>) -> Result<Response<pb::KeysResponse>, Status> {
        self.keys(&Keys::List, &request).await.map(Response::new)
    }

    async fn change_keys(&self, request: Request<pb::ChangeKeysRequest>) -> Result<Response<pb::KeysResponse>, Status> {
        self.keys(&Keys::Change(request.get_ref().clone()), &request).await.map(Response::new)
    }

    async fn pin_shards(
        &self,
        request: Request<pb::PinShardsRequest>,
    ) -> Result<Response<pb::PinShardsResponse>, Status> {
        let done = match shards::pin(request.get_ref()) {
            Ok((shards, node)) => self.change(&Change::Pin(shards, node), &request).await?,
            Err(why) => self.invalid(why),
        };
        Ok(done.response(|done| pb::PinShardsResponse { node_id: done.node_id, error: done.error }))
    }
}
