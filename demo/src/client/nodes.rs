//! The nodes that the client knows, found anew while it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use funk_proto::status::GossipStatus;
use funk_proto::wire::gossip::GossipMember;
use funk_rpc::Net;

use crate::look::look;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Time for one look.
const LOOK_MAX: Duration = Duration::from_millis(500);
/// Time for which a node that failed is passed over, when there are others.
const PASS_OVER: Duration = Duration::from_secs(1);

/// Nodes to send to, and gossip addresses to learn of more.
#[derive(Debug)]
pub struct Nodes {
    cluster: String,
    state: Mutex<State>,
    next: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    /// Demo endpoints, by node name.
    targets: BTreeMap<String, SocketAddr>,
    /// Where to look.
    gossip: BTreeSet<SocketAddr>,
    failed: BTreeMap<SocketAddr, Instant>,
}

impl Nodes {
    /// Knows nothing yet.
    pub fn new(cluster: &str) -> Self {
        Self { cluster: cluster.into(), state: Mutex::default(), next: AtomicUsize::new(0) }
    }

    /// Looks at these gossip addresses too.
    pub fn look_at(&self, seeds: impl IntoIterator<Item = SocketAddr>) {
        self.lock().gossip.extend(seeds);
    }

    /// Looks at every known gossip address until one answers. `false`: none did.
    pub async fn refresh<N: Net>(&self) -> bool {
        let addresses: Vec<SocketAddr> = self.lock().gossip.iter().copied().collect();
        let start = self.next.load(Ordering::Relaxed);
        for offset in 0..addresses.len() {
            let address = addresses[(start + offset) % addresses.len()];
            let looked = futures_lite::future::or(async { look::<N>(address).await.ok() }, async {
                N::sleep(LOOK_MAX).await;
                None
            });
            if let Some(members) = looked.await {
                self.learn(&members);
                return true;
            }
        }
        false
    }

    /// Goes on looking, for ever.
    pub async fn keep_looking<N: Net>(&self) {
        loop {
            N::sleep(LOOK_EVERY).await;
            self.refresh::<N>().await;
        }
    }

    fn learn(&self, members: &[GossipMember]) {
        let mut state = self.lock();
        for member in members {
            let named = member.tags.get("meta.clusterName").is_none_or(|name| *name == self.cluster);
            let address = member.tags.get("ep.demo").and_then(|address| address.parse().ok());
            let (Some(address), true) = (address, named) else { continue };
            match member.status {
                GossipStatus::Alive => {
                    state.targets.insert(member.name.clone(), address);
                    state.gossip.insert(member.addr);
                }
                // A failed node may be back any time: its gossip address stays known.
                GossipStatus::Failed | GossipStatus::Left | GossipStatus::Leaving | GossipStatus::None => {
                    state.targets.remove(&member.name);
                }
            }
        }
    }

    /// The next node in turn; one that failed a moment ago only when there is no other.
    pub fn pick(&self, not: Option<SocketAddr>) -> Option<SocketAddr> {
        let state = self.lock();
        let now = Instant::now();
        let all: Vec<SocketAddr> = state.targets.values().copied().collect();
        let fit = |address: &&SocketAddr| {
            let failed = state.failed.get(*address).is_some_and(|at| now.duration_since(*at) < PASS_OVER);
            !failed && Some(**address) != not
        };
        let good: Vec<SocketAddr> = all.iter().filter(fit).copied().collect();
        let from = if good.is_empty() { all } else { good };
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        from.get(turn.checked_rem(from.len())?).copied()
    }

    /// Notes that a node did not answer.
    pub fn failed(&self, address: SocketAddr) {
        self.lock().failed.insert(address, Instant::now());
    }

    /// Nodes known.
    pub fn count(&self) -> usize {
        self.lock().targets.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, port: u16, cluster: &str, status: GossipStatus) -> GossipMember {
        let at = SocketAddr::from(([127, 0, 0, 1], port));
        let tags =
            BTreeMap::from([("ep.demo".into(), at.to_string()), ("meta.clusterName".into(), cluster.to_owned())]);
        GossipMember { name: name.into(), addr: at, status, tags, incarnation: 1 }
    }

    #[test]
    fn alive_nodes_of_the_cluster_take_turns_and_failed_ones_are_passed_over() {
        let nodes = Nodes::new("c");
        assert_eq!(nodes.pick(None), None);
        let alive = GossipStatus::Alive;
        nodes.learn(&[member("a", 1, "c", alive), member("b", 2, "c", alive), member("x", 3, "other", alive)]);
        let mut ports: Vec<u16> = (0..4).map(|_| nodes.pick(None).unwrap().port()).collect();
        ports.sort_unstable();
        assert_eq!(ports, [1, 1, 2, 2]);
        let a = SocketAddr::from(([127, 0, 0, 1], 1));
        nodes.failed(a);
        assert!((0..4).all(|_| nodes.pick(None).unwrap().port() == 2));
        nodes.learn(&[member("b", 2, "c", GossipStatus::Left)]);
        assert_eq!(nodes.pick(Some(a)), Some(a), "there is no other");
    }
}
