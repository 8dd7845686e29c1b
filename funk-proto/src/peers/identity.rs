//! Who this node is to its peers, and with whom it will have nothing to do.

use std::net::SocketAddr;

use crate::config::NodeConfig;
use crate::error::Refusal;
use crate::id::{BootId, ClusterId, ClusterName, Incarnation, NodeName, RaftId};
use crate::version::Versions;
use crate::wire::cluster::{Hello, REASON_CLUSTER_ID, REASON_CLUSTER_NAME, REASON_GENERATION, REASON_VERSION, Refused};

/// Who this node is to its peers.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) cluster_name: ClusterName,
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) id: RaftId,
    pub(crate) boot: BootId,
    pub(crate) name: NodeName,
    pub(crate) raft: SocketAddr,
    pub(crate) liveness: SocketAddr,
    /// From which the keys of incoming datagrams are derived.
    pub(crate) secret: [u8; 16],
    /// Ids of the cluster's former generations.
    pub(crate) former: Vec<ClusterId>,
    /// The cluster's generation.
    pub(crate) generation: u64,
    /// The versions of the protocol that it speaks.
    pub(crate) versions: Versions,
}

impl Identity {
    /// A node that is in no cluster yet.
    pub(crate) fn new(config: &NodeConfig, me: Incarnation, secret: [u8; 16]) -> Self {
        Self {
            cluster_name: config.cluster.clone(),
            cluster: None,
            id: me.id,
            boot: me.boot,
            name: config.name.clone(),
            raft: config.raft,
            liveness: config.liveness,
            secret,
            former: Vec::new(),
            generation: 1,
            versions: Versions::OURS,
        }
    }

    /// Why this node will not talk to the other.
    pub(super) fn refusal(&self, hello: &Hello) -> Option<Refusal> {
        if hello.cluster_name != self.cluster_name.as_str() {
            let theirs = hello.cluster_name.chars().take(64).collect();
            return Some(Refusal::ClusterName { theirs });
        }
        let (ours, theirs) = (self.versions, Versions::told(hello.oldest, hello.newest));
        if !ours.meet(theirs) {
            return Some(Refusal::Version { ours, theirs });
        }
        match (self.cluster, ClusterId::new(hello.cluster)) {
            (Some(present), Some(former)) if self.former.contains(&former) => {
                Some(Refusal::FormerGeneration { former, present, generation: self.generation })
            }
            (Some(ours), Some(theirs)) if ours != theirs => Some(Refusal::ClusterId { ours, theirs }),
            _ => None,
        }
    }

    /// How the other is told of it.
    pub(super) fn refused(&self, refusal: &Refusal) -> Refused {
        let reason = match refusal {
            Refusal::ClusterId { .. } => REASON_CLUSTER_ID,
            Refusal::FormerGeneration { .. } => REASON_GENERATION,
            Refusal::Version { .. } => REASON_VERSION,
            _ => REASON_CLUSTER_NAME,
        };
        let cluster = self.cluster.map_or(0, ClusterId::get);
        let (generation, Versions { oldest, newest }) = (self.generation, self.versions);
        let name = self.cluster_name.to_string();
        Refused { reason, name, cluster, generation, oldest, newest, ..Refused::default() }
    }
}
