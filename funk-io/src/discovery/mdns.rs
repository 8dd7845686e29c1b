//! Multicast DNS: registers this node, and watches for others of its cluster.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mdns_sd::{IfKind, ServiceDaemon, ServiceEvent, ServiceInfo};

use super::ask::Asker;
use super::feed::{Feed, Sink};
use super::instance::{Instance, Kind, SERVICE_TYPE, first_label, host, label, split};
use super::{Found, Next, Source};

/// What every registration says besides where it is.
const TXT: [(&str, &str); 2] = [("txtv", "0"), ("name", "clusterfunk cluster node")];
/// Time in which the nodes that are there at the start are asked for directly.
const ASK_FOR: Duration = Duration::from_secs(1);
/// Wait of a node without a cluster before it asks directly again.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// First wait after a failure; it doubles with each.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// Longest wait after a failure.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Time for the goodbyes to be sent.
const GOODBYE_MAX: Duration = Duration::from_millis(300);
/// Seconds between two looks at the addresses of this machine.
const ADDRESS_CHECK_SECONDS: u32 = 30;

/// What this node registers.
#[derive(Clone, Debug)]
pub(super) struct Registration {
    pub(super) cluster: String,
    pub(super) node: String,
    pub(super) serf: SocketAddr,
    pub(super) service: Option<SocketAddr>,
    pub(super) management: Option<SocketAddr>,
    /// Time after which it registers.
    pub(super) after: Duration,
}

/// The source. Dropping it says goodbye.
pub(super) struct Mdns {
    feed: Feed,
    daemon: Arc<Mutex<Daemon>>,
}

/// The daemon while it runs.
#[derive(Default)]
struct Daemon {
    running: Option<ServiceDaemon>,
    dropped: bool,
}

impl Mdns {
    /// `waits` says whether this node still waits for a cluster.
    pub(super) fn new(registration: Registration, waits: impl Fn() -> bool + Send + 'static) -> io::Result<Self> {
        let mut feed = Feed::new(format!("mDNS on {}", registration.serf.ip()));
        let daemon = Arc::new(Mutex::new(Daemon::default()));
        if let IpAddr::V4(interface) = registration.serf.ip() {
            let asking = registration.clone();
            feed.work("funk-mdns-ask", move |sink| keep_asking(interface, &asking, &waits, sink))?;
        }
        let shared = Arc::clone(&daemon);
        feed.work("funk-mdns", move |sink| keep_watching(&registration, &shared, sink))?;
        Ok(Self { feed, daemon })
    }
}

impl Source for Mdns {
    fn name(&self) -> String {
        self.feed.name()
    }

    fn next(&mut self) -> Next<'_> {
        self.feed.next()
    }
}

impl Drop for Mdns {
    fn drop(&mut self) {
        let running = {
            let mut daemon = self.daemon.lock().unwrap_or_else(PoisonError::into_inner);
            daemon.dropped = true;
            daemon.running.take()
        };
        // A daemon that has ended already says goodbye to nobody.
        if let Some(ended) = running.and_then(|daemon| daemon.shutdown().ok()) {
            let _ = ended.recv_timeout(GOODBYE_MAX);
        }
    }
}

/// Asks at the start, and then from time to time for as long as the node waits
/// for a cluster: the daemon asks more and more seldom, and an announcement may get lost.
fn keep_asking(interface: Ipv4Addr, registration: &Registration, waits: &dyn Fn() -> bool, sink: &Sink) {
    let mut failed = false;
    loop {
        let heard = |instance: Instance| registration.up(instance).is_none_or(|found| sink.push(found));
        let asked = Asker::new(interface).and_then(|asker| asker.listen(ASK_FOR, heard));
        let why = asked.err().map(|error| format!("no multicast: {error}"));
        // Told when it begins, not each time.
        let news = why.filter(|_| !failed);
        failed |= news.is_some();
        if news.is_some_and(|why| !sink.push(Found::Failed { why })) {
            return;
        }
        while sink.pause(ASK_AGAIN) {
            if waits() {
                break;
            }
        }
        if sink.is_dropped() {
            return;
        }
    }
}

fn keep_watching(registration: &Registration, shared: &Mutex<Daemon>, sink: &Sink) {
    let mut pause = RETRY_MIN;
    loop {
        let failed = watch(registration, shared, sink, &mut pause).err();
        if failed.is_some_and(|error| !sink.push(Found::Failed { why: error.to_string() })) || !sink.pause(pause) {
            return;
        }
        pause = (pause * 2).min(RETRY_MAX);
    }
}

/// Runs a daemon until it fails or the source is dropped.
fn watch(
    registration: &Registration,
    shared: &Mutex<Daemon>,
    sink: &Sink,
    pause: &mut Duration,
) -> Result<(), mdns_sd::Error> {
    let daemon = start(registration.serf.ip())?;
    {
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.dropped {
            drop(daemon.shutdown());
            return Ok(());
        }
        shared.running = Some(daemon.clone());
    }
    let events = daemon.browse(SERVICE_TYPE)?;
    if !registration.after.is_zero() && !sink.pause(registration.after) {
        return Ok(());
    }
    let (serf, service) = ((Kind::Serf, Some(registration.serf)), (Kind::Svc, registration.service));
    for (kind, address) in [serf, service, (Kind::Mgmt, registration.management)] {
        if let Some(address) = address {
            daemon.register(registration.info(kind, address)?)?;
        }
    }
    *pause = RETRY_MIN;
    while let Ok(event) = events.recv() {
        let found = match event {
            ServiceEvent::ServiceResolved(service) => {
                let addresses = service.addresses.iter();
                let addresses = addresses.map(|ip| SocketAddr::new(ip.to_ip_addr(), service.port)).collect::<Vec<_>>();
                read(&service.fullname, addresses).and_then(|instance| registration.up(instance))
            }
            ServiceEvent::ServiceRemoved(_, fullname) => {
                first_label(&fullname).filter(|_| fullname.contains("_serf_")).map(|instance| Found::Gone { instance })
            }
            ServiceEvent::SearchStopped(_) => return Ok(()),
            _ => None,
        };
        if found.is_some_and(|found| !sink.push(found)) {
            return Ok(());
        }
    }
    Ok(())
}

/// A daemon on the one interface that has this address.
fn start(ip: IpAddr) -> Result<ServiceDaemon, mdns_sd::Error> {
    let daemon = ServiceDaemon::new()?;
    daemon.set_ip_check_interval(ADDRESS_CHECK_SECONDS)?;
    daemon.disable_interface(IfKind::All)?;
    daemon.enable_interface(match ip {
        IpAddr::V4(ip) if ip.is_loopback() => IfKind::LoopbackV4,
        IpAddr::V6(ip) if ip.is_loopback() => IfKind::LoopbackV6,
        ip => IfKind::Addr(ip),
    })?;
    Ok(daemon)
}

fn read(fullname: &str, addresses: Vec<SocketAddr>) -> Option<Instance> {
    let label = first_label(fullname)?;
    let (cluster, kind, node) = split(&label)?;
    Some(Instance { cluster: cluster.into(), kind, node: node.into(), addresses })
}

impl Registration {
    fn info(&self, kind: Kind, address: SocketAddr) -> Result<ServiceInfo, mdns_sd::Error> {
        let name = label(&self.cluster, kind, &self.node);
        let host = host(&self.cluster, &self.node);
        let mut info = ServiceInfo::new(SERVICE_TYPE, &name, &host, address.ip(), address.port(), &TXT[..])?;
        // Node names are unique in a cluster. Probing would take most of a second.
        info.set_requires_probe(false);
        Ok(info)
    }

    /// What to tell of an instance: gossip addresses of other nodes of this cluster.
    fn up(&self, instance: Instance) -> Option<Found> {
        let ours = instance.cluster == self.cluster && instance.kind == Kind::Serf && instance.node != self.node;
        (ours && !instance.addresses.is_empty()).then(|| Found::Up {
            instance: label(&instance.cluster, instance.kind, &instance.node),
            node: Some(instance.node),
            addresses: instance.addresses,
        })
    }
}
