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
//! | `destination` | where a request goes, and who must be there |
//! | `io` | a runtime's stream as h2 wants it |

mod connection;
mod destination;
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
use funk_tls::{Current, Refused};
use http::{Request, Response};
use tonic::body::Body;

use self::connection::Connection;
pub(crate) use self::connection::Place;
pub use self::destination::Destination;
pub(crate) use self::exchange::AnswerBody;
use crate::limits::{CONNECTION_STREAMS_MAX, NODE_CONNECTIONS_MAX, POOL_CONNECTIONS_MAX};
use crate::net::AnyRuntime;
use crate::tls::{Connector, DialError};

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
    /// Whoever is there is not the one that was called, or is not believed: nothing was sent.
    Untrusted(Refused),
    /// Whoever is there refuses this side's certificate: nothing was sent.
    Unwelcome(String),
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
            Self::Untrusted(why) => write!(f, "no connection: {why}"),
            Self::Unwelcome(why) => write!(f, "no connection: {why}"),
            Self::Full(address) => write!(f, "too many requests are under way to {address}"),
            Self::NotSent(why) => write!(f, "not sent: {why}"),
            Self::Sent(why) => write!(f, "no answer: {why}"),
        }
    }
}

impl std::error::Error for SendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Untrusted(why) => Some(why),
            _ => None,
        }
    }
}

impl SendError {
    fn of(address: SocketAddr, error: DialError) -> Self {
        match error {
            DialError::Failed(why) => Self::NoConnection(format!("{address}: {why}")),
            DialError::Untrusted(refused) => Self::Untrusted(refused),
            DialError::Unwelcome(why) => Self::Unwelcome(format!("{address}: {why}")),
        }
    }
}

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
    failed: Option<(Instant, DialError)>,
}

struct Slots {
    by_destination: HashMap<Destination, Arc<Slot>>,
    uses: u64,
    max: usize,
}

impl Slots {
    /// The place of `to`. A new one may cost another its place; what is under way there goes on.
    fn get(&mut self, to: &Destination) -> Arc<Slot> {
        self.uses += 1;
        if let Some(slot) = self.by_destination.get(to) {
            slot.used.store(self.uses, Ordering::Relaxed);
            return Arc::clone(slot);
        }
        if self.by_destination.len() >= self.max {
            let used = |slot: &Slot| slot.used.load(Ordering::Relaxed);
            let oldest = self.by_destination.iter().min_by_key(|(_, slot)| used(slot)).map(|(to, _)| to.clone());
            oldest.map(|oldest| self.by_destination.remove(&oldest));
        }
        let slot = self.by_destination.entry(to.clone()).or_default();
        slot.used.store(self.uses, Ordering::Relaxed);
        Arc::clone(slot)
    }
}

/// HTTP/2 connections by address. A slow address never holds up another.
pub struct Pool<N> {
    slots: Arc<Mutex<Slots>>,
    keep_alive: Duration,
    tls: Option<Connector>,
    net: PhantomData<fn() -> N>,
}

impl<N> Clone for Pool<N> {
    fn clone(&self) -> Self {
        let (slots, tls) = (Arc::clone(&self.slots), self.tls.clone());
        Self { slots, keep_alive: self.keep_alive, tls, net: PhantomData }
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
        let slots = Slots { by_destination: HashMap::new(), uses: 0, max };
        Self { slots: Arc::new(Mutex::new(slots)), keep_alive, tls: None, net: PhantomData }
    }

    /// Over TLS with these credentials, if they are given: only nodes of their cluster are believed. What is open
    /// stays open.
    #[must_use]
    pub fn over(self, credentials: Option<Current>) -> Self {
        self.over_or_plain(credentials, false)
    }

    /// The same; `permit_plaintext` lets it call those that speak no TLS without it.
    #[must_use]
    pub fn over_or_plain(mut self, credentials: Option<Current>, permit_plaintext: bool) -> Self {
        self.tls = credentials.map(|current| Connector::new(current, permit_plaintext));
        self
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops the connections to all addresses but these.
    pub(crate) fn retain(&self, wanted: impl Fn(&SocketAddr) -> bool) {
        self.lock().by_destination.retain(|to, _| wanted(&to.address));
    }

    /// Addresses that there are connections to, or were.
    pub fn connections(&self) -> usize {
        self.lock().by_destination.len()
    }

    /// Addresses that there are open connections to now.
    pub fn open(&self) -> usize {
        let slots: Vec<_> = self.lock().by_destination.values().map(Arc::clone).collect();
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

    /// Sends `request` to an address, or to the member there; its URI must be absolute. Ends with the head of the response. Dropping the
    /// future, or the response's body, ends the request at the other side too.
    ///
    /// # Errors
    /// [`SendError`] says whether the request may have been served.
    pub async fn send(&self, to: impl Into<Destination>, request: Request<Body>) -> Result<Response<Body>, SendError> {
        Ok(self.exchange(&to.into(), request).await?.map(Body::new))
    }

    /// The same with the body as it is.
    pub(crate) async fn exchange(
        &self,
        to: &Destination,
        request: Request<Body>,
    ) -> Result<Response<AnswerBody>, SendError> {
        let place = self.place(to).await?;
        Self::exchange_at(place, request).await
    }

    /// The same at a place that was found before.
    pub(crate) async fn exchange_at(place: Place, request: Request<Body>) -> Result<Response<AnswerBody>, SendError> {
        exchange::exchange(AnyRuntime::of::<N>(), place, request).await
    }

    /// Drops the connections to `address`; the next request dials anew.
    pub fn forget(&self, address: SocketAddr) {
        self.lock().by_destination.retain(|to, _| to.address != address);
    }

    /// A place for one stream, on a new connection if all others are full.
    pub(crate) async fn place(&self, to: &Destination) -> Result<Place, SendError> {
        let address = to.address;
        // Without TLS nobody shows a name.
        let nameless = self.tls.is_none().then(|| Destination::from(address));
        let to = nameless.as_ref().unwrap_or(to);
        let since = Instant::now();
        loop {
            let slot = self.lock().get(to);
            let listener = slot.dialled.listen();
            let _waits = {
                let mut state = slot.lock();
                if let Some(place) = state.enter() {
                    return Ok(place);
                }
                if let Some((_, why)) = state.failed.as_ref().filter(|(at, _)| *at >= since) {
                    return Err(SendError::of(address, why.clone()));
                }
                let full = slot.open.load(Ordering::Acquire) + state.dialling >= NODE_CONNECTIONS_MAX;
                if full && state.dialling == 0 {
                    return Err(SendError::Full(address));
                }
                // One dial serves as many as a connection has places.
                if !full && state.dialling * CONNECTION_STREAMS_MAX <= state.waiting {
                    state.dialling += 1;
                    let (slot, keep_alive, to, tls) =
                        (Arc::clone(&slot), self.keep_alive, to.clone(), self.tls.clone());
                    // A task of its own: the caller may give up, the dial serves all who wait.
                    let runtime = AnyRuntime::of::<N>();
                    runtime.spawn(async move { dial_into(runtime, &slot, &to, tls.as_ref(), keep_alive).await });
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

async fn dial_into(
    runtime: AnyRuntime,
    slot: &Arc<Slot>,
    to: &Destination,
    tls: Option<&Connector>,
    keep_alive: Duration,
) {
    let dialled = runtime.within(DIAL_TIMEOUT, connection::dial(runtime, to, tls, keep_alive, &slot.open)).await;
    let late = || Err(DialError::Failed(format!("no connection within {DIAL_TIMEOUT:?}")));
    let dialled = dialled.unwrap_or_else(late);
    let mut state = slot.lock();
    state.dialling -= 1;
    match dialled {
        Ok(connection) => state.connections.push(connection),
        Err(why) => state.failed = Some((Instant::now(), why)),
    }
    drop(state);
    slot.dialled.notify(usize::MAX);
}
