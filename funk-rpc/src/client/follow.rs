//! Keeps the picture up to date, for as long as somebody holds the client.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Shared;
use super::picture::Picture;
use super::seeds::{Seed, members};
use crate::net::Net;

/// Between two looks at the cluster from outside.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Between two searches for a first node.
const SEARCH_EVERY: Duration = Duration::from_millis(50);

pub(super) fn start<N: Net>(shared: &Arc<Shared<N>>) {
    let weak = Arc::downgrade(shared);
    N::spawn(async move {
        while let Some(pause) = look(&weak).await {
            N::sleep(pause).await;
        }
    });
}

/// Learns what gossip shows. `None` once nobody holds the client.
async fn look<N: Net>(weak: &Weak<Shared<N>>) -> Option<Duration> {
    let (cluster, seeds) = {
        let shared = weak.upgrade()?;
        (shared.options.cluster.clone(), known(&shared))
    };
    let found = members::<N>(&cluster, &seeds).await;
    let shared = weak.upgrade()?;
    match found {
        Ok(members) => shared.publish(Picture::of_members(&members, &cluster)),
        Err(why) => shared.failed_with(why),
    }
    Some(if shared.picture().nodes().is_empty() { SEARCH_EVERY } else { LOOK_EVERY })
}

/// The nodes that are known, then the seeds.
fn known<N>(shared: &Shared<N>) -> Vec<Seed> {
    let picture = shared.picture();
    let gossip = picture.serving("ep.serf").map(|(_, at)| Seed::Gossip(funk_io::discovery::JoinAddress::Address(at)));
    gossip.chain(shared.options.seeds.iter().cloned()).collect()
}
