//! What every node says of itself and of the cluster.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use funk_rpc::pb::managepb as pb;
use tokio::task::JoinSet;

use super::answer::{all_endpoints, no_error};
use super::asked::Asked;
use super::find::MANAGEMENT;
use super::node::Dial;
use super::{Failure, node};

/// Time for one node to answer.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// What one node said, and how long it took.
pub(super) struct View {
    pub(super) status: Result<pb::GetStatusResponse, String>,
    pub(super) took: Duration,
}

/// What the nodes say, all asked at the same time.
pub(super) struct Views {
    pub(super) nodes: Vec<pb::NodeInfo>,
    pub(super) shards: pb::ListShardsResponse,
    pub(super) by_name: BTreeMap<String, View>,
}

impl Views {
    /// The voters, and those of them that answer.
    pub(super) fn voters(&self) -> Voters {
        let is_voter = |node: &&pb::NodeInfo| node.raft_state == "Voter";
        let answers = |node: &&pb::NodeInfo| self.by_name.get(&node.node_id).is_some_and(|view| view.status.is_ok());
        let members = || self.nodes.iter().filter(|node| !node.raft_state.is_empty());
        Voters {
            all: self.nodes.iter().filter(is_voter).count(),
            answer: self.nodes.iter().filter(is_voter).filter(answers).count(),
            up: members().filter(|node| node.serf_state == "alive").filter(answers).count(),
            members: members().count(),
        }
    }
}

/// How many voters there are, and how many of them answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Voters {
    pub(super) all: usize,
    pub(super) answer: usize,
    /// Members, voters or not, that are up in gossip and answer.
    pub(super) up: usize,
    pub(super) members: usize,
}

/// Asks for all nodes, and then each of them.
pub(super) async fn views(asked: &Asked<'_>) -> Result<Views, Failure> {
    let (_, nodes) = asked.call(pb::ListNodesRequest {}, async |node, request| node.list_nodes(request).await).await?;
    no_error("nodes", nodes.error.as_ref())?;
    let endpoints = all_endpoints(asked).await?;
    let (_, shards) =
        asked.call(pb::ListShardsRequest {}, async |node, request| node.list_shards(request).await).await?;
    no_error("shards", shards.error.as_ref())?;
    let mut asking = JoinSet::new();
    for (name, _, address) in endpoints.iter().filter(|(_, kind, _)| kind == MANAGEMENT) {
        if let Ok(address) = address.parse::<SocketAddr>() {
            let (name, dial) = (name.clone(), asked.dial.to(name));
            asking.spawn(async move { (name, ask(&dial, address).await) });
        }
    }
    let mut by_name = BTreeMap::new();
    while let Some(answered) = asking.join_next().await {
        // A task that panicked shows as a node without an answer.
        by_name.extend(answered.ok());
    }
    Ok(Views { nodes: nodes.nodes, shards, by_name })
}

pub(super) async fn ask(dial: &Dial, address: SocketAddr) -> View {
    let began = Instant::now();
    let answered = tokio::time::timeout(ANSWER_MAX, dial.at(address).get_status(pb::GetStatusRequest {})).await;
    let status = match answered {
        Err(_) => Err(format!("no answer from {address} within {ANSWER_MAX:?}")),
        Ok(Err(status)) => Err(node::failed(address, &status, None).to_string()),
        Ok(Ok(response)) => Ok(response.into_inner()),
    };
    View { status, took: began.elapsed() }
}
