//! What this process tells its peers when it ends.
//!
//! The core seals a goodbye for each peer ahead of time, and the driver keeps
//! the latest here, so that it can be said by whoever notices the end: the
//! driver, a panic hook, or another process that waited for this one.
//!
//! # Why a goodbye is safe
//! It lets others serve this node's shards at once, so it is sent only when
//! nothing here can serve them any more: the gate is sealed for good, and every
//! guard that was handed out is dropped, or the lease under which it was handed
//! out has run out. The seal and a new guard meet as a closing gate and a guard
//! do (see the head of `gate`): one of them sees the other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use funk_proto::LastWord;

use crate::gate::Gate;
use crate::limits;

/// Times that each datagram is sent, since any may be lost.
const COPIES: usize = 3;
/// Pause between two looks for guards, in a thread that can only wait.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// The latest last words, written by the driver.
#[derive(Debug, Default)]
pub(crate) struct Words {
    latest: ArcSwap<Vec<LastWord>>,
    /// The core's number of them, and one.
    version: AtomicU64,
}

impl Words {
    /// Keeps the core's last words if they are new.
    pub(crate) fn publish(&self, version: u64, words: impl FnOnce() -> Vec<LastWord>) {
        if self.version.load(Ordering::SeqCst) != version + 1 {
            self.latest.store(Arc::new(words()));
            self.version.store(version + 1, Ordering::SeqCst);
            wake();
        }
    }

    /// What is to be sent, to whom, once this process runs no more.
    pub(crate) fn reaped(&self) -> Vec<(SocketAddr, Bytes)> {
        self.latest.load().iter().map(|word| (word.to, word.reaped.clone())).collect()
    }

    /// Sends the goodbyes. To be called when the gate is sealed and deserted.
    pub(crate) fn send(&self) {
        let words = self.latest.load();
        send(&words.iter().map(|word| (word.to, &word.goodbye)).collect::<Vec<_>>());
    }
}

/// The last words of all nodes of this process, for who must tell of the end of all of them.
static ALL: LazyLock<All> = LazyLock::new(All::default);

#[derive(Debug, Default)]
struct All {
    nodes: Mutex<Nodes>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Nodes {
    words: Vec<Weak<Words>>,
    /// Grows with each change of what any of them would say.
    version: u64,
}

impl All {
    fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, act: impl FnOnce(&mut Nodes)) {
        let mut nodes = self.nodes();
        act(&mut nodes);
        nodes.version += 1;
        self.changed.notify_all();
    }
}

/// A node of this process has these words, as long as they are kept.
pub(crate) fn register(words: &Arc<Words>) {
    ALL.change(|nodes| {
        nodes.words.retain(|words| words.strong_count() > 0);
        nodes.words.push(Arc::downgrade(words));
    });
}

/// Ends the wait of [`next`]. The driver calls it when its words change: nothing takes long here.
pub(crate) fn wake() {
    ALL.change(|_| ());
}

/// The words of all nodes, once their version is not `seen`.
pub(crate) fn next(seen: Option<u64>) -> (u64, Vec<Arc<Words>>) {
    let mut nodes = ALL.nodes();
    while seen == Some(nodes.version) {
        nodes = ALL.changed.wait(nodes).unwrap_or_else(PoisonError::into_inner);
    }
    (nodes.version, nodes.words.iter().filter_map(Weak::upgrade).collect())
}

/// Sends each datagram a few times, from any port: its seal says whose it is.
fn send(words: &[(SocketAddr, &Bytes)]) {
    let socket = |ip: IpAddr| UdpSocket::bind((ip, 0)).and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
    let (mut v4, mut v6) = (None, None);
    for _ in 0..COPIES {
        for &(to, bytes) in words {
            let socket = match to {
                SocketAddr::V4(_) => v4.get_or_insert_with(|| socket(Ipv4Addr::UNSPECIFIED.into())),
                SocketAddr::V6(_) => v6.get_or_insert_with(|| socket(Ipv6Addr::UNSPECIFIED.into())),
            };
            if let Ok(socket) = socket {
                // What cannot be said is missed: silence tells the same, later.
                let _ = socket.send_to(bytes, to);
            }
        }
    }
}

/// What tells a node's peers that its process has ended, so that they need not
/// wait until they miss it. A goodbye is final: this process never serves again.
#[derive(Clone, Debug)]
pub struct LastWords {
    gate: Arc<Gate>,
    words: Arc<Words>,
}

impl LastWords {
    pub(crate) fn new(gate: Arc<Gate>, words: Arc<Words>) -> Self {
        Self { gate, words }
    }

    /// Closes the gate for good, waits until no guard is left or their lease has
    /// run out, and tells the peers. Blocks the thread meanwhile, for at most
    /// [`limits::GOODBYE_WAIT_MAX`]; false if guards were left even then, and
    /// nothing was said. The process should end after it.
    pub fn say(&self) -> bool {
        self.gate.seal();
        let began = Instant::now();
        while !self.gate.is_deserted() {
            if began.elapsed() >= limits::GOODBYE_WAIT_MAX {
                return false;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        self.words.send();
        true
    }

    /// Lets every panic of this process, in whatever thread, say goodbye before
    /// the hook that was set so far is called. The node does not serve after
    /// that, so the process should end then.
    pub fn say_on_panic(&self) {
        let (words, before) = (self.clone(), std::panic::take_hook());
        std::panic::set_hook(Box::new(move |panic| {
            words.say();
            before(panic);
        }));
    }

    /// The datagrams that a process is to send, to whom, which has waited for
    /// the end of this one, so that it surely runs no more. They hold no key. A watcher does it all.
    pub fn reaped(&self) -> Vec<(SocketAddr, Bytes)> {
        self.words.reaped()
    }
}

/// Tells the peers of a process that it has ended, with what
/// [`LastWords::reaped`] gave. Only for who has waited for that process: a live
/// one would go on serving what others are given.
pub fn tell_reaped(words: &[(SocketAddr, Bytes)]) {
    send(&words.iter().map(|(to, bytes)| (*to, bytes)).collect::<Vec<_>>());
}
