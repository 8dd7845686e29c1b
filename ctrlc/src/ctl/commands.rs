//! What each command asks and shows.

use std::net::SocketAddr;
use std::time::Instant;

use funk_proto::id::{ClusterName, NodeName};
use funk_rpc::pb::managepb as pb;
use serde_json::json;

use super::answer::{all_endpoints, good, marked, no_error};
use super::asked::Asked;
use super::change::{Pin, Shards};
use super::find::{MANAGEMENT, find, is_in};
use super::node::Management;
use super::stage::Stage;
use super::table::{Table, Text, date, number};
use super::{Answer, Command, CtrlFlags, Failure, NodeCommand, doctor, keys, shards, verdict, views};

pub(super) async fn run(flags: &CtrlFlags, stage: &Stage, until: Instant) -> Result<Answer, Failure> {
    let dial = flags.dial().map_err(Failure::Usage)?;
    let found = find(flags, &dial, stage).await?;
    let note = found.note(flags.cluster().as_str());
    let mut asked = Asked { addresses: found.addresses, dial, stage, until };
    // Whoever is found by a name has it; an endpoint says nothing of it.
    if let (Some(_), Some(name)) = (&flags.endpoint, &flags.cluster_name) {
        asked = of_cluster(asked, name).await?;
    }
    let mut done = carry_out(&flags.command, &asked).await;
    if let (Some(_), Ok(answer)) = (&flags.endpoint, &mut done)
        && shows(&flags.command)
        && answer.note.is_none()
    {
        answer.note = outside(&asked).await;
    }
    match (note, done) {
        (Some(note), Ok(answer)) => Ok(Answer { note: Some(note), ..answer }),
        (Some(note), Err(Failure::Refused(why))) => Err(Failure::Refused(format!("{why}; {note}"))),
        (_, done) => done,
    }
}

/// Whether a command shows the cluster, and changes nothing.
fn shows(command: &Command) -> bool {
    matches!(
        command,
        Command::Nodes
            | Command::Endpoints { .. }
            | Command::Plan { .. }
            | Command::Shards { pin: None, unpin: None, .. }
    )
}

/// A remark if the node that was asked is in no cluster: it speaks for none.
async fn outside(asked: &Asked<'_>) -> Option<String> {
    let status = asked.call(pb::GetStatusRequest {}, async |node, request| node.get_status(request).await).await;
    status.ok().and_then(|(_, status)| no_member(&status))
}

fn no_member(status: &pb::GetStatusResponse) -> Option<String> {
    (!is_in(status)).then(|| format!("{} is in no cluster: it only observes or waits", status.local_node_id))
}

/// Only the node that answers, if it is of this cluster.
async fn of_cluster<'a>(asked: Asked<'a>, name: &ClusterName) -> Result<Asked<'a>, Failure> {
    let (address, status) =
        asked.call(pb::GetStatusRequest {}, async |node, request| node.get_status(request).await).await?;
    if status.cluster_name == name.as_str() {
        return Ok(Asked { addresses: vec![address], ..asked });
    }
    let (theirs, node) = (&status.cluster_name, &status.local_node_id);
    let why = format!(
        "--cluster-name {name}, but {node} at --endpoint {address} is of cluster {theirs}: give that name, or another endpoint"
    );
    Err(Failure::Refused(why))
}

async fn carry_out(command: &Command, asked: &Asked<'_>) -> Result<Answer, Failure> {
    match command {
        Command::Status => status(asked).await,
        Command::Nodes => with_majority(asked, nodes(asked).await?).await,
        Command::Endpoints { filter } => endpoints(asked, filter.as_deref()).await,
        Command::Node(NodeCommand::Add { id }) => add(asked, id).await,
        Command::Node(NodeCommand::Rm { id }) => remove(asked, id).await,
        Command::Node(NodeCommand::Drain { id, .. }) => drain(asked, id).await,
        Command::Plan { change } | Command::Shards { plan: Some(change), .. } => shards::plan(asked, change).await,
        Command::Pin { shards: Shards(shards), id: node } | Command::Shards { pin: Some(Pin { shards, node }), .. } => {
            shards::pin(asked, shards, Some(node)).await
        }
        Command::Unpin { shards: Shards(shards) } | Command::Shards { unpin: Some(Shards(shards)), .. } => {
            shards::pin(asked, shards, None).await
        }
        Command::Shards { .. } => with_majority(asked, shards::owned(asked).await?).await,
        Command::StepDown => step_down(asked).await,
        Command::Keys(command) => keys::run(asked, command).await,
        Command::Doctor => doctor::run(asked).await,
        Command::Recover { from: Some(survivor) } => recover(asked, survivor).await,
        Command::Recover { from: None } | Command::Completions { .. } | Command::Tls(_) | Command::Health(_) => {
            Err(Failure::Usage("this command needs no cluster".into()))
        }
    }
}

async fn status(asked: &Asked<'_>) -> Result<Answer, Failure> {
    let status = verdict::status(asked).await?;
    no_error("status", status.error.as_ref())?;
    let verdict = verdict::of(asked, &status).await?;
    let json = json!({
        "serves": verdict.as_ref().map(|verdict| verdict.code() == 0),
        "verdict": verdict.as_ref().map(|verdict| &verdict.text),
        "cluster": status.cluster_name,
        "node": status.local_node_id,
        "role": status.local_role,
        "state": status.local_state,
        "leader": status.leader_node_id,
        "raft_nodes": status.raft_node_count,
        "serf_nodes": status.serf_node_count,
        "shards": status.shard_count,
        "created_ns": status.created,
        "your_ip": status.your_ip,
    });
    let or_none = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
    let mut text = Text::default();
    if let Some(verdict) = &verdict {
        text = text.toned(verdict.tone, &verdict.text);
    }
    let text = text.pairs(vec![
        ("cluster", status.cluster_name.clone()),
        ("leader", or_none(&status.leader_node_id)),
        ("members", format!("{} in Raft, {} in gossip", status.raft_node_count, status.serf_node_count)),
        ("shards", number(status.shard_count)),
        ("created", if status.created == 0 { "unknown".into() } else { date(status.created) }),
        ("asked", format!("{} ({}, {})", status.local_node_id, status.local_role, status.local_state)),
        ("you", or_none(&status.your_ip)),
    ]);
    let code = verdict.map_or(0, |verdict| verdict.code());
    Ok(Answer { note: no_member(&status), code, ..good(json, text) })
}

/// The same with a verdict before it while nothing is served, which what is shown does not tell.
async fn with_majority(asked: &Asked<'_>, answer: Answer) -> Result<Answer, Failure> {
    let Some(verdict) = verdict::lost(asked).await? else { return Ok(answer) };
    let text = Text::default().toned(verdict.tone, &verdict.text).then(answer.text);
    Ok(Answer { text, code: verdict.code(), ..answer })
}

async fn nodes(asked: &Asked<'_>) -> Result<Answer, Failure> {
    let (_, list) = asked.call(pb::ListNodesRequest {}, async |node, request| node.list_nodes(request).await).await?;
    no_error("nodes", list.error.as_ref())?;
    let entry = |node: &pb::NodeInfo| json!({ "id": node.node_id, "raft": node.raft_state, "serf": node.serf_state, "leader": node.leader, "drained": node.drained });
    let json = json!({
        "node": list.node_id,
        "leader": list.leader_id,
        "nodes": list.nodes.iter().map(entry).collect::<Vec<_>>(),
    });
    let row = |node: &pb::NodeInfo| {
        let raft = if node.raft_state.is_empty() { "-" } else { &node.raft_state };
        let leader = if node.leader { "leader" } else { "" };
        vec![node.node_id.clone(), raft.to_owned(), node.serf_state.clone(), leader.to_owned()]
    };
    let rows: Vec<_> = list.nodes.iter().map(row).collect();
    let drained = list.nodes.iter().map(|node| node.drained);
    Ok(good(json, Text::default().table(marked(&["NODE", "RAFT", "SERF", "LEADER"], rows, drained))))
}

async fn endpoints(asked: &Asked<'_>, filter: Option<&str>) -> Result<Answer, Failure> {
    let mut all = all_endpoints(asked).await?;
    if let Some(filter) = filter {
        all.retain(|(node, name, _)| node.contains(filter) || name.contains(filter));
    }
    let entry =
        |(node, name, address): &(String, String, String)| json!({ "node": node, "name": name, "address": address });
    let json = json!({ "endpoints": all.iter().map(entry).collect::<Vec<_>>() });
    let rows: Vec<_> = all.into_iter().map(|(node, name, address)| vec![node, name, address]).collect();
    Ok(good(json, Text::default().table(Table::new(&["NODE", "NAME", "ADDRESS"]).rows(rows))))
}

async fn add(asked: &Asked<'_>, id: &NodeName) -> Result<Answer, Failure> {
    let request = pb::AddNodeRequest { node_id: id.to_string() };
    let done = asked.change(request, "nodes", async |node, request| node.add_node(request).await).await?;
    no_error(&format!("node add {id}"), done.error.as_ref())?;
    Ok(changed("added", id))
}

async fn remove(asked: &Asked<'_>, id: &NodeName) -> Result<Answer, Failure> {
    let request = pb::RemoveNodeRequest { node_id: id.to_string() };
    let done = asked.change(request, "nodes", async |node, request| node.remove_node(request).await).await?;
    no_error(&format!("node rm {id}"), done.error.as_ref())?;
    Ok(changed("removed", id))
}

async fn drain(asked: &Asked<'_>, id: &NodeName) -> Result<Answer, Failure> {
    let request = pb::DrainNodeRequest { node_id: id.to_string() };
    let done = asked.change(request, "shards", async |node, request| node.drain_node(request).await).await?;
    no_error(&format!("node drain {id}"), done.error.as_ref())?;
    Ok(changed("drained", id))
}

fn changed(what: &str, id: &NodeName) -> Answer {
    good(json!({ "done": what, "node": id.as_str() }), Text::default().line(format!("{id} {what}")))
}

/// Only the survivor itself can do it, so it is looked up first.
async fn recover(asked: &Asked<'_>, survivor: &NodeName) -> Result<Answer, Failure> {
    let survivor = Asked { addresses: vec![survivor_at(asked, survivor).await?], ..asked.clone() };
    let call = async |node: &mut Management, request| node.recover(request).await;
    let done = survivor.change(pb::RecoverRequest {}, "status", call).await?;
    no_error("recover", done.error.as_ref())?;
    let json = json!({ "done": "recovered", "node": done.node_id, "generation": done.generation });
    let text = format!("{} goes on alone, as generation {}", done.node_id, done.generation);
    Ok(good(json, Text::default().line(text)))
}

/// Where the survivor listens now. Without a leader the others' lists show it where it listened before it was
/// started again, so whoever is asked here counts first, and each is asked who it is.
async fn survivor_at(asked: &Asked<'_>, survivor: &NodeName) -> Result<SocketAddr, Failure> {
    let all = all_endpoints(asked).await?;
    let managed = all.iter().filter(|(node, name, _)| node == survivor.as_str() && name == MANAGEMENT);
    let listed: Vec<SocketAddr> = managed.filter_map(|(_, _, address)| address.parse().ok()).collect();
    let mut silent = Vec::new();
    for &address in asked.addresses.iter().chain(&listed) {
        match views::ask(&asked.dial, address).await.status {
            Ok(status) if status.local_node_id == survivor.as_str() => return Ok(address),
            Ok(_) => {}
            Err(why) if listed.contains(&address) => silent.push(why),
            Err(_) => {}
        }
    }
    Err(Failure::Refused(match silent.first() {
        None => format!("no live node is called {survivor}; `ctrlc nodes` lists them"),
        Some(why) => format!("{survivor} is not where it is listed: {why}; ask it by --endpoint, at its own address"),
    }))
}

async fn step_down(asked: &Asked<'_>) -> Result<Answer, Failure> {
    let call = async |node: &mut Management, request| node.step_down(request).await;
    let done = asked.change(pb::StepDownRequest {}, "status", call).await?;
    no_error("step-down", done.error.as_ref())?;
    let json = json!({ "done": "stepped down", "node": done.node_id });
    Ok(good(json, Text::default().line(format!("{} steps down", done.node_id))))
}
