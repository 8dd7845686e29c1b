//! Where a node's management endpoint is.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use funk_cli::addresses;
use funk_io::discovery::{Instance, JoinAddress, Kind, ask, resolve};
use funk_proto::GossipKeys;
use funk_proto::status::GossipStatus;
use funk_proto::wire::gossip::GossipMember;
use funk_rpc::client::{Seed, members};
use funk_rpc::pb::managepb as pb;
use funk_tokio::Tokio;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};

use super::node::Dial;
use super::stage::Stage;
use super::{CtrlFlags, Failure};

/// The tag of management endpoints.
pub(super) const MANAGEMENT: &str = "ep.clusterfunk.management";
/// The tag that only nodes show which are in a cluster.
const CLUSTER: &str = "funk.cluster";
/// The tag that names a node's cluster, whether it is in it or waits for it.
const CLUSTER_NAME: &str = "meta.clusterName";
/// Longest wait for nodes to answer by mDNS.
const ASK_FOR: Duration = Duration::from_millis(250);
/// Time for a node that was found by mDNS to tell whether it is in the cluster.
const TELL_MAX: Duration = Duration::from_secs(1);
/// Nodes of one answer that are asked for that.
const TOLD_MAX: usize = 64;
/// Between two attempts to find a node.
const AGAIN: Duration = Duration::from_millis(100);

/// Nodes that can be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Their management endpoints, at least one.
    pub(super) addresses: Vec<SocketAddr>,
    /// Their names, if none of them is in the cluster: what they say is not the cluster's word.
    pub(super) outside: Vec<String>,
}

impl Found {
    fn at(addresses: Vec<SocketAddr>) -> Self {
        Self { addresses, outside: Vec::new() }
    }

    fn outside(nodes: Vec<(String, SocketAddr)>) -> Self {
        let (outside, addresses) = nodes.into_iter().unzip();
        Self { addresses, outside }
    }

    /// What is to be said when the cluster itself is not there.
    pub(super) fn note(&self, cluster: &str) -> Option<String> {
        let those = self.outside.join(", ");
        let is = if self.outside.len() == 1 { "it only observes or waits" } else { "they only observe or wait" };
        (!those.is_empty()).then(|| format!("no node that is in cluster {cluster} was found, only {those}: {is}"))
    }
}

/// Nodes of the cluster. Goes on looking for as long as it takes.
pub(super) async fn find(flags: &CtrlFlags, dial: &Dial, stage: &Stage) -> Result<Found, Failure> {
    if let Some(endpoint) = &flags.endpoint {
        stage.set(format!("--endpoint {endpoint} has no address"));
        let name = endpoint.clone();
        let found =
            spawn_blocking(move || resolve(&name)).await.map_err(|error| Failure::Refused(error.to_string()))?;
        let refused = |error| Failure::Refused(format!("--endpoint {endpoint}: {error}; check the name"));
        return found.map(Found::at).map_err(refused);
    }
    let keys = flags.gossip_keys().map_err(Failure::Refused)?;
    let cluster = flags.cluster();
    let cluster = cluster.as_str();
    stage.set(match flags.join.first() {
        Some(join) => format!("nobody answers at --join {join}"),
        None => format!("no node of cluster {cluster} answers by mDNS"),
    });
    loop {
        let found = if flags.join.is_empty() {
            by_mdns(cluster, dial, keys.as_ref()).await
        } else {
            by_join(cluster, &flags.join, keys.as_ref()).await
        };
        match found {
            Ok(found) => return Ok(found),
            Err(why) => stage.set(why),
        }
        sleep(AGAIN).await;
    }
}

/// Looks at each address in turn, until one shows a node that is in the cluster.
async fn by_join(cluster: &str, join: &[JoinAddress], keys: Option<&GossipKeys>) -> Result<Found, String> {
    let (mut silent, mut outside, mut others) = (Vec::new(), Vec::new(), BTreeSet::new());
    for address in join {
        match members::<Tokio>(cluster, &[Seed::Gossip(address.clone())], keys).await {
            Err(why) => silent.push(why),
            Ok(members) => {
                let (inside, beside) = managed(&members, cluster);
                if !inside.is_empty() {
                    return Ok(Found::at(inside));
                }
                outside.extend(beside);
                others.extend(members.iter().filter_map(|member| member.tags.get(CLUSTER_NAME).cloned()));
            }
        }
    }
    if !outside.is_empty() {
        return Ok(Found::outside(outside));
    }
    let text: Vec<_> = join.iter().map(|join| format!("--join {join}")).collect();
    let text = text.join(", ");
    if silent.len() == join.len() {
        return Err(format!("nobody answers at {text}: {}", silent.join("; ")));
    }
    others.remove(cluster);
    let others: Vec<_> = others.into_iter().collect();
    let there = if others.is_empty() { String::new() } else { format!(", only cluster {}", others.join(", ")) };
    Err(format!("no live node of cluster {cluster} with {MANAGEMENT} is known at {text}{there}"))
}

/// Management endpoints of the cluster's live nodes: of those that are in it, and by name of the others.
fn managed(members: &[GossipMember], cluster: &str) -> (Vec<SocketAddr>, Vec<(String, SocketAddr)>) {
    let (mut inside, mut outside) = (Vec::new(), Vec::new());
    for member in members {
        let named = member.tags.get(CLUSTER_NAME).is_some_and(|name| name == cluster);
        let address = member.tags.get(MANAGEMENT).and_then(|at| at.parse().ok());
        match address.filter(|_| named && member.status == GossipStatus::Alive) {
            Some(address) if member.tags.contains_key(CLUSTER) => inside.push(address),
            Some(address) => outside.push((member.name.clone(), address)),
            None => {}
        }
    }
    (inside, outside)
}

/// Whoever answers first does, if it is in the cluster. If not, all get time to answer, and gossip is looked at too.
async fn by_mdns(cluster: &str, dial: &Dial, keys: Option<&GossipKeys>) -> Result<Found, String> {
    let mut found = Vec::new();
    let mut told: Vec<(String, SocketAddr)> = Vec::new();
    for first_will_do in [true, false] {
        found = by_multicast(cluster, first_will_do).await?;
        let mut unknown: Vec<_> = at(&found, Kind::Mgmt).collect();
        unknown.retain(|address| !told.iter().any(|(_, known)| known == address));
        match whoever_is_in(unknown, dial).await {
            Ok(address) => return Ok(Found::at(vec![address])),
            Err(outside) => told.extend(outside),
        }
    }
    let gossip: Vec<_> = at(&found, Kind::Serf).map(JoinAddress::Address).collect();
    match by_join(cluster, &gossip, keys).await {
        Ok(known) if known.outside.is_empty() => Ok(known),
        _ if !told.is_empty() => Ok(Found::outside(told)),
        known if !gossip.is_empty() => known,
        _ => Err(format!("no node of cluster {cluster} answers by mDNS")),
    }
}

fn at(found: &[Instance], kind: Kind) -> impl Iterator<Item = SocketAddr> + '_ {
    found.iter().filter(move |instance| instance.kind == kind).flat_map(|instance| instance.addresses.clone())
}

/// Asks on every interface at the same time.
async fn by_multicast(cluster: &str, first_will_do: bool) -> Result<Vec<Instance>, String> {
    let cluster = cluster.to_owned();
    let found = spawn_blocking(move || {
        let enough =
            move |found: &[Instance]| first_will_do && found.iter().any(|instance| instance.kind == Kind::Mgmt);
        std::thread::scope(|scope| {
            let cluster = cluster.as_str();
            let ask_there = |interface| scope.spawn(move || ask(interface, cluster, ASK_FOR, enough));
            let asking: Vec<_> = addresses().into_iter().map(ask_there).collect();
            let asked = asking.into_iter().filter_map(|asking| asking.join().ok()?.ok());
            asked.flatten().collect::<Vec<Instance>>()
        })
    });
    found.await.map_err(|error| error.to_string())
}

/// The first of these that says that it is in the cluster; else the names and places of those that answered.
async fn whoever_is_in(addresses: Vec<SocketAddr>, dial: &Dial) -> Result<SocketAddr, Vec<(String, SocketAddr)>> {
    let mut asking = JoinSet::new();
    for address in addresses.into_iter().take(TOLD_MAX) {
        let mut node = dial.at(address);
        asking.spawn(async move {
            let asked = timeout(TELL_MAX, node.get_status(pb::GetStatusRequest {})).await;
            Some((address, asked.ok()?.ok()?.into_inner()))
        });
    }
    let mut outside = Vec::new();
    while let Some(answered) = asking.join_next().await {
        match answered {
            Ok(Some((address, status))) if is_in(&status) => return Ok(address),
            Ok(Some((address, status))) => outside.push((status.local_node_id, address)),
            // It is away, or a task panicked: nobody is there who could be asked.
            Ok(None) | Err(_) => {}
        }
    }
    outside.sort();
    Err(outside)
}

/// Whether the node that says this of itself is in a cluster: it knows members, itself among them.
pub(super) fn is_in(status: &pb::GetStatusResponse) -> bool {
    status.raft_node_count > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, port: u16, tags: &[(&str, &str)]) -> GossipMember {
        let at = format!("127.0.0.1:{port}");
        let managed = [(MANAGEMENT, at.as_str())];
        let tags = tags.iter().chain(&managed);
        GossipMember {
            name: name.into(),
            addr: SocketAddr::from(([127, 0, 0, 1], 1)),
            status: GossipStatus::Alive,
            tags: tags.map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
            incarnation: 1,
        }
    }

    #[test]
    fn nodes_that_are_in_the_cluster_are_told_from_those_beside_it() {
        let (ours, in_it) = ((CLUSTER_NAME, "c"), (CLUSTER, "77"));
        let dead = GossipMember { status: GossipStatus::Failed, ..member("d", 4, &[ours, in_it]) };
        let members = [member("a", 1, &[ours]), member("b", 2, &[ours, in_it]), member("e", 3, &[in_it]), dead];
        let (inside, outside) = managed(&members, "c");
        assert_eq!(inside, ["127.0.0.1:2".parse().unwrap()]);
        assert_eq!(outside, [("a".to_owned(), "127.0.0.1:1".parse().unwrap())]);
    }

    #[test]
    fn only_what_is_not_the_clusters_word_has_a_note() {
        let address = "127.0.0.1:1".parse().unwrap();
        assert_eq!(Found::at(vec![address]).note("c"), None);
        let note = Found::outside(vec![("a".into(), address), ("b".into(), address)]).note("c").unwrap();
        assert_eq!(note, "no node that is in cluster c was found, only a, b: they only observe or wait");
    }
}
