//! HTTP/2 connections to other nodes: one an address, dialled when first
//! needed, dropped when it breaks, a bounded number.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use event_listener::Event;
use funk_io::Runtime;
use funk_proto::limits::POOL_CONNECTIONS_MAX;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use smol_hyper::rt::FuturesIo;
use tonic::body::Body;

use crate::net::{Exec, Timer, connect, within};

/// Time to connect and to shake hands.
const DIAL_TIMEOUT: Duration = Duration::from_millis(500);
/// Silence after which a connection is asked for a sign of life, and time for the answer.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// Why a request got no answer.
#[derive(Debug)]
pub enum SendError {
    /// There is no connection, and none could be made.
    NoConnection(String),
    /// It was never sent: its connection ended before. Nothing of it reached the other side.
    NotSent(String),
    /// It was sent, at least in part. It may have been served.
    Sent(String),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoConnection(why) => write!(f, "no connection: {why}"),
            Self::NotSent(why) => write!(f, "not sent: {why}"),
            Self::Sent(why) => write!(f, "no answer: {why}"),
        }
    }
}

impl std::error::Error for SendError {}

#[derive(Default)]
struct Slot {
    state: Mutex<State>,
    dialled: Event,
    /// The pool's count of uses when this one was last used.
    used: AtomicU64,
}

struct Slots {
    by_address: HashMap<SocketAddr, Arc<Slot>>,
    uses: u64,
    max: usize,
}

impl Slots {
    /// The place of `address`. A new one may cost another its place; what is under way there goes on.
    fn get(&mut self, address: SocketAddr) -> Arc<Slot> {
        self.uses += 1;
        if !self.by_address.contains_key(&address) && self.by_address.len() >= self.max {
            let used = |slot: &Slot| slot.used.load(Ordering::Relaxed);
            let oldest = self.by_address.iter().min_by_key(|(_, slot)| used(slot)).map(|(address, _)| *address);
            oldest.map(|oldest| self.by_address.remove(&oldest));
        }
        let slot = self.by_address.entry(address).or_default();
        slot.used.store(self.uses, Ordering::Relaxed);
        Arc::clone(slot)
    }
}

#[derive(Default)]
struct State {
    sender: Option<SendRequest<Body>>,
    dialling: bool,
    /// The last dial's failure, for those who waited for it.
    failed: Option<(Instant, String)>,
}

/// HTTP/2 connections by address. A slow address never holds up another.
pub struct Pool<N> {
    slots: Arc<Mutex<Slots>>,
    keep_alive: Duration,
    net: PhantomData<fn() -> N>,
}

impl<N> Clone for Pool<N> {
    fn clone(&self) -> Self {
        Self { slots: Arc::clone(&self.slots), keep_alive: self.keep_alive, net: PhantomData }
    }
}

impl<N> fmt::Debug for Pool<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl<N> Default for Pool<N> {
    fn default() -> Self {
        Self::with_bounds(POOL_CONNECTIONS_MAX, KEEP_ALIVE)
    }
}

impl<N> Pool<N> {
    /// At most `max` connections, each asked for a sign of life after `keep_alive`, and given as long to answer.
    pub(crate) fn with_bounds(max: usize, keep_alive: Duration) -> Self {
        let slots = Slots { by_address: HashMap::new(), uses: 0, max };
        Self { slots: Arc::new(Mutex::new(slots)), keep_alive, net: PhantomData }
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops the connections to all addresses but these.
    pub(crate) fn retain(&self, wanted: impl Fn(&SocketAddr) -> bool) {
        self.lock().by_address.retain(|address, _| wanted(address));
    }

    /// Addresses that there are connections to, or were.
    pub fn connections(&self) -> usize {
        self.lock().by_address.len()
    }
}

impl<N> Pool<N> {
    /// Connections that are open now.
    pub fn open(&self) -> usize {
        let slots: Vec<_> = self.lock().by_address.values().map(Arc::clone).collect();
        slots.iter().filter(|slot| slot.is_open()).count()
    }
}

impl Slot {
    fn is_open(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.sender.as_ref().is_some_and(|sender| !sender.is_closed())
    }
}

impl<N: Runtime> Pool<N> {
    /// No connection yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends `request` to `address`; its URI must be absolute. Ends with the head of the response.
    pub async fn send(&self, address: SocketAddr, request: Request<Body>) -> Result<Response<Incoming>, SendError> {
        let mut sender = self.sender(address).await.map_err(SendError::NoConnection)?;
        match sender.try_send_request(request).await {
            Ok(response) => Ok(response),
            Err(mut error) => {
                if sender.is_closed() {
                    self.forget(address);
                }
                let unsent = error.take_message().is_some();
                let why = error.into_error().to_string();
                Err(if unsent { SendError::NotSent(why) } else { SendError::Sent(why) })
            }
        }
    }

    /// Drops the connection to `address`; the next request dials anew.
    pub fn forget(&self, address: SocketAddr) {
        self.lock().by_address.remove(&address);
    }

    async fn sender(&self, address: SocketAddr) -> Result<SendRequest<Body>, String> {
        let since = Instant::now();
        loop {
            let slot = self.lock().get(address);
            let listener = slot.dialled.listen();
            {
                let mut state = slot.state.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(sender) = state.sender.as_ref().filter(|sender| !sender.is_closed()) {
                    return Ok(sender.clone());
                }
                if let Some((_, why)) = state.failed.as_ref().filter(|(at, _)| *at >= since) {
                    return Err(why.clone());
                }
                if !state.dialling {
                    state.dialling = true;
                    state.sender = None;
                    let slot = Arc::clone(&slot);
                    // A task of its own: the caller may give up, the dial serves all who wait.
                    let keep_alive = self.keep_alive;
                    N::spawn(async move { dial_into::<N>(&slot, address, keep_alive).await });
                }
            }
            listener.await;
        }
    }
}

async fn dial_into<N: Runtime>(slot: &Slot, address: SocketAddr, keep_alive: Duration) {
    let dialled = within::<N, _>(DIAL_TIMEOUT, dial::<N>(address, keep_alive)).await;
    let dialled = dialled.unwrap_or_else(|| Err(format!("no connection within {DIAL_TIMEOUT:?}")));
    let mut state = slot.state.lock().unwrap_or_else(PoisonError::into_inner);
    state.dialling = false;
    match dialled {
        Ok(sender) => state.sender = Some(sender),
        Err(why) => state.failed = Some((Instant::now(), format!("{address}: {why}"))),
    }
    drop(state);
    slot.dialled.notify(usize::MAX);
}

async fn dial<N: Runtime>(address: SocketAddr, keep_alive: Duration) -> Result<SendRequest<Body>, String> {
    let stream = connect::<N>(address).await.map_err(|error| error.to_string())?;
    let (sender, connection) = http2::Builder::new(Exec::<N>::new())
        .timer(Timer::<N>::new())
        .keep_alive_interval(keep_alive)
        .keep_alive_timeout(keep_alive)
        .handshake(FuturesIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    N::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%address, %error, "connection lost");
        }
    });
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connection_unused_for_longest_makes_way() {
        let mut slots = Slots { by_address: HashMap::new(), uses: 0, max: 3 };
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        for port in [1, 2, 3, 1, 4] {
            slots.get(at(port));
        }
        let mut left: Vec<_> = slots.by_address.keys().map(SocketAddr::port).collect();
        left.sort_unstable();
        assert_eq!(left, [1, 3, 4]);
    }
}
