//! The thread of QUIC: it has the socket, dials for the driver, and hands it those who dialled.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::task::Waker;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use async_executor::Executor;
use funk_tls::rustls::AlertDescription;
use funk_tls::rustls::pki_types::{CertificateDer, UnixTime};
use funk_tls::{Current, Identity, Noted, Refused, peer};
use futures_lite::future;
use quinn::{Connecting, Connection, ConnectionError, Endpoint, SendStream, VarInt};

use super::guests::{Guest, Guests, Welcome};
use super::lane::LANES;
use super::runtime::Here;
use super::settings;
use crate::driver::hub::{Hub, Source};
use crate::driver::tls::failure::Failure;
use crate::driver::tls::handshake::EXPORTER_LABEL;
use crate::limits::{DIALS_WAITING_MAX, HANDSHAKE_TIMEOUT, HANDSHAKES_MAX, LINGER_MAX};
use crate::runtime::Runtime;

/// Time for the last packets of a stopping node to leave.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(100);
/// Errors of QUIC from here on are alerts of TLS (RFC 9001, section 4.8).
const CRYPTO_ERROR: u64 = 0x100;

/// A connection whose handshake is over.
pub(crate) struct Opened {
    pub(super) connection: Connection,
    pub(super) streams: [SendStream; LANES],
    pub(super) identity: Identity,
    pub(super) exporter: [u8; 32],
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// When the certificate was checked, and by which generation of credentials.
    pub(super) then: UnixTime,
    pub(super) generation: u64,
    pub(super) lingering: Lingering,
}

/// Somebody dialled.
pub(crate) enum Knock {
    Opened(SocketAddr, Box<Opened>),
    Refused(SocketAddr, Failure),
}

/// A dial of the driver.
pub(crate) type Dialling = Pin<Box<dyn Future<Output = Result<Box<Opened>, Failure>> + Send>>;

struct Dial {
    to: SocketAddr,
    answer: Sender<Result<Box<Opened>, Failure>>,
}

/// What the driver has of the thread. The thread ends with it.
pub(crate) struct Quic {
    dials: Sender<Dial>,
    knocks: Arc<Knocks>,
    source: Arc<Source>,
    ended: mpsc::Receiver<()>,
}

impl Quic {
    /// # Errors
    /// The operating system gives no thread, or nothing can be done with the socket.
    pub(crate) fn start<R: Runtime>(
        node: &str,
        socket: UdpSocket,
        current: Current,
        hub: &Arc<Hub>,
    ) -> io::Result<Self> {
        let source = Source::new(hub);
        let knocks = Arc::new(Knocks { waiting: Mutex::default(), waker: Waker::from(Arc::clone(&source)) });
        let (dials, to_dial) = async_channel::bounded(DIALS_WAITING_MAX);
        let (ready, started) = mpsc::sync_channel(1);
        let (end, ended) = mpsc::sync_channel::<()>(0);
        let theirs = Arc::clone(&knocks);
        std::thread::Builder::new().name(format!("funk-quic-{node}")).spawn(move || {
            let _end = end;
            let run = Box::pin(async move {
                match Host::new::<R>(socket, current, theirs) {
                    Ok(host) => {
                        let _ = ready.send(Ok(()));
                        host.run::<R>(to_dial).await;
                    }
                    Err(error) => drop(ready.send(Err(error))),
                }
            });
            if let Err(error) = R::block_on(run) {
                tracing::error!(%error, "QUIC has stopped");
            }
        })?;
        match started.recv() {
            Ok(started) => started.map(|()| Self { dials, knocks, source, ended }),
            Err(_) => Err(io::Error::other("the thread of QUIC ended")),
        }
    }

    /// Opens a connection.
    pub(crate) fn dial(&self, to: SocketAddr) -> Dialling {
        let (answer, answered) = async_channel::bounded(1);
        let asked = self.dials.try_send(Dial { to, answer });
        Box::pin(async move {
            // Whoever is not asked any more, or does not answer, has ended.
            asked.map_err(|_| Failure::Crowded)?;
            answered.recv().await.unwrap_or(Err(Failure::Ended))
        })
    }

    /// The next of those who dialled, if the thread woke the driver.
    pub(crate) fn knocks(&self) -> VecDeque<Knock> {
        if self.source.take() { std::mem::take(&mut *self.knocks.waiting()) } else { VecDeque::new() }
    }
}

impl Drop for Quic {
    fn drop(&mut self) {
        self.dials.close();
        // It says goodbye for at most this time. Nothing is sent here: the other end is dropped.
        let _ = self.ended.recv_timeout(3 * CLOSE_TIMEOUT);
    }
}

/// Those who dialled, for the driver.
struct Knocks {
    waiting: Mutex<VecDeque<Knock>>,
    waker: Waker,
}

impl Knocks {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Knock>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the driver does not take in time is dropped, and with it the connection.
    fn add(&self, knock: Knock) {
        let mut waiting = self.waiting();
        if waiting.len() < HANDSHAKES_MAX {
            waiting.push_back(knock);
        }
        drop(waiting);
        self.waker.wake_by_ref();
    }
}

/// Connections that end when the other side has all that was sent.
#[derive(Clone)]
pub(crate) struct Lingering(Sender<(Connection, [SendStream; LANES])>);

impl Lingering {
    pub(super) fn add(&self, connection: Connection, streams: [SendStream; LANES]) {
        // Where there is no room it ends at once, and with it what the other side has not got.
        let _ = self.0.try_send((connection, streams));
    }
}

/// What the thread has.
struct Host {
    executor: Arc<Executor<'static>>,
    endpoint: Endpoint,
    current: Current,
    knocks: Arc<Knocks>,
    guests: Guests,
    lingering: Lingering,
    to_linger: Receiver<(Connection, [SendStream; LANES])>,
}

impl Host {
    fn new<R: Runtime>(socket: UdpSocket, current: Current, knocks: Arc<Knocks>) -> io::Result<Self> {
        let executor = Arc::new(Executor::new());
        let config = settings::server(&current.get(), &Noted::default()).map_err(io::Error::other)?;
        let runtime = Arc::new(Here::<R>::new(&executor));
        let endpoint = Endpoint::new(settings::endpoint(), Some(config), socket, runtime)?;
        let (sender, to_linger) = async_channel::bounded(HANDSHAKES_MAX);
        let (guests, lingering) = (Guests::default(), Lingering(sender));
        Ok(Self { executor, endpoint, current, knocks, guests, lingering, to_linger })
    }

    /// Until the driver is gone.
    async fn run<R: Runtime>(self, to_dial: Receiver<Dial>) {
        let tasks = Arc::clone(&self.executor);
        let endpoint = self.endpoint.clone();
        let host = Arc::new(self);
        tasks.spawn(Arc::clone(&host).accept::<R>()).detach();
        let lingering = tasks.spawn(Arc::clone(&host).linger::<R>());
        let work = async {
            while let Ok(dial) = to_dial.recv().await {
                host.executor.spawn(Arc::clone(&host).dial::<R>(dial)).detach();
            }
            // What the driver has sent last still leaves.
            host.lingering.0.close();
            future::or(lingering, R::sleep(CLOSE_TIMEOUT)).await;
            endpoint.close(VarInt::from_u32(0), b"");
            future::or(endpoint.wait_idle(), R::sleep(CLOSE_TIMEOUT)).await;
        };
        tasks.run(work).await;
    }

    async fn dial<R: Runtime>(self: Arc<Self>, Dial { to, answer }: Dial) {
        let (generation, noted) = (self.current.generation(), Noted::default());
        let connecting = settings::client(&self.current.get(), &noted)
            .map_err(|error| Failure::Tls(error.to_string()))
            .and_then(|config| {
                let connecting = self.endpoint.connect_with(config, to, "funk");
                connecting.map_err(|error| Failure::Tls(error.to_string()))
            });
        let opened = match connecting {
            Ok(connecting) => self.shake::<R>(connecting, &noted, generation).await,
            Err(failure) => Err(failure),
        };
        // A driver that does not want it any more has closed the stream.
        let _ = answer.send(opened).await;
    }

    async fn accept<R: Runtime>(self: Arc<Self>) {
        while let Some(incoming) = self.endpoint.accept().await {
            let address = incoming.remote_address();
            let is_proven = incoming.remote_address_validated() || !incoming.may_retry();
            match self.guests.welcome(address.ip(), is_proven) {
                Welcome::Enter(guest) => {
                    self.executor.spawn(Arc::clone(&self).receive::<R>(incoming, guest)).detach();
                }
                Welcome::Prove => drop(incoming.retry()),
                Welcome::Full => {
                    incoming.refuse();
                    self.knocks.add(Knock::Refused(address, Failure::Crowded));
                }
            }
        }
    }

    async fn receive<R: Runtime>(self: Arc<Self>, incoming: quinn::Incoming, guest: Guest) {
        let address = incoming.remote_address();
        let (generation, noted) = (self.current.generation(), Noted::default());
        let accepted = settings::server(&self.current.get(), &noted)
            .map_err(|error| Failure::Tls(error.to_string()))
            .and_then(|config| incoming.accept_with(Arc::new(config)).map_err(|error| failure(&error, None)));
        let opened = match accepted {
            Ok(connecting) => self.shake::<R>(connecting, &noted, generation).await,
            Err(failure) => Err(failure),
        };
        drop(guest);
        self.knocks.add(match opened {
            Ok(opened) => Knock::Opened(address, opened),
            Err(failure) => Knock::Refused(address, failure),
        });
    }

    async fn shake<R: Runtime>(
        &self,
        connecting: Connecting,
        noted: &Noted,
        generation: u64,
    ) -> Result<Box<Opened>, Failure> {
        let opened = async {
            let connection = connecting.await?;
            let streams = [connection.open_uni().await?, connection.open_uni().await?, connection.open_uni().await?];
            Ok((connection, streams))
        };
        let late = async {
            R::sleep(HANDSHAKE_TIMEOUT).await;
            Err(ConnectionError::TimedOut)
        };
        let (connection, streams) = future::or(opened, late).await.map_err(|error| failure(&error, Some(noted)))?;
        let chain = connection.peer_identity().and_then(|shown| shown.downcast::<Vec<CertificateDer<'static>>>().ok());
        let chain = *chain.ok_or(Failure::NoCertificate)?;
        let identity = peer(Some(&chain), None).map_err(Failure::Refused)?;
        let identity = identity.ok_or(Failure::Refused(Refused::NoIdentity))?;
        let mut exporter = [0; 32];
        let exported = connection.export_keying_material(&mut exporter, EXPORTER_LABEL, &[]);
        exported.map_err(|_| Failure::Tls("no keys can be derived".into()))?;
        for (place, stream) in streams.iter().enumerate() {
            // The first is the one that others may not keep waiting.
            let _ = stream.set_priority(-i32::try_from(place).unwrap_or_default());
        }
        let (then, lingering) = (UnixTime::now(), self.lingering.clone());
        Ok(Box::new(Opened { connection, streams, identity, exporter, chain, then, generation, lingering }))
    }

    /// Until nothing more comes, and all of it has left.
    async fn linger<R: Runtime>(self: Arc<Self>) {
        let mut under_way = Vec::new();
        while let Ok((connection, streams)) = self.to_linger.recv().await {
            let ends = async move {
                for stream in &streams {
                    if stream.stopped().await.is_err() {
                        break;
                    }
                }
                drop(connection);
            };
            under_way.retain(|task: &async_executor::Task<()>| !task.is_finished());
            under_way.push(self.executor.spawn(future::or(ends, R::sleep(LINGER_MAX))));
        }
        for task in under_way {
            task.await;
        }
    }
}

/// Why there is no connection, or no more.
pub(super) fn failure(error: &ConnectionError, noted: Option<&Noted>) -> Failure {
    if let Some(refused) = noted.and_then(Noted::get) {
        return Failure::Refused(refused.clone());
    }
    let alert = |code: u64| u8::try_from(code.checked_sub(CRYPTO_ERROR)?).ok().map(AlertDescription::from);
    match error {
        ConnectionError::TransportError(error) => match alert(error.code.into()) {
            Some(AlertDescription::CertificateRequired) => Failure::NoCertificate,
            Some(AlertDescription::NoApplicationProtocol) => Failure::OtherTransport,
            _ => Failure::Tls(error.to_string()),
        },
        ConnectionError::ConnectionClosed(close) => match alert(close.error_code.into()) {
            Some(alert) => Failure::alert(alert),
            None => Failure::Ended,
        },
        ConnectionError::TimedOut => Failure::TimedOut,
        ConnectionError::ApplicationClosed(_) | ConnectionError::Reset | ConnectionError::LocallyClosed => {
            Failure::Ended
        }
        ConnectionError::VersionMismatch | ConnectionError::CidsExhausted => Failure::Tls(error.to_string()),
    }
}
