//! A whole node: its sockets, its place in the cluster, the services behind the routing layer, and the services that
//! every node has.
//!
//! | file | idea |
//! |---|---|
//! | `builder` | what a node is built of, with a default for everything |
//! | `asked` | settings that a cluster which is there already does not take |
//! | `listeners` | the addresses it binds, and what others are told |
//! | `servers` | what listens there |
//! | `log` | the lines that it logs |
//! | `ended` | how it ended, and the exit code for that |
//!
//! ```no_run
//! # use funk_rpc::{Body, Ended, GrpcService, NodeBuilder, Routes};
//! # async fn example<R: funk_io::Runtime, S>(greeter: S) -> Result<Ended, Box<dyn std::error::Error>>
//! # where S: GrpcService + tonic::server::NamedService, S::Future: Send {
//! // `greeter` is what tonic generates: GreeterServer::new(MyGreeter)
//! let routes = Routes::new().by_header("/greet.Greeter/Greet", http::HeaderName::from_static("x-name"));
//! let node = NodeBuilder::<R>::new("greetings".parse()?)
//!     .join(["10.0.0.4:7946".parse()?])
//!     .service("ep.greet", routes, |_cluster| greeter)
//!     .start()?;
//! println!("{} serves at {:?}", node.cluster().name(), node.address("ep.greet"));
//! Ok(node.run().await)
//! # }
//! ```

mod asked;
mod builder;
mod ended;
mod listeners;
mod log;
mod servers;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use funk_io::{Cluster, Runtime, StopReason, Stopped, service};
use futures_lite::future;

pub use self::builder::NodeBuilder;
pub use self::ended::Ended;
use self::listeners::{GOSSIP, Listeners, PAGE};
use crate::console::{Console, NotReady};
use crate::families::Family;
use crate::management::Management;
use crate::net::within;
use crate::server::Server;
use crate::stop::Stop;

/// Time for leaving, beside the drain timeout; with the servers' end it stays below a second.
const LEAVE_MARGIN: Duration = Duration::from_millis(500);
/// Time for the servers to end open requests after that, at least.
const CLOSE_MIN: Duration = Duration::from_millis(400);

/// A node that runs. Clones stand for the same node; dropping the last one stops it without leaving, once the
/// services let go of the [`Cluster`] handles that they have.
#[must_use = "dropping it stops the node"]
pub struct Node<R> {
    inner: Arc<Inner<R>>,
}

struct Inner<R> {
    cluster: Cluster,
    management: Management<R>,
    console: Console,
    application: Option<service::ServiceHandle>,
    servers: Vec<Server>,
    /// Where each endpoint that this node serves is.
    listeners: Listeners,
    /// Ends what else holds the node's handle.
    dropped: Stop,
}

impl<R> Drop for Inner<R> {
    fn drop(&mut self) {
        // Their tasks hold the node's handle.
        self.servers.iter().for_each(Server::stop);
        self.dropped.ring();
    }
}

impl<R> Clone for Node<R> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<R> fmt::Debug for Node<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.inner;
        f.debug_struct("Node")
            .field("name", inner.cluster.name())
            .field("addresses", &inner.listeners.addresses)
            .finish()
    }
}

impl<R: Runtime> Node<R> {
    /// The node's handle: guards, members, proposals, events.
    pub fn cluster(&self) -> &Cluster {
        &self.inner.cluster
    }

    /// What only the leader can do, asked for here and passed on to it.
    pub fn management(&self) -> &Management<R> {
        &self.inner.management
    }

    /// The page, status, health and metrics as a service for an HTTP server of your own.
    pub fn console(&self) -> &Console {
        &self.inner.console
    }

    /// Hands requests to the application that [`NodeBuilder::application`] was given.
    pub fn application(&self) -> Option<&service::ServiceHandle> {
        self.inner.application.as_ref()
    }

    /// Where it serves the endpoint `name`, as it is bound; `None` for one that it does not serve.
    pub fn address(&self, name: &str) -> Option<SocketAddr> {
        self.inner.listeners.addresses.get(name).copied()
    }

    /// Where others are told that the endpoint `name` is; `None` for one that it does not serve.
    pub fn advertised(&self, name: &str) -> Option<SocketAddr> {
        self.inner.listeners.told.get(name).copied()
    }

    /// Where other nodes join through this one, and clients may find it: what others are told.
    pub fn gossip(&self) -> SocketAddr {
        self.inner.listeners.told[GOSSIP]
    }

    /// Where the page, the status and health are served, as it is bound.
    pub fn page(&self) -> SocketAddr {
        self.inner.listeners.addresses[PAGE]
    }

    /// Whether this node may serve now, as `/readyz` answers.
    ///
    /// # Errors
    /// [`NotReady`] says why not.
    pub async fn readiness(&self) -> Result<(), NotReady> {
        self.inner.console.readiness().await
    }

    /// What the node measures now, for a registry or an exporter of your own; [`families::text`](crate::families::text)
    /// makes Prometheus' text of it. No other node is asked. `/metrics` shows the same, and `process_*`.
    ///
    /// # Errors
    /// [`Stopped`] if the node has stopped.
    pub async fn metrics(&self) -> Result<Vec<Family>, Stopped> {
        self.inner.console.metrics().await
    }

    /// Whether the node runs: false once it stopped, was removed, or lost its disk. A process whose node does not
    /// run has nothing left to do.
    pub fn is_running(&self) -> bool {
        self.inner.cluster.is_running()
    }

    /// Ends when the node has stopped, by itself or after [`Node::leave`].
    pub fn stopped(&self) -> impl Future<Output = StopReason> + Send + '_ {
        self.inner.cluster.stopped()
    }

    /// Runs until the process gets SIGTERM or SIGINT, or the node stops by itself. In the first case it leaves first;
    /// a second signal ends the process at once. The servers are closed when this returns.
    ///
    /// A node that is told to leave takes three seconds at most.
    pub async fn run(&self) -> Ended {
        match Stop::on_signals() {
            Ok(stop) => self.run_until(stop.rung()).await,
            Err(error) => {
                // Nobody could end this node in order any more.
                self.leave().await;
                Ended::Stopped(StopReason::Failed(format!("signals cannot be caught: {error}")))
            }
        }
    }

    /// The same with a signal of your own: [`Stop`], say, or anything else that ends.
    pub async fn run_until<T>(&self, signal: impl Future<Output = T>) -> Ended {
        let stopped = async { Some(self.stopped().await) };
        let told = async {
            signal.await;
            None
        };
        match future::or(stopped, told).await {
            Some(why) => {
                self.close(CLOSE_MIN).await;
                Ended::Stopped(why)
            }
            None => Ended::Told { left: self.leave().await },
        }
    }

    /// Gives its shards to others, leaves the cluster, and ends the servers. Takes a second more than the drain
    /// timeout at most; false if that was not enough, or if the node stopped for another reason.
    pub async fn leave(&self) -> bool {
        tracing::info!("leaving");
        let began = Instant::now();
        let cluster = &self.inner.cluster;
        let time = cluster.drain_timeout() + LEAVE_MARGIN;
        let left = within::<R, _>(time, cluster.leave()).await.is_some_and(|left| left.is_ok());
        tracing::info!(left, after = ?began.elapsed(), "stopping");
        // What it passes on to others may take as long as what it served.
        self.close((time + CLOSE_MIN).saturating_sub(began.elapsed())).await;
        left
    }

    /// Lets the servers end their open requests, for so long.
    async fn close(&self, time: Duration) {
        // All of them at once; below, each is only waited for.
        self.inner.servers.iter().for_each(Server::stop);
        let closing = async {
            for server in &self.inner.servers {
                server.shutdown().await;
            }
        };
        within::<R, _>(time, closing).await;
    }
}
