//! Where a node's management endpoint is.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use funk_cli::addresses;
use funk_io::discovery::{Instance, JoinAddress, Kind, ask, resolve};
use funk_proto::status::GossipStatus;
use funk_proto::wire::gossip::GossipMember;
use funk_rpc::client::{Seed, members};
use funk_tokio::Tokio;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::{CtrlFlags, Failure};

/// The tag of management endpoints.
pub(super) const MANAGEMENT: &str = "ep.clusterfunk.management";
/// Longest wait for nodes to answer by mDNS; it ends with the first.
const ASK_FOR: Duration = Duration::from_millis(250);
/// Between two attempts to find a node.
const AGAIN: Duration = Duration::from_millis(100);

/// What is being waited for, in case that time runs out.
#[derive(Debug, Default)]
pub(super) struct Stage(Mutex<String>);

impl Stage {
    pub(super) fn set(&self, what: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    /// Who was silent, as the begin of a sentence.
    pub(super) fn silent(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Management endpoints of nodes of the cluster, at least one. Goes on looking for as long as it takes.
pub(super) async fn find(flags: &CtrlFlags, stage: &Stage) -> Result<Vec<SocketAddr>, Failure> {
    if let Some(endpoint) = &flags.endpoint {
        stage.set(format!("--endpoint {endpoint} has no address"));
        let name = endpoint.clone();
        let found =
            spawn_blocking(move || resolve(&name)).await.map_err(|error| Failure::Refused(error.to_string()))?;
        return found.map_err(|error| Failure::Refused(format!("--endpoint {endpoint}: {error}; check the name")));
    }
    let cluster = &flags.cluster_name;
    stage.set(match flags.join.first() {
        Some(join) => format!("nobody answers at --join {join}"),
        None => format!("no node of cluster {cluster} answers by mDNS"),
    });
    loop {
        let found = if flags.join.is_empty() { by_mdns(flags).await } else { by_join(flags, &flags.join).await };
        match found {
            Ok(found) => return Ok(found),
            Err(why) => stage.set(why),
        }
        sleep(AGAIN).await;
    }
}

async fn by_join(flags: &CtrlFlags, join: &[JoinAddress]) -> Result<Vec<SocketAddr>, String> {
    let cluster = flags.cluster_name.as_str();
    let text: Vec<_> = join.iter().map(|join| format!("--join {join}")).collect();
    let text = text.join(", ");
    let seeds: Vec<_> = join.iter().cloned().map(Seed::Gossip).collect();
    let members = members::<Tokio>(cluster, &seeds).await;
    let members = members.map_err(|why| format!("nobody answers at {text}: {why}"))?;
    endpoints(&members, cluster)
        .ok_or_else(|| format!("no live node of cluster {cluster} with {MANAGEMENT} is known at {text}"))
}

/// Asks on every interface at the same time, and ends with the first answer.
async fn by_mdns(flags: &CtrlFlags) -> Result<Vec<SocketAddr>, String> {
    let cluster = flags.cluster_name.to_string();
    let found = spawn_blocking(move || {
        let managed = |instances: &[Instance]| instances.iter().any(|instance| instance.kind == Kind::Mgmt);
        std::thread::scope(|scope| {
            let cluster = cluster.as_str();
            let ask_there = |interface| scope.spawn(move || ask(interface, cluster, ASK_FOR, managed));
            let asking: Vec<_> = addresses().into_iter().map(ask_there).collect();
            let asked = asking.into_iter().filter_map(|asking| asking.join().ok()?.ok());
            asked.flatten().collect::<Vec<Instance>>()
        })
    });
    let found = found.await.map_err(|error| error.to_string())?;
    let at = |kind| {
        found.iter().filter(move |instance| instance.kind == kind).flat_map(|instance| instance.addresses.clone())
    };
    let managed: Vec<_> = at(Kind::Mgmt).collect();
    if !managed.is_empty() {
        return Ok(managed);
    }
    let gossip: Vec<_> = at(Kind::Serf).map(JoinAddress::Address).collect();
    if gossip.is_empty() {
        return Err(format!("no node of cluster {} answers by mDNS", flags.cluster_name));
    }
    by_join(flags, &gossip).await
}

/// The management endpoints of the cluster's live members; `None` if there is none.
fn endpoints(members: &[GossipMember], cluster: &str) -> Option<Vec<SocketAddr>> {
    let ours = members.iter().filter(|member| {
        let named = member.tags.get("meta.clusterName").is_some_and(|name| name == cluster);
        named && member.status == GossipStatus::Alive
    });
    let found: Vec<_> = ours.filter_map(|member| member.tags.get(MANAGEMENT)?.parse().ok()).collect();
    (!found.is_empty()).then_some(found)
}
