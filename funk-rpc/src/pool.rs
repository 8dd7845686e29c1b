//! HTTP/2 connections to other nodes: dialled when first needed, dropped when they break, a bounded number.
//!
//! Requests of many callers share a connection, so what one of them does must not reach the others:
//!
//! | what a caller does | what bounds it |
//! |---|---|
//! | does not read its answer, or the node not its request | a stream's window: a connection's own holds one of each of its streams |
//! | holds many requests open | streams of one connection; past them another connection is opened |
//! | cancels over and over | a connection that has seen many cancels takes no new requests |
//! | goes away | its stream is reset at once, whether or not the node reads |
//!
//! | file | idea |
//! |---|---|
//! | `connection` | one connection: its streams, its places, signs of life |
//! | `exchange` | one request and its answer |
//! | `io` | a runtime's stream as h2 wants it |

mod connection;
mod exchange;
mod io;
#[cfg(test)]
pub(crate) mod odd;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use event_listener::Event;
use funk_io::Runtime;
use http::{Request, Response};
use tonic::body::Body;

use self::connection::Connection;
pub(crate) use self::connection::Place;
pub(crate) use self::exchange::AnswerBody;
use crate::limits::{CONNECTION_STREAMS_MAX, NODE_CONNECTIONS_MAX, POOL_CONNECTIONS_MAX};
use crate::net::AnyRuntime;

/// Time to connect and to shake hands.
const DIAL_TIMEOUT: Duration = Duration::from_millis(500);
/// Time between two questions for a sign of life, and time for the answer.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// Why a request got no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendError {
    /// There is no connection, and none could be made.
    NoConnection(String),
    /// All connections that there may be are full: nothing was sent.
    Full(SocketAddr),
    /// It was never sent, or the other side says that it did not look at it.
    NotSent(String),
    /// It was sent, at least in part. It may have been served.
    Sent(String),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoConnection(why) => write!(f, "no connection: {why}"),
            Self::Full(address) => write!(f, "too many requests are under way to {address}"),
            Self::NotSent(why) => write!(f, "not sent: {why}"),
            Self::Sent(why) => write!(f, "no answer: {why}"),
        }
    }
}

impl std::error::Error for SendError {}

/// The connections to one address.
#[derive(Default)]
struct Slot {
    state: Mutex<State>,
    dialled: Event,
    /// The pool's count of uses when this one was last used.
    used: AtomicU64,
    /// Connections that are open, those that take no new requests included.
    open: Arc<AtomicUsize>,
}

#[derive(Default)]
struct State {
    connections: Vec<Arc<Connection>>,
    /// Dials under way.
    dialling: usize,
    /// Callers that wait for a dial.
    waiting: usize,
    /// The last dial's failure, for those who waited for it.
    failed: Option<(Instant, String)>,
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
    /// Connections to at most `max` addresses, each asked for a sign of life after `keep_alive`, and given as long
    /// to answer.
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

    /// Addresses that there are open connections to now.
    pub fn open(&self) -> usize {
        let slots: Vec<_> = self.lock().by_address.values().map(Arc::clone).collect();
        slots.iter().filter(|slot| slot.is_open()).count()
    }
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_open(&self) -> bool {
        self.lock().connections.iter().any(|connection| !connection.is_closed())
    }
}

impl State {
    /// A place on a connection that has room. Those that take no more are forgotten; they end with their streams.
    fn enter(&mut self) -> Option<Place> {
        self.connections.retain(|connection| connection.takes_more());
        self.connections.iter().find_map(Connection::enter)
    }
}

impl<N: Runtime> Pool<N> {
    /// No connection yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends `request` to `address`; its URI must be absolute. Ends with the head of the response. Dropping the
    /// future, or the response's body, ends the request at the other side too.
    ///
    /// # Errors
    /// [`SendError`] says whether the request may have been served.
    pub async fn send(&self, address: SocketAddr, request: Request<Body>) -> Result<Response<Body>, SendError> {
        Ok(self.exchange(address, request).await?.map(Body::new))
    }

    /// The same with the body as it is.
    pub(crate) async fn exchange(
        &self,
        address: SocketAddr,
        request: Request<Body>,
    ) -> Result<Response<AnswerBody>, SendError> {
        let place = self.place(address).await?;
        Self::exchange_at(place, request).await
    }

    /// The same at a place that was found before.
    pub(crate) async fn exchange_at(place: Place, request: Request<Body>) -> Result<Response<AnswerBody>, SendError> {
        exchange::exchange(AnyRuntime::of::<N>(), place, request).await
    }

    /// Drops the connections to `address`; the next request dials anew.
    pub fn forget(&self, address: SocketAddr) {
        self.lock().by_address.remove(&address);
    }

    /// A place for one stream, on a new connection if all others are full.
    pub(crate) async fn place(&self, address: SocketAddr) -> Result<Place, SendError> {
        let since = Instant::now();
        loop {
            let slot = self.lock().get(address);
            let listener = slot.dialled.listen();
            let _waits = {
                let mut state = slot.lock();
                if let Some(place) = state.enter() {
                    return Ok(place);
                }
                if let Some((_, why)) = state.failed.as_ref().filter(|(at, _)| *at >= since) {
                    return Err(SendError::NoConnection(why.clone()));
                }
                let full = slot.open.load(Ordering::Acquire) + state.dialling >= NODE_CONNECTIONS_MAX;
                if full && state.dialling == 0 {
                    return Err(SendError::Full(address));
                }
                // One dial serves as many as a connection has places.
                if !full && state.dialling * CONNECTION_STREAMS_MAX <= state.waiting {
                    state.dialling += 1;
                    let (slot, keep_alive) = (Arc::clone(&slot), self.keep_alive);
                    // A task of its own: the caller may give up, the dial serves all who wait.
                    let runtime = AnyRuntime::of::<N>();
                    runtime.spawn(async move { dial_into(runtime, &slot, address, keep_alive).await });
                }
                state.waiting += 1;
                Waits(&slot)
            };
            listener.await;
        }
    }
}

/// A caller that waits for a dial, counted.
struct Waits<'a>(&'a Slot);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

async fn dial_into(runtime: AnyRuntime, slot: &Arc<Slot>, address: SocketAddr, keep_alive: Duration) {
    let dialled = runtime.within(DIAL_TIMEOUT, connection::dial(runtime, address, keep_alive, &slot.open)).await;
    let dialled = dialled.unwrap_or_else(|| Err(format!("no connection within {DIAL_TIMEOUT:?}")));
    let mut state = slot.lock();
    state.dialling -= 1;
    match dialled {
        Ok(connection) => state.connections.push(connection),
        Err(why) => state.failed = Some((Instant::now(), format!("{address}: {why}"))),
    }
    drop(state);
    slot.dialled.notify(usize::MAX);
}
