//! Starting a node.

use std::any::Any;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::task::Waker;
use std::time::SystemTime;

use funk_proto::id::NodeName;
use funk_proto::{GossipKey, Node, NodeConfig, Recovered, Seed};

use crate::application::{Application, Giver};
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::discovery::search;
use crate::driver::Driver;
use crate::driver::hub::{Hub, Source};
use crate::driver::parts::Parts;
use crate::driver::quic::Quic;
use crate::driver::tls::trust::Trust;
use crate::error::{StartError, StopReason};
use crate::gate::Gate;
use crate::gate::publisher::Publisher;
use crate::handover::{Handover, HandoverThread};
use crate::keyring::KeyringThread;
use crate::last_words::{self, LastWords};
use crate::meters::Meters;
use crate::options::Options;
use crate::runtime::Runtime;
use crate::service::link::Link;
use crate::shard_state::{BoxShardState, Keeper};
use crate::shared::Shared;
use crate::sockets::Sockets;
use crate::state_machine::StateMachine;
use crate::store::Store;
use crate::store::data_dir::Claimed;
use crate::store::writer::Writer;

/// Starts a node on a thread of its own, named `funk-<node>`.
///
/// # Errors
/// [`StartError`]: nothing runs, all sockets are closed.
pub fn start<R: Runtime>(options: Options) -> Result<Cluster, StartError> {
    start_linked::<R>(options, None)
}

/// The same with a service that hears what the node says.
pub(crate) fn start_linked<R: Runtime>(options: Options, service: Option<Link>) -> Result<Cluster, StartError> {
    options.fits_the_application(service.is_some())?;
    options.fits_the_certificate()?;
    let Options { node: mut config, mut sockets, mut discovery, seed, data, .. } = options;
    let duties = Duties(options.state_machine, options.handover, options.shard_state);
    let (tls, permit_plaintext, keyring_file) = (options.tls, options.permit_plaintext, options.keyring_file);
    search::prepare(&mut discovery, &mut config);
    let bound = fill_in(&mut config, &sockets).map_err(|source| failed("reading the sockets' addresses", source))?;
    sockets.tune().map_err(|source| failed("setting socket options", source))?;
    let seed = seed.map_or_else(random_seed, Ok)?;
    let clock = Clock::start();
    let name = config.name.clone();
    let endpoints = config.endpoints.keys().cloned().collect();
    let mut claimed = data.map(|data| data.claim(&config.name, &config.cluster)).transpose()?;
    config.durable = claimed.is_some();
    config.hands_over_state |= duties.1.is_some() || duties.2.is_some();
    let recovered = claimed.as_mut().map_or_else(Recovered::default, |claimed| std::mem::take(&mut claimed.recovered));
    config.former_boots = claimed.as_ref().map_or_else(Vec::new, |claimed| claimed.former.clone());
    let lock = claimed.as_ref().map(|claimed| Arc::clone(&claimed.lock));
    let node = Node::new(config.clone(), recovered, seed, clock.now())?;
    if let Some(claimed) = &claimed {
        claimed.note_boot(node.inspect().boot());
    }

    let meters: Arc<Meters> = Arc::default();
    let hub = Arc::new(Hub::default());
    let (inbox_source, drain_source, store_source) = (Source::new(&hub), Source::new(&hub), Source::new(&hub));
    let udp = sockets.quic.take();
    let settings = (permit_plaintext, udp.is_some());
    let trust = tls.map(|tls| Trust::start(name.as_str(), tls, settings, &hub, Arc::clone(&meters))).transpose();
    let trust = trust.map_err(|source| failed("starting the thread for TLS", source))?;
    let quic =
        trust.as_ref().zip(udp).map(|(trust, udp)| Quic::start::<R>(name.as_str(), udp, trust.current().clone(), &hub));
    let quic = quic.transpose().map_err(|source| failed("starting QUIC", source))?;
    let store = store(claimed, Waker::from(Arc::clone(&store_source)), Arc::clone(&meters))?;
    let gate = Arc::new(Gate::new(clock, Waker::from(Arc::clone(&drain_source)), duties.2.is_some()));
    let publisher = Publisher::new(Arc::clone(&gate));
    let (sender, inbox) = async_channel::bounded(crate::limits::COMMANDS_QUEUED_MAX);
    let wake = Waker::from(Arc::clone(&inbox_source));
    let known = (name.clone(), config.drain_timeout);
    let shared = Arc::new(Shared::new(known, gate, (sender, inbox.clone()), wake, endpoints, meters));
    last_words::register(&shared.words);
    let application = match service {
        Some(link) => Application::Service(link),
        None => duties.take_up::<R>(&shared)?,
    };
    let parts = Parts {
        clock,
        node,
        store,
        application,
        keyring: keyring_file.map(|path| keyring(path, &shared)).transpose()?,
        shared: Arc::clone(&shared),
        inbox,
        hub,
        inbox_source,
        drain_source,
        store_source,
        trust,
        quic,
    };

    start_driver::<R>(parts, sockets, publisher, &shared, lock)?;
    let cluster = Cluster::new(Arc::clone(&shared));
    // If it fails, the handle goes, and the node with it.
    search::start(discovery, &config, bound.ip(), &shared).map_err(|source| failed("starting discovery", source))?;
    Ok(cluster)
}

fn keyring(path: PathBuf, shared: &Arc<Shared>) -> Result<KeyringThread, StartError> {
    let thread = KeyringThread::start(path, Arc::clone(shared));
    thread.map_err(|source| failed("starting the keyring's thread", source))
}

/// Starts the driver on a thread of its own, and waits until it runs.
fn start_driver<R: Runtime>(
    parts: Parts,
    sockets: Sockets,
    publisher: Publisher,
    shared: &Arc<Shared>,
    lock: Option<Arc<File>>,
) -> Result<(), StartError> {
    let (ready, started) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name(format!("funk-{}", shared.name));
    let driver_shared = Arc::clone(shared);
    let spawned = thread.spawn(move || {
        run::<R>(parts, sockets, publisher, &driver_shared, &ready, lock);
    });
    spawned.map_err(|source| failed("starting the driver's thread", source))?;
    match started.recv() {
        Ok(Ok(())) => Ok(()),
        Ok(Err(source)) => Err(failed("starting the driver", source)),
        Err(_) => Err(failed("starting the driver", io::Error::other("its thread ended"))),
    }
}

/// Who does what for the application, where no service does all of it.
struct Duties(Option<Box<dyn StateMachine>>, Option<Box<dyn Handover>>, Option<BoxShardState>);

impl Duties {
    fn take_up<R: Runtime>(self, shared: &Arc<Shared>) -> Result<Application, StartError> {
        let Self(state_machine, handover, shard_state) = self;
        let handover = handover.map(|from| HandoverThread::start(from, Arc::clone(shared))).transpose();
        let handover = handover.map_err(|source| failed("starting the handover's thread", source))?;
        let keeper = shard_state.map(|BoxShardState(state)| {
            let (keeper, queues) = Keeper::new(state, Arc::clone(&shared.gate));
            keeper.spawn::<R>(&queues, shared);
            keeper
        });
        let giver = handover.map(Giver::Thread).or(keeper.map(Giver::Keeper));
        Ok(Application::Parts { state_machine, giver })
    }
}

fn store(claimed: Option<Claimed>, waker: Waker, meters: Arc<Meters>) -> Result<Store, StartError> {
    let Some(claimed) = claimed else { return Ok(Store::Memory(Default::default())) };
    let writer = Writer::start(claimed, waker, meters);
    Ok(Store::Disk(writer.map_err(|source| failed("starting the store's thread", source))?))
}

/// The driver's thread. However it ends, the gate is closed and nobody waits for ever.
/// The data directory's `lock` stays as long as anybody may be inside: the next
/// process takes it for a sign that this one serves nothing any more.
fn run<R: Runtime>(
    parts: Parts,
    sockets: Sockets,
    mut publisher: Publisher,
    shared: &Shared,
    ready: &SyncSender<io::Result<()>>,
    mut lock: Option<Arc<File>>,
) {
    let publisher_here = &mut publisher;
    // Nothing of the driver is used after a panic but the gate, whose parts are atomic.
    let ended = catch_unwind(AssertUnwindSafe(move || {
        // On the heap: what a runtime is given to run it may move about on its stack.
        let driver = Box::pin(async move {
            let driver = Driver::<R>::new(parts, sockets, publisher_here)?;
            // The receiver waits for this one message; it cannot be gone.
            let _ = ready.send(Ok(()));
            Ok(driver.run().await)
        });
        R::block_on(driver).and_then(|ended| ended)
    }));
    publisher.close();
    let why = match ended {
        Ok(Ok(why)) => why,
        Ok(Err(error)) => {
            let why = StopReason::Failed(error.to_string());
            // Too late if the driver had started; the reason is kept all the same.
            let _ = ready.try_send(Err(error));
            why
        }
        Err(panic) => {
            // Its sockets are closed by now; goodbyes need none of them.
            LastWords::new(Arc::clone(&shared.gate), Arc::clone(&shared.words)).say();
            StopReason::Failed(message(panic.as_ref()))
        }
    };
    tracing::info!(node = %shared.name, %why, "the driver has stopped");
    if shared.gate.is_deserted() {
        lock = None;
    }
    shared.end(why);
    // A guard that is never dropped is good until then, and no event says that it is over.
    if let (Some(lock), Some(until)) = (lock, shared.gate.sealed_until()) {
        std::thread::sleep(until.since(shared.gate.now()));
        drop(lock);
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a message").into()
}

/// Fills in what the sockets and the clock know; tells where gossip is bound.
fn fill_in(config: &mut NodeConfig, sockets: &Sockets) -> io::Result<SocketAddr> {
    let bound = sockets.serf_address()?;
    fill_in_address(&mut config.serf, bound);
    fill_in_address(&mut config.raft, sockets.raft_address()?);
    fill_in_address(&mut config.liveness, sockets.liveness_address()?);
    if config.wall_clock_ns == 0 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        config.wall_clock_ns = i64::try_from(since.as_nanos()).unwrap_or(i64::MAX);
    }
    Ok(bound)
}

fn fill_in_address(configured: &mut SocketAddr, bound: SocketAddr) {
    if configured.port() == 0 {
        configured.set_port(bound.port());
    }
    if configured.ip().is_unspecified() {
        configured.set_ip(bound.ip());
    }
}

/// A name for a node that was given none: 16 hex digits.
///
/// # Errors
/// The operating system has no randomness.
pub fn random_name() -> io::Result<NodeName> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(format!("no randomness: {error}")))?;
    Ok(format!("{:016x}", u64::from_le_bytes(bytes)).parse().expect("hex digits make a name"))
}

/// A new gossip key of 32 bytes.
///
/// # Errors
/// The operating system has no randomness.
pub fn random_gossip_key() -> io::Result<GossipKey> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(format!("no randomness: {error}")))?;
    Ok(GossipKey::new(&bytes).expect("32 bytes are a key"))
}

fn random_seed() -> Result<Seed, StartError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| failed("drawing a seed", io::Error::other(error.to_string())))?;
    Ok(Seed(bytes))
}

fn failed(what: &str, source: io::Error) -> StartError {
    StartError::Io { what: what.into(), source }
}
