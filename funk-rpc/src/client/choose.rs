//! Whom to call.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use funk_proto::id::ShardId;
use funk_proto::limits::RAFT_MEMBERS_MAX;

use super::view::{ClusterView, NodeView};

/// Time for which a node that failed is passed over, when there are others.
const PASS_OVER: Duration = Duration::from_secs(1);

/// Nodes that failed a moment ago, and whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Failed {
    at: Mutex<BTreeMap<SocketAddr, Instant>>,
    turn: AtomicUsize,
}

/// A node to call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) node: String,
    pub(super) boot: u64,
    pub(super) address: SocketAddr,
}

impl Failed {
    /// Notes that a node did not answer.
    pub(super) fn note(&self, address: SocketAddr) {
        let now = Instant::now();
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        if at.len() >= RAFT_MEMBERS_MAX {
            at.retain(|_, at| now.duration_since(*at) < PASS_OVER);
        }
        at.insert(address, now);
    }

    /// Notes that a node answered.
    pub(super) fn forgive(&self, address: SocketAddr) {
        self.at.lock().unwrap_or_else(PoisonError::into_inner).remove(&address);
    }

    fn recently(&self, address: SocketAddr) -> bool {
        let at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        at.get(&address).is_some_and(|at| at.elapsed() < PASS_OVER)
    }

    /// The owner of the shard, if it can be called; else the next in turn of those that
    /// serve `endpoint`. Who failed a moment ago, or is `not`, comes only when there is no other.
    pub(super) fn choose(
        &self,
        view: &ClusterView,
        endpoint: &str,
        shard: Option<ShardId>,
        not: Option<SocketAddr>,
    ) -> Option<Choice> {
        let choice = |node: &NodeView, address| Choice { node: node.name.clone(), boot: node.boot, address };
        let fit = |address: SocketAddr| Some(address) != not && !self.recently(address);
        let owner = shard.and_then(|shard| view.owner(shard));
        if let Some(node) = owner
            && let Some(&address) = node.endpoints.get(endpoint)
            && fit(address)
        {
            return Some(choice(node, address));
        }
        let all: Vec<_> = view.serving(endpoint).collect();
        let good: Vec<_> = all.iter().filter(|(_, address)| fit(*address)).copied().collect();
        let from = if good.is_empty() { all } else { good };
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let (node, address) = from.get(turn.checked_rem(from.len())?)?;
        Some(choice(node, *address))
    }
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::node;
    use super::*;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn the_owner_is_called_directly_and_others_in_turn() {
        let view = ClusterView::new(1, vec![node(1), node(2), node(3)], [2, 1, 9]);
        let failed = Failed::default();
        let choose = |shard: Option<u32>| failed.choose(&view, "ep.x", shard.map(ShardId), None).unwrap().address;
        for _ in 0..3 {
            assert_eq!((choose(Some(0)), choose(Some(1))), (at(3), at(2)));
        }
        let mut turns: Vec<_> = (0..3).map(|_| choose(None)).collect();
        turns.sort_unstable();
        assert_eq!(turns, [at(1), at(2), at(3)]);
        let mut turns: Vec<_> = (0..3).map(|_| choose(Some(2))).collect();
        turns.sort_unstable();
        assert_eq!(turns, [at(1), at(2), at(3)], "a shard on its way is asked of anybody");
        assert_eq!(failed.choose(&view, "ep.y", None, None), None);
    }

    #[test]
    fn who_failed_is_passed_over_while_there_are_others() {
        let view = ClusterView::new(1, vec![node(1), node(2)], [0]);
        let failed = Failed::default();
        let choose = |not| failed.choose(&view, "ep.x", Some(ShardId(0)), not).unwrap().address;
        assert_eq!(choose(None), at(1));
        assert_eq!(choose(Some(at(1))), at(2));
        failed.note(at(1));
        assert_eq!(choose(None), at(2));
        failed.note(at(2));
        assert!([at(1), at(2)].contains(&choose(None)), "better one that failed than none");
        failed.forgive(at(1));
        assert_eq!(choose(None), at(1));
    }
}
