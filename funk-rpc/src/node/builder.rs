//! What a node is built of.

mod security;

use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use funk_io::discovery::{JoinAddress, Source};
use funk_io::{
    BoxShardState, Cluster, DataDir, Discovery, Handover, Options, Runtime, ShardState, Sockets, StartError,
    StateMachine, random_name, service, start,
};
use funk_proto::id::{ClusterName, NodeName};
use funk_proto::{NodeConfig, Ownership, Participation, Service, Timing};
use funk_tls::{Current, Identity, Role};
use futures_lite::future;
use tower_layer::Layer;

use super::asked::{self, Asked};
use super::listeners::{Addresses, GOSSIP, LIVENESS, Listeners, METRICS, MONITORING, PAGE, RAFT};
use super::servers::Servers;
use super::{Inner, Node, log};
use crate::cluster_service::{self, ClusterService};
use crate::console::{Console, PageToken};
use crate::layer::RouteLayer;
use crate::management::{self, Management};
use crate::metrics::RequestMetrics;
use crate::pb::cluster::cluster_server::ClusterServer;
use crate::pb::managepb::cluster_management_server::ClusterManagementServer;
use crate::pool::Pool;
use crate::roles::{Gate, Guarded};
use crate::routes::Routes;
use crate::server::Protocol;
use crate::services::Services;
use crate::stop::Stop;
use crate::tls::ServerTls;

/// A service of the user, once the node is there.
type Build = Box<dyn FnOnce(&Cluster) -> Services + Send>;
/// Starts a node with the application inside.
type Start = Box<dyn FnOnce(Options) -> Result<(Cluster, service::ServiceHandle), StartError> + Send>;

/// Builds a [`Node`]. Everything has a default: a new node without a disk, which finds others and is found by
/// multicast DNS, on ports that the system picks, and serves the status page, health, metrics and management.
///
/// `R` is the async runtime; `funk::tokio::NodeBuilder` and its like name it.
#[must_use = "nothing runs before it is started"]
pub struct NodeBuilder<R> {
    config: NodeConfig,
    asked: Asked,
    name: Option<NodeName>,
    addresses: Addresses,
    discovery: Discovery,
    data: Option<PathBuf>,
    keyring_file: Option<PathBuf>,
    page_names: Vec<String>,
    services: Vec<(String, Routes, Build)>,
    state_machine: Option<Box<dyn StateMachine>>,
    handover: Option<Box<dyn Handover>>,
    shard_state: Option<BoxShardState>,
    application: Option<Start>,
    tls: Option<Current>,
    permit_plaintext: bool,
    is_quic: bool,
    page_tls: bool,
    page_token: Option<PageToken>,
    runtime: PhantomData<fn() -> R>,
}

impl<R> fmt::Debug for NodeBuilder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeBuilder")
            .field("config", &self.config)
            .field("addresses", &self.addresses)
            .field("discovery", &self.discovery)
            .finish_non_exhaustive()
    }
}

/// Where it is, and how it finds others.
impl<R: Runtime> NodeBuilder<R> {
    /// A node of the cluster `cluster`. Clusters of different names never mix.
    pub fn new(cluster: ClusterName) -> Self {
        let unnamed = "unnamed".parse().expect("letters make a name");
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Self {
            config: NodeConfig::new(unnamed, cluster, nowhere, nowhere, nowhere),
            asked: Asked::default(),
            name: None,
            addresses: Addresses::default(),
            discovery: Discovery { mdns: true, ..Discovery::default() },
            data: None,
            keyring_file: None,
            page_names: Vec::new(),
            services: Vec::new(),
            state_machine: None,
            handover: None,
            shard_state: None,
            application: None,
            tls: None,
            permit_plaintext: false,
            is_quic: false,
            page_tls: true,
            page_token: None,
            runtime: PhantomData,
        }
    }

    /// Its name, unique in the cluster. Default: the one in the data directory, else a random one.
    pub fn name(mut self, name: NodeName) -> Self {
        self.name = Some(name);
        self
    }

    /// Starts a new cluster if there is none to join: give it to one node of the first start.
    pub fn bootstrap(mut self, on: bool) -> Self {
        self.config.bootstrap = on;
        self
    }

    /// Joins through these nodes' gossip addresses, or names that stand for them: `HOST:PORT`, `dns+srv://NAME` or `exec:///PATH`.
    pub fn join(mut self, addresses: impl IntoIterator<Item = JoinAddress>) -> Self {
        self.discovery.join.extend(addresses);
        self
    }

    /// Whether it finds others by multicast DNS, and shows itself there. Default: true.
    pub fn mdns(mut self, on: bool) -> Self {
        self.discovery.mdns = on;
        self
    }

    /// One more source of addresses to join through.
    pub fn discover(mut self, source: impl Source) -> Self {
        self.discovery.sources.push(Box::new(source));
        self
    }

    /// The IP address that every endpoint binds. Default: [`funk_io::default_interface`].
    pub fn interface(mut self, ip: IpAddr) -> Self {
        self.addresses.interface = Some(ip);
        self
    }

    /// The IP address that others are told, where it is not the one that is bound.
    pub fn advertise_ip(mut self, ip: IpAddr) -> Self {
        self.addresses.advertised_ip = Some(ip);
        self
    }

    /// Where the endpoint `name` listens: `ep.serf` (gossip), `ep.raft`, `ep.liveness`, `ep.clusterfunk.management`,
    /// `ep.cluster`, `ep.httpConsole` (the page), `ep.metrics`, or one of [`NodeBuilder::service`]. Port 0: any free
    /// one. Metrics without an address of their own are served where the page is.
    pub fn listen(mut self, name: impl Into<String>, address: SocketAddr) -> Self {
        self.addresses.listen.insert(name.into(), address);
        self
    }

    /// What others are told of the endpoint `name`. Port 0: the one that is bound.
    pub fn advertise(mut self, name: impl Into<String>, address: SocketAddr) -> Self {
        self.addresses.advertise.insert(name.into(), address);
        self
    }

    /// Shows others an endpoint that this process serves by itself. Its name begins with `ep.`.
    pub fn endpoint(mut self, name: impl Into<String>, address: SocketAddr) -> Self {
        self.config.endpoints.insert(name.into(), address);
        self
    }

    /// Names that the page answers to, besides addresses, `localhost` and the machine's name.
    pub fn page_names(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.page_names.extend(names);
        self
    }
}

/// What it does.
impl<R: Runtime> NodeBuilder<R> {
    /// Serves gRPC at the endpoint `name`, such as `ep.greet`, by which other nodes and clients find it. Each request
    /// of `routes` is served by the owner of its shard, whose handler finds an `Arc<ShardGuard>` in the request's
    /// extensions; other methods are served where they arrive. `build` makes the service, or several as [`Services`],
    /// with the handle of the node that has started. The first endpoint is also shown by multicast DNS.
    pub fn service<S: Into<Services>>(
        mut self,
        name: impl Into<String>,
        routes: Routes,
        build: impl FnOnce(&Cluster) -> S + Send + 'static,
    ) -> Self {
        self.services.push((name.into(), routes, Box::new(move |cluster| build(cluster).into())));
        self
    }

    /// The name of the service, which other nodes see (`meta.serviceName`). Default: empty.
    pub fn service_name(mut self, name: impl Into<String>) -> Self {
        self.config.service = name.into();
        self
    }

    /// A state of your own on the cluster's log.
    pub fn state_machine(mut self, state_machine: impl StateMachine) -> Self {
        self.state_machine = Some(Box::new(state_machine));
        self
    }

    /// What gives a moving shard's state to the shard's next owner.
    pub fn handover(mut self, handover: impl Handover + 'static) -> Self {
        self.handover = Some(Box::new(handover));
        self
    }

    /// What acquires each shard before it is served here, and gives its state to the next owner. Takes the place of
    /// [`NodeBuilder::handover`].
    pub fn shard_state(mut self, state: impl ShardState) -> Self {
        self.shard_state = Some(BoxShardState::new(state));
        self
    }

    /// Runs an application that is a value, as the simulator runs it too. [`Node::application`] hands it requests.
    /// It has the duties of [`NodeBuilder::state_machine`], [`NodeBuilder::handover`] and [`NodeBuilder::shard_state`], which
    /// are refused beside it.
    pub fn application(mut self, application: impl Service + Send + 'static) -> Self {
        self.application = Some(Box::new(|options| service::start::<R>(options, application)));
        self
    }

    /// Keeps its log in this directory, so that a restart brings the same member back. Default: in memory.
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data = Some(path.into());
        self
    }

    /// Shards of the cluster, 1 to 1,048,576; used at bootstrap only, and a cluster that has others is remarked on in
    /// the log. Default: 10,000.
    pub fn shards(mut self, shards: u32) -> Self {
        self.asked.shards = Some(shards);
        self.config.shards = shards;
        self
    }

    /// What keeps a previous owner of a shard from having an effect; used at bootstrap only, and remarked on like
    /// [`NodeBuilder::shards`]. Default: its lease.
    pub fn ownership(mut self, ownership: Ownership) -> Self {
        self.asked.ownership = Some(ownership);
        self.config.ownership = ownership;
        self
    }

    /// Its share of the shards relative to the other nodes, 1 to 1,000,000. Default: 1.
    pub fn weight(mut self, weight: u32) -> Self {
        self.config.weight = weight;
        self
    }

    /// The most shards that it may own, while the nodes together have room for all. Default: no limit.
    pub fn capacity(mut self, capacity: Option<NonZeroU32>) -> Self {
        self.config.capacity = capacity;
        self
    }

    /// Its failure zone: voters are spread over zones. Default: empty, for none.
    pub fn zone(mut self, zone: impl Into<String>) -> Self {
        self.config.zone = zone.into();
        self
    }

    /// Whether it votes, learns or only watches. Default: it may vote.
    pub fn participation(mut self, participation: Participation) -> Self {
        self.config.participation = participation;
        self
    }

    /// Intervals and limits; the lease is used at bootstrap only, and remarked on like [`NodeBuilder::shards`].
    pub fn timing(mut self, timing: Timing) -> Self {
        self.asked.lease = asked::lease_of(&timing);
        self.config.timing = timing;
        self
    }

    /// How long a planned move of a shard waits for requests in flight, at most a minute. A stop takes up to a second
    /// more. Default: 2 s.
    pub fn drain_timeout(mut self, time: Duration) -> Self {
        self.config.drain_timeout = time;
        self
    }

    /// Whether it admits, as leader, nodes that ask to join. Default: true.
    pub fn auto_join(mut self, on: bool) -> Self {
        self.config.auto_join = on;
        self
    }
}

/// The start.
impl<R: Runtime> NodeBuilder<R> {
    /// Starts the node. Call it inside the runtime.
    ///
    /// # Errors
    /// [`StartError`]: a setting cannot work, an address is taken, the data directory cannot be used. Nothing runs then.
    pub fn start(mut self) -> Result<Node<R>, StartError> {
        let own_name = self.check_tls()?;
        let (sockets, mut listeners) = self.bind()?;
        let data = self.data.take().map(DataDir::open).transpose()?;
        let mut config = self.config;
        config.name = match own_name.or(self.name).or_else(|| data.as_ref()?.node_name().cloned()) {
            Some(name) => name,
            None => random_name().map_err(|source| StartError::Io { what: "a random name".into(), source })?,
        };
        let mut told = listeners.told.clone();
        for (setting, name) in [(&mut config.serf, GOSSIP), (&mut config.raft, RAFT), (&mut config.liveness, LIVENESS)]
        {
            *setting = told.remove(name).expect("it is bound");
        }
        let mut discovery = self.discovery;
        discovery.service = self.services.first().map(|(name, ..)| told[name]);
        discovery.management = Some(told[management::ENDPOINT]);
        config.endpoints.extend(told);
        tell(&config, data.as_ref());
        let cluster_name = config.cluster.clone();
        let sought = log::sought(&discovery);
        let (tls, permit) = (self.tls, self.permit_plaintext);
        let options = Options {
            data,
            discovery,
            keyring_file: self.keyring_file,
            state_machine: self.state_machine,
            handover: self.handover,
            shard_state: self.shard_state,
            tls: tls.clone(),
            permit_plaintext: permit,
            ..Options::new(config, sockets)
        };
        let (cluster, application) = match self.application {
            Some(start) => start(options).map(|(cluster, requests)| (cluster, Some(requests)))?,
            None => (start::<R>(options)?, None),
        };

        let requests = RequestMetrics::default();
        let page_tls = tls.clone().filter(|_| self.page_tls).map(ServerTls::open);
        let console = Console::new::<R>(cluster.clone(), cluster_name.clone(), requests.clone());
        let console = console.also_named(self.page_names).over(tls.clone(), page_tls.is_some());
        let console = console.for_those_with(self.page_token);
        let management = Management::<R>::new(cluster.clone(), cluster_name.clone()).over(tls.clone(), permit);
        let pool = Pool::<R>::new().over_or_plain(tls.clone(), permit);
        let mutual = tls.map(|tls| ServerTls::mutual(tls).permit_plaintext(permit));
        let mut servers = Servers { listeners: &mut listeners.bound, console: &console, servers: Vec::new() };
        for (name, routes, build) in self.services {
            let layer = RouteLayer::<R>::over(cluster.clone(), &name, routes, requests.clone(), pool.clone());
            let gate = Gate::new(layer.layer(build(&cluster)), Guarded::Service, permit);
            servers.serve::<R, _>(&name, Protocol::Http2, gate, mutual.as_ref())?;
        }
        let managed = Gate::new(ClusterManagementServer::new(management.clone()), Guarded::Own, permit);
        servers.serve::<R, _>(management::ENDPOINT, Protocol::Http2, managed, mutual.as_ref())?;
        let shown = ClusterServer::new(ClusterService::<R>::new(cluster.clone(), cluster_name));
        let shown = Gate::new(shown, Guarded::Own, permit);
        servers.serve::<R, _>(cluster_service::ENDPOINT, Protocol::Http2, shown, mutual.as_ref())?;
        servers.serve::<R, _>(PAGE, Protocol::Http1, console.clone(), page_tls.as_ref())?;
        servers.serve::<R, _>(METRICS, Protocol::Http1, console.clone(), page_tls.as_ref())?;
        let servers = servers.servers;
        let dropped = Stop::new();
        let (log, ended) = (log::write::<R>(cluster.clone(), sought), dropped.clone());
        R::spawn(async move { future::or(log, ended.rung()).await });
        if !self.asked.is_nothing() {
            let (remark, dropped) = (self.asked.remark(cluster.clone()), dropped.clone());
            R::spawn(async move { future::or(remark, dropped.rung()).await });
        }
        Ok(Node { inner: Arc::new(Inner { cluster, management, console, application, servers, listeners, dropped }) })
    }

    /// Refuses credentials of somebody else. The name in the certificate is the node's.
    fn check_tls(&self) -> Result<Option<NodeName>, StartError> {
        let Some(tls) = &self.tls else { return Ok(None) };
        let credentials = tls.get();
        let identity = credentials.identity();
        let name = self.name.as_ref().unwrap_or(&identity.name);
        let own =
            Identity { cluster: self.config.cluster.clone(), role: Role::Node, name: name.clone(), ..identity.clone() };
        if own != *identity {
            let why =
                format!("the certificate is {identity}, and this node is {own}: give it a certificate of its own");
            return Err(StartError::Certificate(why));
        }
        if self.permit_plaintext {
            tracing::warn!("connections without TLS are permitted");
        }
        Ok(Some(identity.name.clone()))
    }

    /// Binds every endpoint, in the order in which errors are best told.
    fn bind(&self) -> Result<(Sockets, Listeners), StartError> {
        let at = &self.addresses;
        let own = [GOSSIP, RAFT, LIVENESS, management::ENDPOINT, cluster_service::ENDPOINT, PAGE, METRICS, MONITORING];
        let is_service = |name: &str| self.services.iter().any(|(service, ..)| service == name);
        at.check(|name| own.contains(&name) || is_service(name))?;
        let failed = |source| StartError::Io { what: "the cluster's sockets".into(), source };
        let bind = if self.is_quic { Sockets::bind_quic } else { Sockets::bind };
        let sockets = bind(at.bind(GOSSIP), at.bind(RAFT), at.bind(LIVENESS)).map_err(failed)?;
        let mut listeners = Listeners::default();
        for (name, address) in
            [(GOSSIP, sockets.serf_address()), (RAFT, sockets.raft_address()), (LIVENESS, sockets.liveness_address())]
        {
            listeners.note(name, address.map_err(failed)?, at)?;
        }
        for (name, ..) in &self.services {
            if own.contains(&name.as_str()) || listeners.bound.contains_key(name) {
                let why = "has a service already: give each endpoint one, which may be several as `Services`";
                return Err(StartError::Endpoint { name: name.clone(), why });
            }
            listeners.bind(name, at)?;
        }
        listeners.bind(PAGE, at)?;
        if at.listen.contains_key(METRICS) {
            listeners.bind(METRICS, at)?;
        } else {
            listeners.share(METRICS, PAGE, at)?;
        }
        listeners.share(MONITORING, METRICS, at)?;
        listeners.bind(management::ENDPOINT, at)?;
        listeners.bind(cluster_service::ENDPOINT, at)?;
        listeners.tell();
        Ok((sockets, listeners))
    }
}

/// Says in the log what will be there after a restart.
fn tell(config: &NodeConfig, data: Option<&DataDir>) {
    let (node, serf) = (&config.name, config.serf);
    match data {
        None => {
            tracing::info!(%node, %serf, "in-memory node: without a data directory a restart makes a new member")
        }
        Some(data) if data.has_log() => {
            let path = data.path().display();
            tracing::info!(%node, %serf, bootstrap = config.bootstrap, data = %path, "resuming the cluster in the data directory");
        }
        Some(data) => tracing::info!(%node, %serf, data = %data.path().display(), "a new data directory"),
    }
}
