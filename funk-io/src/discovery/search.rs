//! The thread that listens to a node's sources and hands what they find to the node.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use crate::events::DiscoveryEvent;
use crate::limits::DISCOVERED_MAX;
use funk_proto::limits::{BOOTSTRAP_PROBE, JOIN_ADDRESSES_MAX};
use funk_proto::{NodeConfig, Request};

use super::address::JoinAddress;
use super::mdns::{Mdns, interface_for};
use super::registration::Registration;
use super::{Discovery, Found, Source, names};
use crate::shared::{Command, Shared};

/// Ends the search for those who wait, however the thread ends.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.search.set_runs(false);
        self.0.search_ended();
    }
}

/// Moves the addresses that need no search into the configuration, and says
/// there whether others may come.
pub(crate) fn prepare(discovery: &mut Discovery, config: &mut NodeConfig) {
    config.discovery |= discovery.searches();
    let known = |join: &JoinAddress| match join {
        JoinAddress::Address(address) => Some(*address),
        JoinAddress::Name { .. } | JoinAddress::Service(_) | JoinAddress::Program(_) => None,
    };
    config.join.extend(discovery.join.iter().filter_map(known));
    discovery.join.retain(|join| known(join).is_none());
    discovery.join.sort_unstable();
    discovery.join.dedup();
}

/// Starts the search, unless there is nothing to search with. Gossip is bound to `bound`.
pub(crate) fn start(discovery: Discovery, config: &NodeConfig, bound: IpAddr, shared: &Arc<Shared>) -> io::Result<()> {
    if !discovery.searches() {
        return Ok(());
    }
    let mut sources = discovery.sources;
    for join in discovery.join {
        sources.push(Box::new(names::source(join)?));
    }
    if discovery.mdns {
        let registration = Registration {
            cluster: config.cluster.to_string(),
            node: config.name.to_string(),
            interface: interface_for(config.serf.ip(), bound),
            serf: config.serf,
            service: discovery.service,
            management: discovery.management,
            // Nobody is to find a node that may be refused in a moment.
            after: if config.bootstrap { BOOTSTRAP_PROBE } else { Duration::ZERO },
        };
        let gate = Arc::clone(&shared.gate);
        sources.push(Box::new(Mdns::new(registration, move || gate.routes().shards() == 0)?));
    }
    shared.search.set_runs(true);
    let ended = Ended(Arc::clone(shared));
    let thread = std::thread::Builder::new().name(format!("funk-find-{}", config.name));
    thread.spawn(move || futures_lite::future::block_on(search(sources, &ended.0)))?;
    Ok(())
}

/// Listens to all sources until it is told to stop; then drops them, which
/// withdraws what they registered.
async fn search(sources: Vec<Box<dyn Source>>, shared: &Shared) {
    let known = Mutex::new(BTreeMap::new());
    let mut listeners: Vec<Pin<Box<dyn Future<Output = ()> + Send + '_>>> = Vec::new();
    for source in sources {
        listeners.push(Box::pin(listen(source, shared, &known)));
    }
    let all = poll_fn(|context| {
        for listener in &mut listeners {
            let _: Poll<()> = listener.as_mut().poll(context);
        }
        Poll::<()>::Pending
    });
    futures_lite::future::or(shared.search.stopping(), all).await;
}

/// What was told already, by source and instance.
type Known = Mutex<BTreeMap<(String, String), Vec<SocketAddr>>>;

async fn listen(mut source: Box<dyn Source>, shared: &Shared, known: &Known) {
    let name = source.name();
    loop {
        match source.next().await {
            Found::Up { instance, node, mut addresses } => {
                addresses.sort_unstable();
                addresses.truncate(JOIN_ADDRESSES_MAX);
                if note(known, (name.clone(), instance), &addresses) {
                    tracing::info!(source = %name, node, ?addresses, "found");
                    let (source, addresses) = (name.clone(), addresses.clone());
                    shared.bus.publish(DiscoveryEvent::Found { source, node, addresses });
                }
                // The answer says only that the node took them; it tells itself how it goes.
                if shared.send(Command::Request { request: Request::Join(addresses), reply: None }).await.is_err() {
                    return;
                }
            }
            Found::Gone { instance } => {
                tracing::debug!(source = %name, instance, "gone");
                known.lock().unwrap_or_else(PoisonError::into_inner).remove(&(name.clone(), instance));
            }
            Found::Failed { why } => {
                tracing::warn!(source = %name, reason = %why, "nothing found, trying on");
                shared.bus.publish(DiscoveryEvent::Failed { source: name.clone(), reason: why });
            }
        }
    }
}

/// Whether this is news.
fn note(known: &Known, key: (String, String), addresses: &[SocketAddr]) -> bool {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if known.get(&key).is_some_and(|told| told == addresses) {
        return false;
    }
    if known.len() >= DISCOVERED_MAX {
        known.pop_first();
    }
    known.insert(key, addresses.to_vec());
    true
}
