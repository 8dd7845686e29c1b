//! Where a node finds others to join, and how it is found by them.
//!
//! A [`Source`] tells of addresses for as long as it lives. One thread of each
//! node listens to all of its sources and hands what they find to the node,
//! which tries an address until it is in a cluster. Sources never give up; what
//! they could not do is an event and a line in the log.
//!
//! | file | source |
//! |---|---|
//! | `address` | join addresses as people write them |
//! | `mdns` | multicast DNS: registers this node, watches for others |
//! | `ask` | one question by multicast DNS, for those who only look |
//! | `registration` | what a node registers by multicast DNS |
//! | `late` | answers by multicast DNS that the daemon owes |
//! | `instance` | the names that nodes have in multicast DNS |
//! | `names` | names in DNS, looked up again and again |
//! | `srv` | service records |
//! | `program` | a program that prints addresses |
//! | `repeat` | a question that is asked again and again |
//! | `feed` | the thread on which a source works |
//! | `search` | the thread that hands findings to the node |

mod address;
mod ask;
mod feed;
mod instance;
mod late;
mod mdns;
mod names;
mod program;
mod registration;
mod repeat;
pub(crate) mod search;
mod srv;
pub(crate) mod switch;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

pub use address::{BadJoinAddress, JoinAddress};
pub use ask::{ask, instances};
pub use instance::{Instance, Kind, SERVICE_TYPE};
pub use names::resolve;

/// What a source found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A node may be at these gossip addresses.
    Up {
        /// What the source calls it; the same one may come again with other addresses.
        instance: String,
        /// The node's name, if the source knows it.
        node: Option<String>,
        /// Where.
        addresses: Vec<SocketAddr>,
    },
    /// It said goodbye, or was not heard of for long.
    Gone {
        /// As it was called.
        instance: String,
    },
    /// The source cannot find anything now; it goes on trying.
    Failed {
        /// Why, for people.
        why: String,
    },
}

/// The next thing that a source finds.
pub type Next<'a> = Pin<Box<dyn Future<Output = Found> + Send + 'a>>;

/// Where addresses come from. Write one for a catalogue of your own.
pub trait Source: Send + 'static {
    /// What it is, for people.
    fn name(&self) -> String;

    /// Ends when there is something to tell. It is called again and again, on
    /// one thread that all sources of a node share: it must not block. Dropping
    /// the future must lose nothing.
    fn next(&mut self) -> Next<'_>;
}

/// How a node finds others.
#[derive(Default)]
pub struct Discovery {
    /// Multicast DNS: the node is registered, and looks for others of its cluster.
    pub mdns: bool,
    /// Address of the service's own endpoint, registered by multicast DNS too.
    pub service: Option<SocketAddr>,
    /// Address of the management service, likewise.
    pub management: Option<SocketAddr>,
    /// Addresses and names to join through.
    pub join: Vec<JoinAddress>,
    /// Sources of your own.
    pub sources: Vec<Box<dyn Source>>,
}

impl Discovery {
    /// Whether addresses may come that are not known at the start.
    pub(crate) fn searches(&self) -> bool {
        self.mdns || !self.sources.is_empty() || !self.join.is_empty()
    }
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources: Vec<_> = self.sources.iter().map(|source| source.name()).collect();
        f.debug_struct("Discovery")
            .field("mdns", &self.mdns)
            .field("service", &self.service)
            .field("management", &self.management)
            .field("join", &self.join)
            .field("sources", &sources)
            .finish()
    }
}
