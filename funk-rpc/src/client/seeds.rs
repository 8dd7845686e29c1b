//! Where a first node may be.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use event_listener::Event;
use funk_io::Runtime;
use funk_io::discovery::{Instance, JoinAddress, Kind, ask, resolve};
use funk_proto::GossipKeys;
use funk_proto::wire::gossip::GossipMember;

use super::look::look;
use crate::net::within;

/// Time for nodes to answer by mDNS; they do so at once.
const ASK_FOR: Duration = Duration::from_millis(150);
/// Time for one look at a node's members.
const LOOK_MAX: Duration = Duration::from_millis(500);
/// Failures of one search that are told.
const TOLD_MAX: usize = 8;
/// Addresses that one search looks at; one that answers is enough.
const LOOKS_MAX: usize = 64;

/// Where a first node may be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Seed {
    /// A gossip address (`ep.serf`), a name with such addresses, or service records.
    Gossip(JoinAddress),
    /// The address of a node's cluster service (`ep.cluster`), a name with such addresses, or service records:
    /// no gossip is needed.
    Cluster(JoinAddress),
    /// Multicast DNS on the interface with this address.
    Mdns(Ipv4Addr),
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gossip(join) | Self::Cluster(join) => write!(f, "{join}"),
            Self::Mdns(interface) => write!(f, "mDNS on {interface}"),
        }
    }
}

/// The members that gossip shows at the first node that answers. The asker becomes none. With `keys`, gossip is encrypted.
///
/// # Errors
/// Nobody answers; what was tried and what stood in the way, for people.
pub async fn members<N: Runtime>(
    cluster: &str,
    seeds: &[Seed],
    keys: Option<&GossipKeys>,
) -> Result<Vec<GossipMember>, String> {
    let (cluster, seeds) = (cluster.to_owned(), seeds.to_vec());
    let (addresses, mut tried) = on_a_thread(move || addresses(&cluster, &seeds)).await?;
    for address in addresses.into_iter().take(LOOKS_MAX) {
        tried.push(match within::<N, _>(LOOK_MAX, look::<N>(address, keys)).await {
            Some(Ok(members)) => return Ok(members),
            Some(Err(error)) => format!("{address}: {error}"),
            None => format!("{address} does not answer within {LOOK_MAX:?}"),
        });
    }
    if tried.is_empty() {
        return Err("no seed says where a node is".into());
    }
    let more = tried.len().saturating_sub(TOLD_MAX);
    tried.truncate(TOLD_MAX);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    Err(tried.join("; ") + &more)
}

/// Where the seeds say that a cluster service is, and why there may be none.
pub(super) async fn services(seeds: &[Seed]) -> (Vec<SocketAddr>, Option<String>) {
    let joins = seeds.iter().filter_map(|seed| match seed {
        Seed::Cluster(join) => Some(join.clone()),
        _ => None,
    });
    let joins: Vec<_> = joins.collect();
    if joins.is_empty() {
        return (Vec::new(), None);
    }
    let looked = on_a_thread(move || {
        let (mut found, mut why) = (Vec::new(), None);
        for join in joins {
            match resolve(&join) {
                Ok(addresses) => found.extend(addresses),
                Err(error) => why = Some(format!("{join}: {error}")),
            }
        }
        found.truncate(LOOKS_MAX);
        (found, why)
    });
    looked.await.unwrap_or_else(|why| (Vec::new(), Some(why)))
}

/// Gossip addresses of all seeds, and the seeds that gave none. Blocks.
fn addresses(cluster: &str, seeds: &[Seed]) -> (Vec<SocketAddr>, Vec<String>) {
    let mut found = Vec::new();
    let mut tried = Vec::new();
    for seed in seeds {
        match seed {
            Seed::Mdns(_) | Seed::Cluster(_) => {}
            Seed::Gossip(join) => match resolve(join) {
                Ok(addresses) => found.extend(addresses),
                Err(error) => tried.push(format!("{join}: {error}")),
            },
        }
    }
    let interfaces = seeds.iter().filter_map(|seed| match seed {
        Seed::Mdns(interface) => Some(*interface),
        _ => None,
    });
    // All interfaces are asked at the same time.
    let asked = std::thread::scope(|scope| {
        let ask_there = |interface| scope.spawn(move || ask(interface, cluster, ASK_FOR, |_| false));
        let asking: Vec<_> = interfaces.map(ask_there).collect();
        asking.into_iter().filter_map(|asking| asking.join().ok()).collect::<Vec<_>>()
    });
    if !asked.is_empty() && !asked.iter().flatten().any(|found| !found.is_empty()) {
        tried.push(format!("no node of cluster {cluster} answers by mDNS"));
    }
    let serf = |found: Vec<Instance>| found.into_iter().filter(|instance| instance.kind == Kind::Serf);
    found.extend(asked.into_iter().flatten().flat_map(serf).flat_map(|instance| instance.addresses));
    found.dedup();
    (found, tried)
}

/// Runs what blocks beside the caller's runtime.
async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    type Place<T> = Arc<(Mutex<Option<Option<T>>>, Event)>;
    /// Tells of the end also when the work panics.
    struct Done<T>(Place<T>);
    impl<T> Drop for Done<T> {
        fn drop(&mut self) {
            self.0.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(None);
            self.0.1.notify(usize::MAX);
        }
    }

    let place: Place<T> = Arc::default();
    let done = Done(Arc::clone(&place));
    let thread = std::thread::Builder::new().name("funk-client-find".into());
    let spawned = thread.spawn(move || {
        let value = work();
        *done.0.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Some(value));
        drop(done);
    });
    spawned.map_err(|error| format!("no thread to look names up: {error}"))?;
    loop {
        let changed = place.1.listen();
        if let Some(value) = place.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return value.ok_or_else(|| "the search for nodes broke off".to_owned());
        }
        changed.await;
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;

    use super::*;

    #[test]
    fn a_name_that_is_not_there_is_named() {
        let seeds = [Seed::Gossip("no-such-host.invalid:1".parse().unwrap())];
        let (found, tried) = addresses("c", &seeds);
        assert!(found.is_empty() && tried[0].contains("no-such-host.invalid:1"), "{tried:?}");
    }

    #[test]
    fn work_that_panics_is_an_error() {
        assert_eq!(block_on(on_a_thread(|| 7)), Ok(7));
        let result: Result<(), String> = block_on(on_a_thread(|| panic!("planned by the test")));
        assert!(result.is_err());
    }
}
