//! A client of a cluster that is no node of it: it follows the cluster's live
//! nodes and their endpoints, as gossip shows them. Gossip names no owners of
//! shards, so the nodes take turns, and pass requests on to the owner.
//!
//! ```no_run
//! # async fn example<R: funk_io::Runtime>() -> Result<(), Box<dyn std::error::Error>> {
//! use funk_rpc::client::{Client, Options, Seed};
//! use std::time::{Duration, Instant};
//!
//! let client = Client::<R>::start(Options::new("clusterfunk", vec![Seed::Gossip("10.0.0.5:7946".parse()?)]));
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
//! | `picture` | the nodes, their endpoints, who owns what |
//! | `follow` | keeps the picture up to date |
//! | `choose` | whom to call: the owner, else one after the other |
//! | `channel` | one request: its tries and its end |

mod channel;
mod choose;
mod follow;
mod look;
mod picture;
mod seeds;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use event_listener::{Event, EventListener};

pub use channel::{Channel, Idempotent, Target};
pub use look::look;
pub use picture::{Node, Picture};
pub use seeds::{Seed, members};

use self::choose::Failed;
use crate::net::{Net, within};
use crate::pool::Pool;

/// What a client is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster's name: nodes of others that gossip shows are passed over.
    pub cluster: String,
    /// Where a first node may be. All are tried again for as long as none answers.
    pub seeds: Vec<Seed>,
}

impl Options {
    /// A client of the cluster `cluster` that is found through `seeds`.
    pub fn new(cluster: impl Into<String>, seeds: Vec<Seed>) -> Self {
        Self { cluster: cluster.into(), seeds }
    }
}

/// No node serves the endpoint yet. Nothing was called.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    options: Options,
    pool: Pool<N>,
    state: Mutex<State>,
    changed: Arc<Event>,
    failed: Failed,
}

struct State {
    picture: Arc<Picture>,
    /// What stood in the way last.
    why: String,
}

impl<N> Shared<N> {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn picture(&self) -> Arc<Picture> {
        Arc::clone(&self.lock().picture)
    }

    /// Takes in a newer picture and wakes those who wait for one.
    fn publish(&self, picture: Picture) {
        let mut state = self.lock();
        if *state.picture != picture {
            state.picture = Arc::new(picture);
            drop(state);
            self.changed.notify(usize::MAX);
        }
    }

    fn failed_with(&self, why: String) {
        self.lock().why = why;
    }
}

impl<N> Drop for Shared<N> {
    fn drop(&mut self) {
        // The task that follows waits for this too.
        self.changed.notify(usize::MAX);
    }
}

impl<N: Net> Client<N> {
    /// Begins to follow. The picture is empty until a node answered; see [`Client::wait_for_endpoint`].
    pub fn start(options: Options) -> Self {
        let state = State { picture: Arc::default(), why: "no node has answered yet".into() };
        let shared = Arc::new(Shared {
            options,
            pool: Pool::new(),
            state: Mutex::new(state),
            changed: Arc::default(),
            failed: Failed::default(),
        });
        follow::start(&shared);
        Self { shared }
    }

    /// The latest picture of the cluster.
    pub fn picture(&self) -> Arc<Picture> {
        self.shared.picture()
    }

    /// Rings at the next change of the picture. Listen first, then look.
    pub fn changed(&self) -> EventListener {
        self.shared.changed.listen()
    }

    /// The nodes that serve the endpoint `name` now.
    pub fn endpoints(&self, name: &str) -> Vec<(String, SocketAddr)> {
        let picture = self.picture();
        picture.serving(name).map(|(node, address)| (node.name.clone(), address)).collect()
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
                let known = state.picture.nodes().len();
                let why =
                    if known == 0 { state.why.clone() } else { format!("{known} nodes are known, none shows it") };
                return Err(NotFound { endpoint: name.into(), why });
            }
        }
    }

    /// A channel to whoever serves the endpoint `name`.
    pub fn channel(&self, name: &str) -> Channel<N> {
        Channel::new(Arc::clone(&self.shared), name)
    }
}
