//! A node's status JSON, read strictly.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use super::http::{self, Client};

/// The fields of the status object that the contract fixes.
pub const STATUS_FIELDS: [&str; 13] = [
    "applied_index",
    "cluster",
    "commit_index",
    "epoch",
    "leader",
    "may_serve",
    "members",
    "node_id",
    "role",
    "shards_owned",
    "shards_total",
    "state",
    "term",
];

/// The fields of each member in it.
pub const MEMBER_FIELDS: [&str; 6] = ["endpoints", "id", "leader", "raft", "serf", "shards"];

/// What `/api/v1/status` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The node.
    pub node_id: String,
    /// Its cluster's name.
    pub cluster: String,
    /// Its state, in the words of the contract.
    pub state: String,
    /// Its role.
    pub role: String,
    /// The leader's id, if it knows one.
    pub leader: Option<String>,
    /// The term.
    pub term: u64,
    /// Highest committed index.
    pub commit_index: u64,
    /// Highest applied index.
    pub applied_index: u64,
    /// The map epoch.
    pub epoch: u64,
    /// Shards of the cluster.
    pub shards_total: u64,
    /// Shards of this node.
    pub shards_owned: u64,
    /// Whether it may serve at this moment.
    pub may_serve: bool,
    /// The members as it sees them, by id.
    pub members: BTreeMap<String, Member>,
}

/// One member in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Serf's word for it.
    pub serf: String,
    /// `Voter`, `Nonvoter` or nothing.
    pub raft: String,
    /// Whether it leads.
    pub leader: bool,
    /// Shards that it owns.
    pub shards: u64,
    /// Its endpoints.
    pub endpoints: BTreeMap<String, SocketAddr>,
}

impl Status {
    /// Reads the JSON object.
    ///
    /// # Errors
    /// Names the field that is missing or of the wrong kind.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let json: Value = serde_json::from_slice(bytes).map_err(|error| format!("the status is no JSON: {error}"))?;
        let members = json["members"].as_array().ok_or("`members` is no list")?;
        Ok(Self {
            node_id: text(&json, "node_id")?,
            cluster: text(&json, "cluster")?,
            state: text(&json, "state")?,
            role: text(&json, "role")?,
            leader: json["leader"].as_str().filter(|leader| !leader.is_empty()).map(str::to_owned),
            term: number(&json, "term")?,
            commit_index: number(&json, "commit_index")?,
            applied_index: number(&json, "applied_index")?,
            epoch: number(&json, "epoch")?,
            shards_total: number(&json, "shards_total")?,
            shards_owned: number(&json, "shards_owned")?,
            may_serve: flag(&json, "may_serve")?,
            members: members
                .iter()
                .map(|member| Ok((text(member, "id")?, Member::read(member)?)))
                .collect::<Result<_, String>>()?,
        })
    }

    /// Shards that `node` owns in this node's map; 0 for one it does not know.
    pub fn shards_of(&self, node: &str) -> u64 {
        self.members.get(node).map_or(0, |member| member.shards)
    }

    /// Members that vote.
    pub fn voters(&self) -> usize {
        self.members.values().filter(|member| member.raft == "Voter").count()
    }

    /// The ids of those that are in the Raft configuration.
    pub fn raft_members(&self) -> Vec<&str> {
        let members = self.members.iter().filter(|(_, member)| !member.raft.is_empty());
        members.map(|(id, _)| id.as_str()).collect()
    }

    /// Operational, under a leader, and allowed to serve.
    pub fn serves(&self) -> bool {
        self.state == "Operational" && self.may_serve && self.leader.is_some()
    }

    /// The fields that matter for convergence, in one line.
    pub fn brief(&self) -> String {
        let leader = self.leader.as_deref().unwrap_or("-");
        let members: Vec<_> =
            self.members.iter().map(|(id, member)| format!("{id}:{}/{}", member.raft, member.shards)).collect();
        format!(
            "{} {} {} leader {leader} term {} epoch {} serves {} [{}]",
            self.node_id,
            self.state,
            self.role,
            self.term,
            self.epoch,
            self.may_serve,
            members.join(" ")
        )
    }
}

impl Member {
    fn read(json: &Value) -> Result<Self, String> {
        let endpoints = json["endpoints"].as_object().ok_or("`endpoints` is no object")?;
        let endpoint = |(name, value): (&String, &Value)| {
            let address = value.as_str().and_then(|text| text.parse().ok());
            Ok((name.clone(), address.ok_or_else(|| format!("endpoint `{name}` is {value}"))?))
        };
        Ok(Self {
            serf: text(json, "serf")?,
            raft: text(json, "raft")?,
            leader: flag(json, "leader")?,
            shards: number(json, "shards")?,
            endpoints: endpoints.iter().map(endpoint).collect::<Result<_, String>>()?,
        })
    }
}

/// Asks a node for its status.
///
/// # Errors
/// When it does not answer in time, or not with a status.
pub fn fetch(client: &mut Client) -> Result<Status, String> {
    let answer = client.get("/api/v1/status").map_err(|error| format!("no status: {error}"))?;
    if answer.code != 200 {
        return Err(format!("the status is {}: {}", answer.code, answer.text()));
    }
    Status::parse(&answer.body)
}

/// The owner of each shard, in shard order, with the map's epoch.
///
/// # Errors
/// When the node does not answer with one.
pub fn fetch_owners(address: SocketAddr) -> Result<(u64, Vec<String>), String> {
    let answer = http::get(address, "/api/v1/shards", Duration::from_secs(5)).map_err(|error| error.to_string())?;
    let json: Value = serde_json::from_slice(&answer.body).map_err(|error| format!("no shard list: {error}"))?;
    let owners = json["owners"].as_array().ok_or("`owners` is no list")?;
    let owners = owners.iter().map(|owner| owner.as_str().unwrap_or_default().to_string()).collect();
    Ok((number(&json, "epoch")?, owners))
}

fn text(json: &Value, field: &str) -> Result<String, String> {
    json[field].as_str().map(str::to_owned).ok_or_else(|| format!("`{field}` is {}", json[field]))
}

fn number(json: &Value, field: &str) -> Result<u64, String> {
    json[field].as_u64().ok_or_else(|| format!("`{field}` is {}", json[field]))
}

fn flag(json: &Value, field: &str) -> Result<bool, String> {
    json[field].as_bool().ok_or_else(|| format!("`{field}` is {}", json[field]))
}
