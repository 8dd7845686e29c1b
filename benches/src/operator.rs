//! What an operator asks of a cluster by its management service.

use std::ops::Range;

use funk_rpc::client::{Channel, Client};
use funk_rpc::management::ENDPOINT;
use funk_rpc::pb::managepb::cluster_management_client::ClusterManagementClient;
use funk_rpc::pb::managepb::plan_shards_request::Change;
use funk_rpc::pb::managepb::{Error, PinShardsRequest, PlanShardsRequest, ShardRange};
use funk_tokio::Tokio;
use http::Uri;

/// Speaks with whatever node answers; each passes on what only the leader can do.
#[derive(Clone, Debug)]
pub struct Operator(ClusterManagementClient<Channel<Tokio>>);

impl Operator {
    /// An operator of the cluster that `client` follows.
    pub fn new(client: &Client<Tokio>) -> Self {
        Self(ClusterManagementClient::with_origin(client.channel(ENDPOINT), Uri::from_static("http://funk")))
    }

    /// How many shards would move if these were pinned to `node`, or freed with an empty name.
    ///
    /// # Errors
    /// What the node said against it.
    pub async fn would_move(&mut self, shards: &Range<u32>, node: &str) -> Result<u32, String> {
        let change = Some(Change::Pin(pin(shards, node)));
        let answer = self.0.plan_shards(PlanShardsRequest { change }).await;
        let answer = answer.map_err(|status| format!("PlanShards: {status}"))?.into_inner();
        agreed("PlanShards", answer.error.as_ref())?;
        Ok(answer.moves.iter().map(|moved| moved.shards).sum())
    }

    /// Pins shards to `node`, or frees them with an empty name.
    ///
    /// # Errors
    /// What the node said against it.
    pub async fn pin(&mut self, shards: &Range<u32>, node: &str) -> Result<(), String> {
        let answer = self.0.pin_shards(pin(shards, node)).await;
        let answer = answer.map_err(|status| format!("PinShards: {status}"))?.into_inner();
        agreed("PinShards", answer.error.as_ref())
    }
}

fn pin(shards: &Range<u32>, node: &str) -> PinShardsRequest {
    let shards = Some(ShardRange { first: shards.start, count: shards.end - shards.start });
    PinShardsRequest { shards, pinned_to: node.into() }
}

fn agreed(call: &str, error: Option<&Error>) -> Result<(), String> {
    error.map_or(Ok(()), |error| Err(format!("{call}: {}", error.message)))
}
