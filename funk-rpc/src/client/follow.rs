//! Keeps the view up to date, for as long as somebody holds the client:
//! follows one node's watch, and goes on at another node when it ends.
//!
//! What is known stays known in between. Nodes that do not serve the cluster
//! at all are followed by gossip, which has no owners.

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use funk_io::Runtime;
use funk_io::discovery::JoinAddress;
use funk_proto::wire::gossip::GossipMember;
use tonic::Streaming;

use super::Shared;
use super::map::Map;
use super::seeds::{Seed, members, services};
use super::view::ClusterView;
use crate::cluster_service::ENDPOINT;
use crate::net::{BoxFuture, within};
use crate::pb::cluster::cluster_client::ClusterClient;
use crate::pb::cluster::{WatchRequest, WatchResponse};
use crate::pool::{Destination, Pool};

/// Time for a node to send its first view.
const FIRST_MAX: Duration = Duration::from_secs(1);
/// Time for a node to send it before another one is asked beside it.
const ASK_NEXT: Duration = Duration::from_millis(100);
/// Nodes that are asked at once.
const ASKED_MAX: usize = 8;
/// Silence after which a watched node is asked for a sign of life, and time for the answer.
const SIGN_OF_LIFE: Duration = Duration::from_millis(800);
/// A watch that lasted this long, or told something new, was a good one: the next is begun without a long
/// pause. Nodes may be replaced so quickly that all those that are known are gone after a second.
const GOOD: Duration = Duration::from_millis(100);
/// Longest pause before the first attempt after a good watch: many clients may have lost the same node.
const PAUSE: Duration = Duration::from_millis(50);
/// Longest pause at all.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Rounds in vain after which a client that knows nobody asks its seeds less often.
const QUICK_ROUNDS: u32 = 50;
/// Failures of one round that are told.
const TOLD_MAX: usize = 8;
/// What is said of a connection that the other side closed.
const ENDED: [&str; 3] = ["connection reset", "broken pipe", "closed"];
/// Longest pause while gossip alone is followed.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub(super) fn start<N: Runtime>(shared: &Arc<Shared<N>>) {
    let weak = Arc::downgrade(shared);
    let random = RandomState::new().build_hasher().finish();
    N::spawn(async move { Follower { weak, random, last: None, tried: Vec::new() }.run().await });
}

struct Follower<N> {
    weak: Weak<Shared<N>>,
    random: u64,
    /// The node that was followed last.
    last: Option<SocketAddr>,
    /// What was tried in this round and why it did not do.
    tried: Vec<String>,
}

/// How the following of one node ended.
enum Ended {
    /// Nobody holds the client any more.
    Dropped,
    /// It was followed: for long, or it told something new.
    Well,
    /// It was followed for a moment, and told nothing new.
    InVain,
}

impl<N: Runtime> Follower<N> {
    async fn run(mut self) {
        let mut pause = Duration::ZERO;
        let mut rounds = 0_u32;
        loop {
            self.tried.clear();
            // Every other round asks without a floor: a node of another cluster then shows who it is.
            let floor = rounds.is_multiple_of(2);
            let ended = match self.known() {
                None => return,
                Some(known) if known.is_empty() => None,
                Some(known) => Some(self.try_each(known, floor).await),
            };
            let ended = match ended {
                Some(Ok(ended)) => Ok(ended),
                _ => self.search(floor).await,
            };
            match ended {
                Ok(Ended::Dropped) => return,
                Ok(Ended::Well) => (rounds, pause) = (0, PAUSE),
                Ok(Ended::InVain) => (rounds, pause) = (0, (2 * pause).clamp(PAUSE, PAUSE_MAX)),
                Err(()) => {
                    self.tell_what_was_tried();
                    rounds = rounds.saturating_add(1);
                    pause = (2 * pause).clamp(PAUSE, self.longest(rounds));
                }
            }
            N::sleep(pause.mul_f64(self.fraction())).await;
        }
    }

    /// Cluster services of the nodes that are known, in a random order; the last one that was followed
    /// comes last. `None` once nobody holds the client.
    fn known(&mut self) -> Option<Vec<Destination>> {
        let view = self.weak.upgrade()?.view();
        let serving = view.serving(ENDPOINT);
        let mut known: Vec<_> = serving.map(|(node, address)| Destination::member(address, &node.name)).collect();
        self.shuffle(&mut known);
        known.sort_by_key(|to| Some(to.address()) == self.last);
        Some(known)
    }

    /// Follows the first that lets itself be followed. `Err`: none did. A node that does not answer at once
    /// holds up nobody: the next is asked beside it.
    async fn try_each(&mut self, nodes: Vec<Destination>, floor: bool) -> Result<Ended, ()> {
        let mut waiting = nodes.into_iter();
        let mut asked: Vec<(SocketAddr, BoxFuture<Result<Begun, String>>)> = Vec::new();
        loop {
            if asked.len() < ASKED_MAX
                && let Some(to) = waiting.next()
            {
                asked.push((to.address(), Box::pin(begin(self.weak.clone(), to, floor))));
            }
            if asked.is_empty() {
                return Err(());
            }
            let Some((address, answered)) = within::<N, _>(ASK_NEXT, first_of(&mut asked)).await else { continue };
            match answered {
                Ok(begun) => {
                    drop(asked);
                    self.last = Some(address);
                    let ended = follow(&self.weak, address, begun).await;
                    if let Some(shared) = self.weak.upgrade() {
                        shared.watches(None);
                    }
                    return Ok(ended);
                }
                Err(why) => self.note(format!("{address}: {why}")),
            }
        }
    }

    /// Asks the seeds where a cluster service is, and gossip, through seeds and known nodes.
    async fn search(&mut self, floor: bool) -> Result<Ended, ()> {
        let Some(shared) = self.weak.upgrade() else { return Ok(Ended::Dropped) };
        let cluster = shared.options.cluster.clone();
        let known = gossip(&shared.view()).collect();
        let (given, keys) = (shared.options.seeds.clone(), shared.options.gossip_keys.clone());
        drop(shared);
        // Both come first in turn: many known nodes that are dead leave time for a seed, and the other way round.
        let seeds = if floor { [known, given] } else { [given, known] }.concat();
        let (mut found, why) = services(&seeds).await;
        if let Some(why) = why {
            self.note(why);
        }
        let mut shown = None;
        if seeds.iter().any(|seed| !matches!(seed, Seed::Cluster(_))) {
            match members::<N>(&cluster, &seeds, keys.as_ref()).await {
                Ok(members) => {
                    let view = ClusterView::of_members(&members, &cluster);
                    if let Some(others) = names_of_others(&members).filter(|_| view.nodes().is_empty()) {
                        self.note(format!("the nodes there are of cluster {others}, not {cluster}"));
                    }
                    found.extend(view.serving(ENDPOINT).map(|(_, address)| address));
                    shown = Some(view);
                }
                Err(why) => self.note(why),
            }
        }
        self.shuffle(&mut found);
        // Who is there shows by its certificate: gossip's word for a name counts for nothing.
        let ended = self.try_each(found.into_iter().map(Destination::from).collect(), floor).await;
        if ended.is_err()
            && let Some(shared) = self.weak.upgrade()
            && shared.options.tls.is_none()
            && let Some(shown) = shown
            && shared.lock().cluster_id.is_empty()
        {
            shared.publish(shown, "");
        }
        ended
    }

    /// Notes what was tried in vain.
    fn note(&mut self, why: String) {
        if !self.tried.contains(&why) {
            self.tried.push(why);
        }
    }

    /// Tells once a round, and of the whole round: otherwise each address would ring for its own failure.
    fn tell_what_was_tried(&mut self) {
        let more = self.tried.len().saturating_sub(TOLD_MAX);
        // The order of the known is random; the same failures are to read the same.
        self.tried.sort_unstable();
        self.tried.truncate(TOLD_MAX);
        let mut why = self.tried.join("; ");
        if more > 0 {
            why.push_str(&format!("; and {more} more"));
        }
        if let Some(shared) = self.weak.upgrade()
            && !why.is_empty()
        {
            shared.failed_with(why);
        }
    }

    /// The longest pause after so many rounds in vain: short as long as a first node may just be starting.
    fn longest(&self, rounds: u32) -> Duration {
        match self.weak.upgrade() {
            Some(shared) if !shared.view().nodes().is_empty() => {
                if shared.lock().cluster_id.is_empty() {
                    LOOK_EVERY
                } else {
                    PAUSE_MAX
                }
            }
            _ if rounds < QUICK_ROUNDS => 2 * PAUSE,
            _ => PAUSE_MAX,
        }
    }

    fn next(&mut self) -> u64 {
        // xorshift: jitter needs no better numbers, only other ones in each client.
        let mut next = self.random | 1;
        next ^= next << 13;
        next ^= next >> 7;
        next ^= next << 17;
        self.random = next;
        next
    }

    /// Between a half and one.
    fn fraction(&mut self) -> f64 {
        0.5 + (self.next() % 1_000) as f64 / 2_000.0
    }

    fn shuffle<T>(&mut self, addresses: &mut [T]) {
        for place in (1..addresses.len()).rev() {
            let other = self.next() % (place as u64 + 1);
            addresses.swap(place, usize::try_from(other).unwrap_or(0));
        }
    }
}

/// The names of all clusters that these show.
fn names_of_others(members: &[GossipMember]) -> Option<String> {
    let names: BTreeSet<_> = members.iter().filter_map(|member| member.tags.get("meta.clusterName")).collect();
    let names: Vec<_> = names.into_iter().map(String::as_str).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn gossip(view: &ClusterView) -> impl Iterator<Item = Seed> + '_ {
    view.serving("ep.serf").map(|(_, at)| Seed::Gossip(JoinAddress::Address(at)))
}

/// A watch that has given its first view.
struct Begun {
    stream: Streaming<WatchResponse>,
    map: Map,
    view: ClusterView,
}

/// The first of these that ends, taken out.
async fn first_of<T>(asked: &mut Vec<(SocketAddr, BoxFuture<T>)>) -> (SocketAddr, T) {
    std::future::poll_fn(|context| {
        for place in 0..asked.len() {
            if let Poll::Ready(value) = asked[place].1.as_mut().poll(context) {
                return Poll::Ready((asked.swap_remove(place).0, value));
            }
        }
        Poll::Pending
    })
    .await
}

/// Asks the node whose cluster service is there for its first view.
async fn begin<N: Runtime>(weak: Weak<Shared<N>>, to: Destination, floor: bool) -> Result<Begun, String> {
    let Some(shared) = weak.upgrade() else { return Err("nobody listens".into()) };
    let (known, id) = {
        let state = shared.lock();
        (state.view.epoch(), state.cluster_id.clone())
    };
    let mut map = Map::new(&shared.options.cluster, &id, known);
    let plain = shared.options.tls.is_none();
    let pool = Pool::<N>::with_bounds(1, SIGN_OF_LIFE).over(shared.options.tls.clone());
    drop(shared);
    let mut client = ClusterClient::new(pool.at(to));
    let epoch = if floor { known } else { 0 };
    let first = within::<N, _>(FIRST_MAX, async {
        let mut stream =
            client.watch(WatchRequest { epoch }).await.map_err(|status| unwatched(&status, plain))?.into_inner();
        loop {
            let message = next(&mut stream).await?;
            if let Some(view) = map.take(message).map_err(|refused| refused.to_string())? {
                return Ok((stream, view));
            }
        }
    });
    let (stream, view) = first.await.unwrap_or_else(|| Err(format!("no view within {FIRST_MAX:?}")))?;
    Ok(Begun { stream, map, view })
}

/// Follows a watch to its end.
async fn follow<N: Runtime>(weak: &Weak<Shared<N>>, address: SocketAddr, begun: Begun) -> Ended {
    let Begun { mut stream, mut map, view } = begun;
    let began = Instant::now();
    let Some(shared) = weak.upgrade() else { return Ended::Dropped };
    let member = view.at(address).is_some();
    // Whoever is woken by the view finds that it is followed.
    shared.watches(Some(address));
    let mut news = shared.publish(view, map.id());
    let doubt = Arc::clone(&shared.doubt);
    drop(shared);
    let following = async {
        loop {
            let taken = match next(&mut stream).await {
                Ok(message) => map.take(message).map_err(|refused| refused.to_string()),
                Err(why) => Err(why),
            };
            let Some(shared) = weak.upgrade() else { return "nobody listens".to_owned() };
            match taken {
                Ok(Some(view)) => {
                    let left = member && view.at(address).is_none();
                    news |= shared.publish(view, map.id());
                    if left {
                        // What happens after it left, it may never hear of.
                        return "the node left the cluster".to_owned();
                    }
                }
                Ok(None) => {}
                Err(why) => return why,
            }
        }
    };
    let doubted = async {
        loop {
            let rung = doubt.listen();
            match weak.upgrade() {
                None => return "nobody listens".to_owned(),
                Some(shared) if shared.lock().doubted => return "it did not answer a request".to_owned(),
                Some(_) => {}
            }
            rung.await;
        }
    };
    let why = futures_lite::future::or(following, doubted).await;
    tracing::debug!(%address, why, "no longer followed");
    match weak.strong_count() {
        0 => Ended::Dropped,
        _ if news || began.elapsed() >= GOOD => Ended::Well,
        _ => Ended::InVain,
    }
}

async fn next(stream: &mut Streaming<WatchResponse>) -> Result<WatchResponse, String> {
    match stream.message().await {
        Ok(Some(message)) => Ok(message),
        Ok(None) => Err("the watch ended".into()),
        Err(status) => Err(said(&status)),
    }
}

/// Why there is no watch. A node that asks for TLS closes the connection of whoever speaks none, without a word.
fn unwatched(status: &tonic::Status, plain: bool) -> String {
    let said = said(status);
    if plain && ENDED.iter().any(|word| said.contains(word)) {
        return format!("{said}; if the cluster has TLS, give this client a certificate");
    }
    said
}

fn said(status: &tonic::Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}
