//! Multicast DNS: registers this node, and watches for others of its cluster.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mdns_sd::{IfKind, ServiceDaemon, ServiceEvent};

use super::ask::Asker;
use super::feed::{Feed, Sink};
use super::instance::{Instance, SERVICE_TYPE, first_label, split};
use super::late::{self, Ear, Link};
use super::registration::Registration;
use super::{Found, Next, Source};
use crate::interface::default_interface;

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
/// Time between two looks at whether the interface is still the same one.
const LOOK: Duration = Duration::from_secs(2);
/// Seconds between two looks at the addresses of this machine.
const ADDRESS_CHECK_SECONDS: u32 = 30;

/// The source. Dropping it says goodbye.
pub(super) struct Mdns {
    feed: Feed,
    daemon: Arc<Mutex<Daemon>>,
}

/// The daemon while it runs.
#[derive(Default)]
struct Daemon {
    running: Option<ServiceDaemon>,
    /// The node can be found.
    registered: bool,
    dropped: bool,
}

impl Mdns {
    /// `waits` says whether this node still waits for a cluster.
    pub(super) fn new(registration: Registration, waits: impl Fn() -> bool + Send + 'static) -> io::Result<Self> {
        let mut feed = Feed::new(format!("mDNS on {}", registration.interface));
        let daemon = Arc::new(Mutex::new(Daemon::default()));
        if let IpAddr::V4(interface) = registration.interface {
            let asking = registration.clone();
            feed.work("funk-mdns-ask", move |sink| keep_asking(interface, &asking, &waits, sink))?;
            let (late, shared) = (registration.clone(), Arc::clone(&daemon));
            feed.work("funk-mdns-late", move |sink| keep_answering(interface, &late, &shared, sink))?;
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

/// Answers what the daemon leaves unanswered.
fn keep_answering(interface: Ipv4Addr, registration: &Registration, shared: &Mutex<Daemon>, sink: &Sink) {
    while !sink.is_dropped() {
        // The asker tells of trouble with multicast already.
        if let Err(error) = answer_late(interface, registration, shared, sink) {
            tracing::debug!(%error, "late questions by multicast DNS are not answered");
        }
        if !sink.pause(LOOK) {
            return;
        }
    }
}

/// Answers until the interface is another one.
fn answer_late(
    interface: Ipv4Addr,
    registration: &Registration,
    shared: &Mutex<Daemon>,
    sink: &Sink,
) -> io::Result<()> {
    let (link, answer) = (Link::new(interface)?, late::answer(registration)?);
    let (mut ear, mut buffer) = (Ear::new(registration), Vec::new());
    let index = interface_index(interface.into());
    let mut looked = Instant::now();
    while !sink.is_dropped() {
        let now = Instant::now();
        if now.duration_since(looked) >= LOOK {
            looked = now;
            if interface_index(interface.into()) != index {
                return Ok(());
            }
        }
        if ear.due().is_some_and(|due| due <= now) {
            ear.answered(now);
            let daemon = shared.lock().unwrap_or_else(PoisonError::into_inner);
            // Held until it is sent: nothing may follow the goodbye.
            if daemon.registered && !daemon.dropped {
                link.say(&answer)?;
            }
        }
        let within = ear.due().map_or(LOOK, |due| due.saturating_duration_since(now)).min(LOOK);
        if let Some(port) = link.hear(within, &mut buffer)? {
            ear.hear(Instant::now(), port, &buffer);
        }
    }
    Ok(())
}

/// An address of this machine whose interface reaches those who are told `told`: that very one, if the machine has it;
/// else what gossip is bound to, unless that is every address.
pub(super) fn interface_for(told: IpAddr, bound: IpAddr) -> IpAddr {
    if told == bound || interface_index(told).is_some() {
        told
    } else if bound.is_unspecified() {
        default_interface()
    } else {
        bound
    }
}

/// Which interface has this address now; `None` if none has it. One that is
/// created anew under the same name is another one.
fn interface_index(ip: IpAddr) -> Option<u32> {
    let interfaces = if_addrs::get_if_addrs().ok()?;
    interfaces.into_iter().find(|interface| interface.ip() == ip)?.index
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
    let index = interface_index(registration.interface);
    let daemon = start(registration.interface)?;
    {
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.dropped {
            drop(daemon.shutdown());
            return Ok(());
        }
        shared.running = Some(daemon.clone());
        shared.registered = false;
    }
    let events = daemon.browse(SERVICE_TYPE)?;
    if !registration.after.is_zero() && !sink.pause(registration.after) {
        return Ok(());
    }
    for (kind, address) in registration.endpoints() {
        daemon.register(registration.info(kind, address)?)?;
    }
    shared.lock().unwrap_or_else(PoisonError::into_inner).registered = true;
    *pause = RETRY_MIN;
    let mut looked = Instant::now();
    loop {
        let event = events.recv_timeout(LOOK);
        // The daemon knows interfaces by their numbers, and does not notice that one came back under another.
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            if interface_index(registration.interface) != index {
                tracing::info!(address = %registration.interface, "the interface is another one: mDNS begins anew on it");
                drop(daemon.shutdown());
                return Ok(());
            }
        }
        let event = match event {
            Ok(event) => event,
            Err(_) if events.is_disconnected() => return Ok(()),
            Err(_) => continue,
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interface_is_that_of_what_others_are_told_if_the_machine_has_it() {
        let (own, elsewhere) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([192, 0, 2, 1]));
        let every = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        assert_eq!(interface_for(own, every), own);
        assert_eq!(interface_for(elsewhere, own), own);
        assert_eq!(interface_for(elsewhere, every), default_interface());
        assert_eq!(interface_for(elsewhere, elsewhere), elsewhere, "no address is looked for that is bound");
    }

    #[test]
    fn an_interface_is_known_by_its_number() {
        assert!(interface_index(Ipv4Addr::LOCALHOST.into()).is_some());
        assert_eq!(interface_index(Ipv4Addr::new(192, 0, 2, 1).into()), None);
    }
}
