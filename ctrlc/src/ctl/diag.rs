//! Every node's view of the cluster, and where they differ.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use funk_rpc::pb::managepb as pb;
use serde_json::json;
use tokio::task::JoinSet;

use super::commands::{Asked, all_endpoints, no_error};
use super::find::MANAGEMENT;
use super::table::table;
use super::{Answer, Failure, node};

/// Time for one node to answer.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// What one node said, and how long it took.
struct View {
    status: Result<pb::GetStatusResponse, String>,
    took: Duration,
}

pub(super) async fn run(asked: &Asked<'_>) -> Result<Answer, Failure> {
    let (_, nodes) = asked.call(async |node| node.list_nodes(pb::ListNodesRequest {}).await).await?;
    no_error("diag", nodes.error.as_ref())?;
    let endpoints = all_endpoints(asked).await?;
    let (_, shards) = asked.call(async |node| node.list_shards(pb::ListShardsRequest {}).await).await?;
    no_error("diag", shards.error.as_ref())?;

    let mut asking = JoinSet::new();
    for (name, _, address) in endpoints.iter().filter(|(_, kind, _)| kind == MANAGEMENT) {
        if let Ok(address) = address.parse::<SocketAddr>() {
            let name = name.clone();
            asking.spawn(async move { (name, ask(address).await) });
        }
    }
    let mut views = BTreeMap::new();
    while let Some(answered) = asking.join_next().await {
        // A task that panicked shows as a node without an answer.
        views.extend(answered.ok());
    }
    let problems = problems(&nodes.nodes, &shards, &views);
    Ok(show(&nodes.nodes, &views, &problems))
}

async fn ask(address: SocketAddr) -> View {
    let began = Instant::now();
    let answered = tokio::time::timeout(ANSWER_MAX, node::at(address).get_status(pb::GetStatusRequest {})).await;
    let status = match answered {
        Err(_) => Err(format!("no answer from {address} within {ANSWER_MAX:?}")),
        Ok(Err(status)) => Err(node::failed(address, &status).to_string()),
        Ok(Ok(response)) => Ok(response.into_inner()),
    };
    View { status, took: began.elapsed() }
}

/// What is wrong, a line each.
fn problems(nodes: &[pb::NodeInfo], shards: &pb::ListShardsResponse, views: &BTreeMap<String, View>) -> Vec<String> {
    let mut found = Vec::new();
    let mut leaders = BTreeSet::new();
    for node in nodes.iter().filter(|node| !node.raft_state.is_empty()) {
        let id = &node.node_id;
        if node.serf_state != "alive" {
            found.push(format!(
                "{id} is a member, but {} in gossip: start it, or `ctrlc node rm {id}`",
                node.serf_state
            ));
            continue;
        }
        match views.get(id).map(|view| &view.status) {
            None => found.push(format!("{id} shows no {MANAGEMENT}")),
            Some(Err(why)) => found.push(format!("{id}: {why}")),
            Some(Ok(status)) => {
                leaders.insert(status.leader_node_id.clone());
                if !matches!(status.local_state.as_str(), "Operational" | "Resharding" | "Draining") {
                    found.push(format!("{id} is {}", status.local_state));
                }
            }
        }
    }
    if leaders.contains("") {
        found.push("some node knows no leader".into());
    }
    if leaders.len() > 1 {
        let leaders: Vec<_> = leaders.iter().map(|leader| if leader.is_empty() { "none" } else { leader }).collect();
        found.push(format!("nodes follow different leaders: {}", leaders.join(", ")));
    }
    let owned: i64 = shards.shards.iter().map(|info| i64::from(info.shard_count)).sum();
    if owned != i64::from(shards.total_shards) {
        found.push(format!("{owned} of {} shards have an owner", shards.total_shards));
    }
    let voters = nodes.iter().filter(|node| node.raft_state == "Voter").count();
    let alive = nodes.iter().filter(|node| node.raft_state == "Voter" && node.serf_state == "alive").count();
    if alive * 2 <= voters {
        found.push(format!("{alive} of {voters} voters are alive: no majority; see `ctrlc recover`"));
    } else if voters > 1 && (alive - 1) * 2 <= voters {
        found.push(format!("{alive} of {voters} voters are alive: the loss of one more stops the cluster"));
    }
    found
}

fn show(nodes: &[pb::NodeInfo], views: &BTreeMap<String, View>, problems: &[String]) -> Answer {
    let mut rows = Vec::new();
    let mut entries = Vec::new();
    for info in nodes {
        let view = views.get(&info.node_id);
        let status = view.and_then(|view| view.status.as_ref().ok());
        let took = view.filter(|view| view.status.is_ok()).map(|view| view.took.as_secs_f64() * 1e3);
        let (state, role, leader) = status.map_or(("-", "-", "-"), |status| {
            (status.local_state.as_str(), status.local_role.as_str(), status.leader_node_id.as_str())
        });
        let time = took.map_or_else(|| "-".to_owned(), |took| format!("{took:.1} ms"));
        let serf = info.serf_state.as_str();
        rows.push([info.node_id.as_str(), serf, state, role, leader, &time].map(str::to_owned).to_vec());
        entries.push(json!({
            "id": info.node_id,
            "serf": info.serf_state,
            "raft": info.raft_state,
            "answered": status.is_some(),
            "state": status.map(|status| &status.local_state),
            "role": status.map(|status| &status.local_role),
            "leader": status.map(|status| &status.leader_node_id),
            "took_ms": took,
        }));
    }
    let mut text = table(&["NODE", "SERF", "STATE", "ROLE", "FOLLOWS", "ANSWERED"], &rows);
    text.push('\n');
    for problem in problems {
        text.push_str(&format!("! {problem}\n"));
    }
    if problems.is_empty() {
        text.push_str("nothing is wrong\n");
    }
    let good = problems.is_empty();
    Answer { json: json!({ "nodes": entries, "problems": problems, "good": good }), text, good }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, serf: &str) -> pb::NodeInfo {
        pb::NodeInfo { node_id: id.into(), raft_state: "Voter".into(), serf_state: serf.into(), leader: id == "a" }
    }

    fn view(leader: &str, state: &str) -> View {
        let status =
            pb::GetStatusResponse { leader_node_id: leader.into(), local_state: state.into(), ..Default::default() };
        View { status: Ok(status), took: Duration::ZERO }
    }

    fn shards(owned: i32) -> pb::ListShardsResponse {
        let shards = vec![pb::ShardInfo { node_id: "a".into(), shard_count: owned }];
        pb::ListShardsResponse { shards, total_shards: 10, ..Default::default() }
    }

    #[test]
    fn a_healthy_cluster_has_no_problems() {
        let nodes = ["a", "b", "c"].map(|id| node(id, "alive"));
        let views = ["a", "b", "c"].map(|id| (id.to_owned(), view("a", "Operational"))).into();
        assert!(problems(&nodes, &shards(10), &views).is_empty());
        assert!(show(&nodes, &views, &[]).good);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let nodes = [node("a", "alive"), node("b", "alive"), node("c", "failed"), node("d", "alive")];
        let silent = View { status: Err("no answer".into()), took: Duration::ZERO };
        let views = [
            ("a".to_owned(), view("a", "Operational")),
            ("b".to_owned(), view("", "Voting")),
            ("d".to_owned(), silent),
        ];
        let found = problems(&nodes, &shards(9), &views.into()).join("\n");
        for said in ["c is a member", "d: no answer", "b is Voting", "no leader", "a", "9 of 10", "3 of 4 voters"] {
            assert!(found.contains(said), "{said}: {found}");
        }
    }
}
