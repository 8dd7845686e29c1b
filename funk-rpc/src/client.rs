//! A client of a cluster that is no node of it: it follows the shard map and
//! the members through some node's cluster service, and calls the owner of a
//! shard directly. Gossip is only asked where a first cluster service is.
//!
//! ```no_run
//! # async fn example<R: funk_io::Runtime>() -> Result<(), Box<dyn std::error::Error>> {
//! use funk_rpc::client::{Client, ClientOptions, Seed};
//! use std::time::{Duration, Instant};
//!
//! let client = Client::<R>::start(ClientOptions::new("clusterfunk", vec![Seed::Gossip("10.0.0.5:7946".parse()?)]));
//! client.wait_for_endpoint("ep.demo", Instant::now() + Duration::from_secs(5)).await?;
//! let channel = client.channel("ep.demo");
//! // `channel` goes into any client that tonic generates: DemoServiceClient::new(channel)
//! # Ok(()) }
//! ```
//!
//! | file | idea |
//! |---|---|
//! | `seeds` | where a first node may be |
//! | `look` | whom a node knows, by gossip, without becoming one |
//! | `view` | the nodes, their endpoints, who owns what |
//! | `map` | the view as the messages of a watch draw it |
//! | `follow` | keeps the view up to date |
//! | `choose` | whom to call: the owner, else one after the other |
//! | `channel` | one request: its tries and its end |
//! | `budget` | how many tries all requests may cost |
//! | `stats` | what became of the requests, counted |

mod budget;
mod channel;
mod choose;
mod follow;
mod look;
mod map;
mod seeds;
mod stats;
mod view;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use event_listener::{Event, EventListener};
use funk_io::Runtime;
use funk_proto::GossipKeys;
use funk_tls::Current;
use http::Uri;
use tonic::Status;

pub use channel::{Channel, Idempotent, Target};
pub use look::look;
pub use seeds::{Seed, members};
pub use stats::Stats;
pub use view::{ClusterView, NodeView};

use self::budget::Budget;
use self::choose::{Choice, Failed};
use self::stats::Counters;
use crate::cluster_service::ENDPOINT;
use crate::net::within;
use crate::pb::cluster::EndpointsRequest;
use crate::pb::cluster::cluster_client::ClusterClient;
use crate::pool::Pool;

/// What a client is started with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientOptions {
    /// The cluster's name: nodes of others that gossip shows are passed over.
    pub cluster: String,
    /// Where a first node may be. All are tried again for as long as none answers.
    pub seeds: Vec<Seed>,
    /// Id of the cluster, 16 hex digits. Empty: that of the first node that lets itself be followed.
    pub cluster_id: String,
    /// Whom the client is to the cluster, and whom it believes; `None`: no TLS.
    pub tls: Option<Current>,
    /// With which gossip is encrypted, where a first node is looked for by gossip; `None`: it is not.
    pub gossip_keys: Option<GossipKeys>,
}

impl ClientOptions {
    /// A client of the cluster `cluster` that is found through `seeds`.
    pub fn new(cluster: impl Into<String>, seeds: Vec<Seed>) -> Self {
        Self { cluster: cluster.into(), seeds, cluster_id: String::new(), tls: None, gossip_keys: None }
    }

    /// Speaks TLS with these credentials. Only nodes of the cluster that they name are believed, and a member's address
    /// only if that very member is there.
    #[must_use]
    pub fn over(mut self, credentials: impl Into<Current>) -> Self {
        self.tls = Some(credentials.into());
        self
    }

    /// Encrypts the gossip by which a first node is looked for.
    #[must_use]
    pub fn gossip_keys(mut self, keys: impl Into<GossipKeys>) -> Self {
        self.gossip_keys = Some(keys.into());
        self
    }

    /// Refuses every cluster that has another id than this one.
    #[must_use]
    pub fn expecting(mut self, cluster_id: &str) -> Self {
        self.cluster_id = cluster_id.into();
        self
    }
}

/// No node serves the endpoint yet. Nothing was called.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotFound {
    /// The endpoint.
    pub endpoint: String,
    /// What stood in the way last, for people.
    pub why: String,
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no node serves {}: {}", self.endpoint, self.why)
    }
}

impl std::error::Error for NotFound {}

/// Follows a cluster. Clones share everything; with the last one, and the last
/// [`Channel`], the following ends.
pub struct Client<N> {
    shared: Arc<Shared<N>>,
}

impl<N> Clone for Client<N> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<N> fmt::Debug for Client<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("cluster", &self.shared.options.cluster).finish_non_exhaustive()
    }
}

struct Shared<N> {
    options: ClientOptions,
    pool: Pool<N>,
    state: Mutex<State>,
    changed: Arc<Event>,
    failed: Failed,
    budget: Budget,
    counters: Counters,
    /// Rings when the node that is watched seems dead, and at the end.
    doubt: Arc<Event>,
}

struct State {
    view: Arc<ClusterView>,
    /// Id of the cluster; empty until a node told it. From then on it stays.
    cluster_id: String,
    /// Where the watch is.
    watched: Option<SocketAddr>,
    /// The watched node did not answer a request.
    doubted: bool,
    /// What stood in the way last.
    why: String,
}

impl<N> Shared<N> {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn view(&self) -> Arc<ClusterView> {
        Arc::clone(&self.lock().view)
    }

    /// Takes in the view of the cluster `id`, unless a later one is known, and wakes those who wait. True if
    /// it shows anything new.
    fn publish(&self, view: ClusterView, id: &str) -> bool {
        let mut state = self.lock();
        let other = !state.cluster_id.is_empty() && state.cluster_id != id;
        if other || view.epoch() < state.view.epoch() {
            return false;
        }
        state.cluster_id = id.into();
        let news = *state.view != view;
        if news {
            let view = Arc::new(view);
            state.view = Arc::clone(&view);
            drop(state);
            self.pool.retain(|address| view.at(*address).is_some());
            self.changed.notify(usize::MAX);
        }
        news
    }

    /// Notes that a node did not answer: if its word is followed, another's is asked for.
    fn did_not_answer(&self, choice: &Choice) {
        self.failed.note(choice.address);
        let mut state = self.lock();
        let watched = state.watched.and_then(|at| state.view.at(at));
        if watched.is_some_and(|node| node.name == choice.node) {
            state.doubted = true;
            drop(state);
            self.doubt.notify(usize::MAX);
        }
    }

    /// Notes what stands in the way of following the cluster; tells the log when that is something new.
    fn failed_with(&self, why: String) {
        let mut state = self.lock();
        if state.why != why {
            tracing::info!(cluster = self.options.cluster, why, "the cluster cannot be followed");
            state.why = why;
            drop(state);
            self.changed.notify(usize::MAX);
        }
    }

    /// Notes whose watch is followed now.
    fn watches(&self, address: Option<SocketAddr>) {
        let mut state = self.lock();
        (state.watched, state.doubted) = (address, false);
        if address.is_some() {
            state.why.clear();
        }
    }
}

impl<N> Drop for Shared<N> {
    fn drop(&mut self) {
        self.doubt.notify(usize::MAX);
    }
}

impl<N: Runtime> Client<N> {
    /// Begins to follow. The view is empty until a node answered; see [`Client::wait_for_endpoint`].
    pub fn start(options: ClientOptions) -> Self {
        let state = State {
            view: Arc::default(),
            cluster_id: options.cluster_id.clone(),
            watched: None,
            doubted: false,
            why: "no node has answered yet".into(),
        };
        let shared = Arc::new(Shared {
            pool: Pool::new().over(options.tls.clone()),
            options,
            state: Mutex::new(state),
            changed: Arc::default(),
            failed: Failed::default(),
            budget: Budget::default(),
            counters: Counters::default(),
            doubt: Arc::default(),
        });
        follow::start(&shared);
        Self { shared }
    }

    /// The latest view of the cluster.
    pub fn view(&self) -> Arc<ClusterView> {
        self.shared.view()
    }

    /// Rings at the next change of the view. Listen first, then look.
    pub fn changed(&self) -> EventListener {
        self.shared.changed.listen()
    }

    /// The nodes that serve the endpoint `name` now.
    pub fn endpoints(&self, name: &str) -> Vec<(String, SocketAddr)> {
        let view = self.view();
        view.serving(name).map(|(node, address)| (node.name.clone(), address)).collect()
    }

    /// Ends when some node serves the endpoint `name`, and gives all that do.
    ///
    /// # Errors
    /// [`NotFound`] once `deadline` has passed; the client goes on looking.
    pub async fn wait_for_endpoint(
        &self,
        name: &str,
        deadline: Instant,
    ) -> Result<Vec<(String, SocketAddr)>, NotFound> {
        loop {
            let changed = self.changed();
            let found = self.endpoints(name);
            if !found.is_empty() {
                return Ok(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO || within::<N, _>(left, changed).await.is_none() {
                let state = self.shared.lock();
                let known = state.view.nodes().len();
                let why =
                    if known == 0 { state.why.clone() } else { format!("{known} nodes are known, none shows it") };
                return Err(NotFound { endpoint: name.into(), why });
            }
        }
    }

    /// Endpoints of all live nodes whose names begin with `prefix`, members or not,
    /// as some node knows them: node, name, address.
    ///
    /// # Errors
    /// `DEADLINE_EXCEEDED` or `UNAVAILABLE`: no node answered in time.
    pub async fn all_endpoints(
        &self,
        prefix: &str,
        deadline: Instant,
    ) -> Result<Vec<(String, String, SocketAddr)>, Status> {
        let left = deadline.saturating_duration_since(Instant::now());
        let channel = self.channel(ENDPOINT).idempotent("/funk.cluster.v1.Cluster/Endpoints").deadline(left);
        let mut client = ClusterClient::with_origin(channel, Uri::from_static("http://funk"));
        let answer = client.endpoints(EndpointsRequest { prefix: prefix.into() }).await?.into_inner();
        let known = answer.endpoints.into_iter();
        Ok(known.filter_map(|it| Some((it.node_id, it.name, it.address.parse().ok()?))).collect())
    }

    /// Id of the cluster that is followed, 16 hex digits; `None` until a node told it. A
    /// cluster of the same name but another id is refused from then on.
    pub fn cluster_id(&self) -> Option<String> {
        Some(self.shared.lock().cluster_id.clone()).filter(|id| !id.is_empty())
    }

    /// Why the cluster cannot be followed now; `None` while it is. What is known stays in use. A
    /// change of this rings [`Client::changed`] too.
    pub fn trouble(&self) -> Option<String> {
        let state = self.shared.lock();
        Some(state.why.clone()).filter(|why| !why.is_empty())
    }

    /// Addresses that this client holds connections for.
    pub fn connections(&self) -> usize {
        self.shared.pool.connections()
    }

    /// What became of the requests of all channels so far, [`Client::all_endpoints`] included,
    /// and how many connections are open.
    pub fn stats(&self) -> Stats {
        self.shared.counters.stats(self.shared.pool.open())
    }

    /// A channel to whoever serves the endpoint `name`.
    pub fn channel(&self, name: &str) -> Channel<N> {
        Channel::new(Arc::clone(&self.shared), name)
    }
}

#[cfg(test)]
mod tests;
