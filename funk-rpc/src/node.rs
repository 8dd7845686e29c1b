//! A whole node around one service: sockets, endpoints, the routing layer and
//! the node's own services, so that a service becomes sharded in a few lines.
//!
//! ```no_run
//! # use funk_rpc::Body;
//! # async fn example<R: funk_io::Runtime, S>(greeter: S) -> Result<(), Box<dyn std::error::Error>>
//! # where S: tower_service::Service<http::Request<Body>, Response = http::Response<Body>,
//! #     Error = std::convert::Infallible, Future: Send> + Clone + Send + 'static {
//! use funk_rpc::{Node, Routes};
//!
//! // `greeter` is what tonic generates: GreeterServer::new(MyGreeter)
//! let routes = Routes::new().by_header("/greet.Greeter/Greet", http::HeaderName::from_static("x-name"));
//! let node = Node::new("greetings".parse()?, "10.0.0.5".parse()?)
//!     .join(["10.0.0.4:7946".parse()?])
//!     .start::<R, _>("ep.greet", routes, |_cluster| greeter)?;
//! println!("{} serves at {}", node.cluster().name(), node.service());
//! node.stopped().await;
//! # Ok(()) }
//! ```

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use funk_io::discovery::JoinAddress;
use funk_io::{Cluster, DataDir, Discovery, Options, Runtime, Sockets, StartError, StopReason, random_name, start};
use funk_proto::NodeConfig;
use funk_proto::id::{ClusterName, NodeName};
use http::{Request, Response};
use tonic::body::Body;
use tower_layer::Layer;
use tower_service::Service;

use crate::net::within;
use crate::pb::cluster::cluster_server::ClusterServer;
use crate::pb::managepb::cluster_management_server::ClusterManagementServer;
use crate::routes::Routes;
use crate::server::{Protocol, Server, serve};
use crate::{ClusterService, Console, Management, RouteLayer, cluster_service, management};

/// Time for leaving; what is not done by then is left to the others.
const LEAVE_MAX: Duration = Duration::from_millis(2_500);

/// A node to be started. Every setting has a default: a new node without a
/// disk, found and finding by mDNS, on ports that the system picks.
#[derive(Debug)]
pub struct Node {
    settings: NodeConfig,
    name: Option<NodeName>,
    mdns: bool,
    join: Vec<JoinAddress>,
    data: Option<PathBuf>,
    service: SocketAddr,
    sockets: [SocketAddr; 3],
    http: SocketAddr,
    http_names: Vec<String>,
}

impl Node {
    /// A node of the cluster `cluster` that others reach at `ip`.
    pub fn new(cluster: ClusterName, ip: IpAddr) -> Self {
        let any = SocketAddr::new(ip, 0);
        let unnamed = "unnamed".parse().expect("letters make a name");
        Self {
            settings: NodeConfig::new(unnamed, cluster, any, any, any),
            name: None,
            mdns: true,
            join: Vec::new(),
            data: None,
            service: any,
            sockets: [any; 3],
            http: any,
            http_names: Vec::new(),
        }
    }

    /// Its name, unique in the cluster. Else the one in the data directory, else a random one.
    #[must_use]
    pub fn named(mut self, name: NodeName) -> Self {
        self.name = Some(name);
        self
    }

    /// Starts a new cluster if there is none to join: give it to one node of the first start.
    #[must_use]
    pub fn bootstrap(mut self) -> Self {
        self.settings.bootstrap = true;
        self
    }

    /// Joins through these nodes' gossip addresses, or names that stand for them.
    #[must_use]
    pub fn join(mut self, addresses: impl IntoIterator<Item = JoinAddress>) -> Self {
        self.join.extend(addresses);
        self
    }

    /// Whether it finds others by multicast DNS, and shows itself there. On by default.
    #[must_use]
    pub fn mdns(mut self, on: bool) -> Self {
        self.mdns = on;
        self
    }

    /// Keeps its log in this directory, so that a restart brings the same member back.
    #[must_use]
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data = Some(path.into());
        self
    }

    /// Where the service listens.
    #[must_use]
    pub fn service_at(mut self, address: SocketAddr) -> Self {
        self.service = address;
        self
    }

    /// Where the page, the status and the metrics are served.
    #[must_use]
    pub fn http_at(mut self, address: SocketAddr) -> Self {
        self.http = address;
        self
    }

    /// Names that the page answers to, besides addresses, `localhost` and the machine's name: see
    /// [`Console::also_named`].
    #[must_use]
    pub fn http_named(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.http_names.extend(names);
        self
    }

    /// Where it takes gossip (`ep.serf`), cluster streams (`ep.raft`) and heartbeats (`ep.liveness`).
    #[must_use]
    pub fn cluster_at(mut self, gossip: SocketAddr, streams: SocketAddr, heartbeats: SocketAddr) -> Self {
        self.sockets = [gossip, streams, heartbeats];
        self
    }

    /// Everything else: shards, weight, zone, timing, further endpoints.
    /// Addresses and the name are set by the node itself.
    #[must_use]
    pub fn settings(mut self, set: impl FnOnce(&mut NodeConfig)) -> Self {
        set(&mut self.settings);
        self
    }

    /// Starts the node, and `service` behind the routing layer: other nodes and
    /// clients find it at the endpoint named `endpoint`, such as `ep.greet`. Each
    /// request of `routes` is served by the owner of its shard; its handler finds an
    /// `Arc<ShardGuard>` in the request's extensions. Management, the cluster service,
    /// the status page and metrics are served beside it.
    ///
    /// # Errors
    /// A setting cannot work, an address is taken, the data directory cannot be used.
    /// Nothing runs then.
    pub fn start<R, S>(
        self,
        endpoint: &str,
        routes: Routes,
        service: impl FnOnce(&Cluster) -> S,
    ) -> Result<Running, StartError>
    where
        R: Runtime,
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send + 'static,
    {
        let [gossip, streams, heartbeats] = self.sockets;
        let failed = |source: io::Error| StartError::Io { what: "the cluster's sockets".into(), source };
        let sockets = Sockets::bind(gossip, streams, heartbeats).map_err(failed)?;
        let gossip_at = sockets.serf_address().map_err(failed)?;
        let any = SocketAddr::new(self.service.ip(), 0);
        let mut listeners = Listeners::default();
        for (names, address) in [
            (&[endpoint][..], self.service),
            (&[management::ENDPOINT], any),
            (&[cluster_service::ENDPOINT], any),
            (&["ep.httpConsole", "ep.metrics", "ep.monitoring"], self.http),
        ] {
            listeners.bind(names, address)?;
        }
        let Listeners { sockets: bound, endpoints } = listeners;
        let data = self.data.map(DataDir::open).transpose()?;
        let mut config = self.settings;
        (config.serf, config.raft, config.liveness) = (gossip, streams, heartbeats);
        config.name = match self.name.or_else(|| data.as_ref()?.node_name().cloned()) {
            Some(name) => name,
            None => random_name().map_err(|source| StartError::Io { what: "a random name".into(), source })?,
        };
        config.endpoints.extend(endpoints);
        let at = |name: &str| config.endpoints[name];
        let (service_at, http_at) = (at(endpoint), at("ep.httpConsole"));
        let discovery = Discovery {
            mdns: self.mdns,
            service: Some(service_at),
            management: Some(at(management::ENDPOINT)),
            join: self.join,
            sources: Vec::new(),
        };
        let cluster_name = config.cluster.clone();
        let cluster = start::<R>(Options { data, discovery, ..Options::new(config, sockets) })?;

        let layer = RouteLayer::<R>::new(cluster.clone(), endpoint, routes);
        let console =
            Console::new::<R>(cluster.clone(), cluster_name.clone(), layer.requests()).also_named(self.http_names);
        let managed = ClusterManagementServer::new(Management::<R>::new(cluster.clone(), cluster_name.clone()));
        let shown = ClusterServer::new(ClusterService::<R>::new(cluster.clone(), cluster_name));
        let failed = |source| StartError::Io { what: "a listener".into(), source };
        let service = layer.layer(service(&cluster));
        let [main, management, outside, http] = bound.try_into().expect("four were bound");
        let servers = vec![
            serve::<R, _>(main, Protocol::Http2, service).map_err(failed)?,
            serve::<R, _>(management, Protocol::Http2, managed).map_err(failed)?,
            serve::<R, _>(outside, Protocol::Http2, shown).map_err(failed)?,
            serve::<R, _>(http, Protocol::Http1, console.clone()).map_err(failed)?,
        ];
        let names = [endpoint, management::ENDPOINT, cluster_service::ENDPOINT, "ep.httpConsole"];
        names.iter().zip(&servers).for_each(|(name, server)| console.watch(name, server));
        Ok(Running { cluster, servers, gossip: gossip_at, service: service_at, http: http_at })
    }
}

/// Bound listeners, and the endpoints that they stand for.
#[derive(Default)]
struct Listeners {
    sockets: Vec<TcpListener>,
    endpoints: Vec<(String, SocketAddr)>,
}

impl Listeners {
    fn bind(&mut self, names: &[&str], address: SocketAddr) -> Result<(), StartError> {
        let failed = |source| StartError::Io { what: format!("{} at {address}", names[0]), source };
        let listener = TcpListener::bind(address).map_err(failed)?;
        let at = listener.local_addr().map_err(failed)?;
        self.sockets.push(listener);
        self.endpoints.extend(names.iter().map(|name| ((*name).to_owned(), at)));
        Ok(())
    }
}

/// A node that runs. Dropping this lets it run on.
pub struct Running {
    cluster: Cluster,
    servers: Vec<Server>,
    gossip: SocketAddr,
    service: SocketAddr,
    http: SocketAddr,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("node", self.cluster.name()).field("service", &self.service).finish()
    }
}

impl Running {
    /// The node's handle: members, guards, proposals, events.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Where other nodes join through this one, and clients may find it.
    pub fn gossip(&self) -> SocketAddr {
        self.gossip
    }

    /// Where the service listens.
    pub fn service(&self) -> SocketAddr {
        self.service
    }

    /// Where the page, the status and the metrics are served.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Ends when the node has stopped, by itself or after [`Running::leave`].
    pub fn stopped(&self) -> impl Future<Output = StopReason> + Send + '_ {
        self.cluster.stopped()
    }

    /// Gives its shards to others, leaves the cluster, and ends the servers.
    /// Takes three and a half seconds at most.
    pub async fn leave<R: Runtime>(&self) {
        within::<R, _>(LEAVE_MAX, self.cluster.leave()).await;
        for server in self.servers.clone() {
            // All of them at once; below, each is only waited for.
            R::spawn(async move { server.shutdown().await });
        }
        for server in &self.servers {
            server.shutdown().await;
        }
    }
}
