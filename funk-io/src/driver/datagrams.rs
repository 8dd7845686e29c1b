//! The two UDP sockets.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use funk_proto::{DatagramSocket, Input};

use super::counters::Counters;
use super::hub::{Hub, Source};
use crate::limits;
use crate::runtime::Runtime;

/// Bytes of the largest datagram that IP can carry, and some.
const BUFFER_BYTES: usize = 64 << 10;

pub(super) struct Datagrams<R: Runtime> {
    liveness: Socket<R>,
    gossip: Socket<R>,
    buffer: Vec<u8>,
    counters: Arc<Counters>,
}

struct Socket<R: Runtime> {
    kind: DatagramSocket,
    /// Tells when there is something to read.
    io: R::Udp,
    /// The same socket, for calls that must not wait for the runtime's opinion.
    raw: UdpSocket,
    source: Arc<Source>,
    waker: Waker,
}

impl<R: Runtime> Datagrams<R> {
    pub(super) fn new(
        liveness: UdpSocket,
        gossip: UdpSocket,
        hub: &Arc<Hub>,
        counters: Arc<Counters>,
    ) -> io::Result<Self> {
        let socket = |kind, socket: UdpSocket| {
            let (raw, source) = (socket.try_clone()?, Source::new(hub));
            let waker = Waker::from(Arc::clone(&source));
            io::Result::Ok(Socket { kind, io: R::udp(socket)?, raw, source, waker })
        };
        let liveness = socket(DatagramSocket::Liveness, liveness)?;
        let gossip = socket(DatagramSocket::Gossip, gossip)?;
        Ok(Self { liveness, gossip, buffer: vec![0; BUFFER_BYTES], counters })
    }

    /// Hands in what the sockets that woke the driver hold, until `deliver` wants no more in this pass.
    pub(super) fn receive(&mut self, mut deliver: impl FnMut(Input) -> bool) {
        for socket in [&mut self.liveness, &mut self.gossip] {
            if !socket.source.take() {
                continue;
            }
            let mut context = Context::from_waker(&socket.waker);
            let mut budget = limits::PASS_MESSAGES_MAX;
            while budget > 0 {
                budget -= 1;
                match R::poll_recv_from(&mut socket.io, &mut context, &mut self.buffer) {
                    Poll::Ready(Ok((length, from))) => {
                        self.counters.datagrams_received.add_one();
                        if !deliver(datagram(socket.kind, from, &self.buffer[..length])) {
                            budget = 0;
                        }
                    }
                    // Some datagram sent earlier found nobody; the kernel does not say which.
                    Poll::Ready(Err(_)) => {}
                    Poll::Pending => break,
                }
            }
            if budget == 0 {
                socket.waker.wake_by_ref();
            }
        }
    }

    /// Hands in what the liveness socket holds by now, whatever the runtime knows of it.
    pub(super) fn receive_at_once(&mut self, mut deliver: impl FnMut(Input)) {
        let Socket { kind, raw, .. } = &self.liveness;
        for _ in 0..limits::PASS_MESSAGES_MAX {
            match raw.recv_from(&mut self.buffer) {
                Ok((length, from)) => {
                    self.counters.datagrams_received.add_one();
                    deliver(datagram(*kind, from, &self.buffer[..length]));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {}
            }
        }
    }

    /// Sends a datagram now or never. Tells if the operating system knows that nobody is there.
    pub(super) fn send(&self, kind: DatagramSocket, to: SocketAddr, bytes: &[u8]) -> Option<Input> {
        let socket = match kind {
            DatagramSocket::Liveness => &self.liveness,
            DatagramSocket::Gossip => &self.gossip,
        };
        match socket.raw.send_to(bytes, to) {
            Ok(_) => {
                self.counters.datagrams_sent.add_one();
                None
            }
            Err(error) => {
                self.counters.datagrams_unsent.add_one();
                is_unreachable(&error).then_some(Input::Unreachable { to })
            }
        }
    }
}

fn datagram(socket: DatagramSocket, from: SocketAddr, bytes: &[u8]) -> Input {
    Input::Datagram { socket, from, bytes: Bytes::copy_from_slice(bytes) }
}

fn is_unreachable(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
}
