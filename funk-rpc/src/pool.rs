//! HTTP/2 connections to other nodes: one an address, dialled when first
//! needed, dropped when it breaks.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use event_listener::Event;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use smol_hyper::rt::FuturesIo;
use tonic::body::Body;

use crate::net::{Exec, Net, Timer, within};

/// Time to connect and to shake hands.
const DIAL_TIMEOUT: Duration = Duration::from_millis(500);
/// Silence after which a connection is asked for a sign of life, and time for the answer.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// Why a request got no answer.
#[derive(Debug)]
pub enum SendError {
    /// It was never sent: no connection. Nothing of it reached the other side.
    NotSent(String),
    /// It was sent, at least in part. It may have been served.
    Sent(String),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
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
    slots: Arc<Mutex<HashMap<SocketAddr, Arc<Slot>>>>,
    net: PhantomData<fn() -> N>,
}

impl<N> Clone for Pool<N> {
    fn clone(&self) -> Self {
        Self { slots: Arc::clone(&self.slots), net: PhantomData }
    }
}

impl<N> fmt::Debug for Pool<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl<N> Default for Pool<N> {
    fn default() -> Self {
        Self { slots: Arc::default(), net: PhantomData }
    }
}

impl<N: Net> Pool<N> {
    /// No connection yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends `request` to `address`; its URI must be absolute. Ends with the head of the response.
    pub async fn send(&self, address: SocketAddr, request: Request<Body>) -> Result<Response<Incoming>, SendError> {
        let mut sender = self.sender(address).await.map_err(SendError::NotSent)?;
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
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(&address);
    }

    async fn sender(&self, address: SocketAddr) -> Result<SendRequest<Body>, String> {
        let since = Instant::now();
        loop {
            let slot = {
                let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
                Arc::clone(slots.entry(address).or_default())
            };
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
                    N::spawn(async move { dial_into::<N>(&slot, address).await });
                }
            }
            listener.await;
        }
    }
}

async fn dial_into<N: Net>(slot: &Slot, address: SocketAddr) {
    let dialled = within::<N, _>(DIAL_TIMEOUT, dial::<N>(address)).await;
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

async fn dial<N: Net>(address: SocketAddr) -> Result<SendRequest<Body>, String> {
    let stream = N::connect(address).await.map_err(|error| error.to_string())?;
    let (sender, connection) = http2::Builder::new(Exec::<N>::new())
        .timer(Timer::<N>::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
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
