//! The cluster as a node sees it, for programs that are no node:
//! `funk.cluster.v1.Cluster`.
//!
//! A watcher costs the snapshot that it was last sent and at most
//! one batch of messages; changes that it did not take in time
//! come as one, and a watcher that takes nothing for too long is cut.

mod snapshot;
mod watchers;

use std::fmt;
use std::marker::PhantomData;

use funk_io::{Cluster, ProposeError, Runtime};
use funk_proto::RequestError;
use funk_proto::id::ClusterName;
use funk_proto::limits::PROPOSAL_BYTES_MAX;
use tonic::{Request, Response, Status};

use self::watchers::{Stream, Watchers};
use crate::net::within;
use crate::pb::cluster as pb;
use crate::pb::cluster::cluster_server::Cluster as Service;
use crate::reply::time_for;

/// The endpoint at which nodes serve this.
pub const ENDPOINT: &str = "ep.cluster";

/// Shows one node's cluster to programs outside of it.
pub struct ClusterService<N> {
    cluster: Cluster,
    name: ClusterName,
    watchers: Watchers,
    net: PhantomData<fn() -> N>,
}

impl<N> fmt::Debug for ClusterService<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterService").field("node", self.cluster.name()).finish_non_exhaustive()
    }
}

impl<N: Runtime> ClusterService<N> {
    /// The cluster `name` through this node.
    pub fn new(cluster: Cluster, name: ClusterName) -> Self {
        Self { cluster, name, watchers: Watchers::default(), net: PhantomData }
    }
}

fn refused(error: &ProposeError) -> Status {
    let message = error.to_string();
    match error {
        ProposeError::Rejected(RequestError::Busy) => Status::resource_exhausted(message),
        ProposeError::Rejected(_) => Status::unavailable(message),
        _ => Status::unknown(message),
    }
}

#[tonic::async_trait]
impl<N: Runtime> Service for ClusterService<N> {
    type WatchStream = Stream;

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Result<Response<Stream>, Status> {
        let epoch = request.into_inner().epoch;
        let stream = self.watchers.start::<N>(self.cluster.clone(), self.name.clone(), epoch)?;
        Ok(Response::new(stream))
    }

    async fn propose(&self, request: Request<pb::ProposeRequest>) -> Result<Response<pb::ProposeResponse>, Status> {
        let time = time_for(&request);
        let payload = request.into_inner().payload;
        if payload.len() > PROPOSAL_BYTES_MAX {
            let message = format!("{} bytes, where {PROPOSAL_BYTES_MAX} are the most", payload.len());
            return Err(Status::invalid_argument(message));
        }
        match within::<N, _>(time, self.cluster.propose(payload.into())).await {
            Some(Ok(index)) => Ok(Response::new(pb::ProposeResponse { index: index.0 })),
            Some(Err(error)) => Err(refused(&error)),
            None => Err(Status::deadline_exceeded("not known to be applied in time: it may be applied or not")),
        }
    }

    async fn endpoints(
        &self,
        request: Request<pb::EndpointsRequest>,
    ) -> Result<Response<pb::EndpointsResponse>, Status> {
        let prefix = request.into_inner().prefix;
        let set = self.cluster.all_endpoints();
        let wanted = set.iter().filter(|(_, name, _)| name.starts_with(&prefix));
        let endpoint = |(node, name, address): (&str, &str, std::net::SocketAddr)| pb::Endpoint {
            node_id: node.into(),
            name: name.into(),
            address: address.to_string(),
        };
        Ok(Response::new(pb::EndpointsResponse { endpoints: wanted.map(endpoint).collect() }))
    }
}
