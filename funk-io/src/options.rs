//! What a node is started with.

use std::path::PathBuf;

use funk_proto::{NodeConfig, Seed};
use funk_tls::{Current, Role};

use crate::discovery::Discovery;
use crate::error::StartError;
use crate::handover::Handover;
use crate::shard_state::{BoxShardState, ShardState};
use crate::sockets::Sockets;
use crate::state_machine::StateMachine;
use crate::store::data_dir::DataDir;

/// What a node is started with.
#[derive(Debug)]
pub struct Options {
    /// The node's configuration. Its addresses are what others are told, and may be others than those that the sockets are
    /// bound to. One with port 0, or without an IP address, is filled in from its socket; `wall_clock_ns` 0 from the system
    /// clock.
    pub node: NodeConfig,
    /// The node's bound sockets.
    pub sockets: Sockets,
    /// How the node finds others, and is found. Nothing: only by the join
    /// addresses in its configuration.
    pub discovery: Discovery,
    /// The source of the node's randomness; `None`: drawn from the operating system.
    pub seed: Option<Seed>,
    /// Where the node keeps its log and snapshots; `None`: in memory, so that a
    /// restart makes a new member.
    pub data: Option<DataDir>,
    /// The file that the gossip keys came from, which is written anew when they change; `None`: changes last until the node
    /// stops.
    pub keyring_file: Option<PathBuf>,
    /// The application's own state on the log; `None`: proposals are only seen as
    /// events, and those before a snapshot are not seen again after a restart.
    pub state_machine: Option<Box<dyn StateMachine>>,
    /// What gives a moving shard's state to the next owner; `None`: nothing does.
    pub handover: Option<Box<dyn Handover>>,
    /// What acquires shards before they are served, and gives their state to the next owners; `None`: shards are served at
    /// once. Takes the place of `handover`.
    pub shard_state: Option<BoxShardState>,
    /// With what the node proves who it is on its streams to other nodes, and whom it believes there; `None`: these
    /// streams have no TLS. The certificate must be that of the node's name and cluster. A new generation holds for new
    /// streams at once, and ends those that it does not believe.
    pub tls: Option<Current>,
    /// With `tls`: streams without it are used where the other side has none. For the time in which a cluster is given
    /// certificates.
    pub permit_plaintext: bool,
}

impl Options {
    /// Options with a seed from the operating system.
    pub fn new(node: NodeConfig, sockets: Sockets) -> Self {
        let discovery = Discovery::default();
        Self {
            node,
            sockets,
            discovery,
            seed: None,
            data: None,
            keyring_file: None,
            state_machine: None,
            handover: None,
            shard_state: None,
            tls: None,
            permit_plaintext: false,
        }
    }

    /// The same with a data directory.
    #[must_use]
    pub fn with_data(self, data: DataDir) -> Self {
        Self { data: Some(data), ..self }
    }

    /// The same with something that gives a moving shard's state to the next owner.
    #[must_use]
    pub fn with_handover(self, handover: impl Handover + 'static) -> Self {
        Self { handover: Some(Box::new(handover)), ..self }
    }

    /// The same with something that acquires shards, and gives them up.
    #[must_use]
    pub fn with_shard_state(self, state: impl ShardState) -> Self {
        Self { shard_state: Some(BoxShardState::new(state)), ..self }
    }

    /// The same with TLS on the streams to other nodes.
    #[must_use]
    pub fn with_tls(self, tls: Current) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// Whether the certificate is that of this node.
    pub(crate) fn fits_the_certificate(&self) -> Result<(), StartError> {
        if self.sockets.quic.is_some() && (self.tls.is_none() || self.permit_plaintext) {
            return Err(StartError::QuicWithoutTls);
        }
        let Some(identity) = self.tls.as_ref().map(|tls| tls.get().identity().clone()) else { return Ok(()) };
        let (name, cluster) = (&self.node.name, &self.node.cluster);
        if (identity.role, &identity.name, &identity.cluster) == (Role::Node, name, cluster) {
            return Ok(());
        }
        let why = format!("the certificate is {identity}, and this is node {name} of cluster {cluster}");
        Err(StartError::Certificate(why))
    }

    /// Whether no duty of the application is given twice. A service has all of them.
    pub(crate) fn fits_the_application(&self, has_service: bool) -> Result<(), StartError> {
        match (&self.state_machine, &self.handover, &self.shard_state) {
            (_, Some(_), Some(_)) => Err(StartError::HandoverAndShardState),
            _ if !has_service => Ok(()),
            (Some(_), ..) => Err(StartError::NotWithService("state_machine")),
            (_, Some(_), _) => Err(StartError::NotWithService("handover")),
            (.., Some(_)) => Err(StartError::NotWithService("shard_state")),
            (None, None, None) => Ok(()),
        }
    }
}
