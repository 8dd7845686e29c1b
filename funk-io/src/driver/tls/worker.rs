//! The thread for public keys. What waits for it is bounded by the streams that there are: each has one piece of work at
//! a time. This node's own dials have every second turn; those who dial have theirs by address, one after the other, so
//! that one address with much work keeps the others waiting for one piece of it at most.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;

use funk_tls::rustls::pki_types::{CertificateDer, UnixTime};
use funk_tls::{Credentials, Refused, Roles};

use super::handshake::{Handshake, Stepped, step};

/// How much less of a busy processor the thread gets than the driver: about a third.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 5;

/// For whom something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whose {
    /// This node dialled, or looks after its streams.
    Own,
    /// Somebody dialled from there.
    From(IpAddr),
}

#[derive(Debug)]
pub(super) enum Work {
    Step {
        handshake: Handshake,
        received: Vec<u8>,
    },
    /// Whether who was believed then is believed now.
    Check {
        credentials: Arc<Credentials>,
        chain: Vec<CertificateDer<'static>>,
        then: UnixTime,
    },
}

#[derive(Debug)]
pub(super) enum Done {
    Stepped(Stepped),
    Checked(Result<(), Refused>),
}

/// Where what is done is put. Whoever drops it does not want it any more.
#[derive(Debug)]
pub(super) struct Slot {
    done: Mutex<Option<Done>>,
    waker: Waker,
}

impl Slot {
    pub(super) fn new(waker: Waker) -> Arc<Self> {
        Arc::new(Self { done: Mutex::new(None), waker })
    }

    pub(super) fn take(&self) -> Option<Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, done: Done) {
        *self.done.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
        self.waker.wake_by_ref();
    }
}

#[derive(Debug)]
struct Queue<W> {
    waiting: BTreeMap<Whose, VecDeque<W>>,
    /// Whose turn it was last, and which of those who dialled had the last one.
    last: Option<Whose>,
    last_from: Option<Whose>,
    ended: bool,
}

impl<W> Default for Queue<W> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), last: None, last_from: None, ended: false }
    }
}

impl<W> Queue<W> {
    fn push(&mut self, whose: Whose, work: W) {
        self.waiting.entry(whose).or_default().push_back(work);
    }

    fn pop(&mut self) -> Option<W> {
        let after = self.last_from.unwrap_or(Whose::Own);
        let others = || self.waiting.keys().copied().filter(|whose| *whose != Whose::Own);
        let next_other = others().find(|whose| *whose > after).or_else(|| others().next());
        let own = self.waiting.contains_key(&Whose::Own).then_some(Whose::Own);
        let whose = if self.last == Some(Whose::Own) { next_other.or(own) } else { own.or(next_other) }?;
        let queue = self.waiting.get_mut(&whose)?;
        let popped = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(&whose);
        }
        self.last = Some(whose);
        if whose != Whose::Own {
            self.last_from = Some(whose);
        }
        popped
    }
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue<(Work, Weak<Slot>)>>,
    bell: Condvar,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue<(Work, Weak<Slot>)>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        yield_to_the_driver();
        loop {
            let mut queue = self.queue();
            let (work, slot) = loop {
                if queue.ended {
                    return;
                }
                match queue.pop() {
                    Some(next) => break next,
                    None => queue = self.bell.wait(queue).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(queue);
            // Its stream may have ended since.
            if let Some(slot) = slot.upgrade() {
                slot.put(do_it(work));
            }
        }
    }
}

/// On a busy machine handshakes wait for heartbeats, not the other way round.
fn yield_to_the_driver() {
    // A thread has a priority of its own on Linux only. Without it all goes on as well as it can.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
}

fn do_it(work: Work) -> Done {
    match work {
        Work::Step { handshake, received } => Done::Stepped(step(handshake, &received)),
        Work::Check { credentials, chain, then } => Done::Checked(credentials.check_again(&chain, Roles::NODES, then)),
    }
}

/// The thread ends with its handle.
#[derive(Debug)]
pub(super) struct Worker(Arc<Shared>);

impl Worker {
    /// # Errors
    /// The operating system gives no thread.
    pub(super) fn start(node: &str) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new().name(format!("funk-tls-{node}")).spawn(move || theirs.run())?;
        Ok(Self(shared))
    }

    pub(super) fn submit(&self, whose: Whose, work: Work, slot: &Arc<Slot>) {
        self.0.queue().push(whose, (work, Arc::downgrade(slot)));
        self.0.bell.notify_one();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.queue().ended = true;
        self.0.bell.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_dials_have_every_second_turn_and_addresses_take_theirs_in_turn() {
        let mut queue = Queue::default();
        let from = |n: u8| Whose::From(IpAddr::from([10, 0, 0, n]));
        for (whose, work) in [
            (from(1), 10),
            (from(1), 11),
            (from(1), 12),
            (from(2), 20),
            (Whose::Own, 1),
            (Whose::Own, 2),
            (from(3), 30),
        ] {
            queue.push(whose, work);
        }
        let order: Vec<u8> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [1, 10, 2, 20, 30, 11, 12]);
        assert!(queue.waiting.is_empty());
    }
}
