//! TLS on a stream that is open: what came from the socket in, plaintext out, and back.

use std::io::{self, BufRead, Write};
use std::sync::Arc;

use bytes::{Buf, BufMut, BytesMut};
use funk_proto::PeerIdentity;
use funk_tls::rustls::Connection;

use super::believed::Believed;
use super::failure::Failure;
use super::handshake::Shaken;
use super::trust::Trust;
use super::worker::Slot;

/// TLS on a stream that is open.
#[derive(Debug)]
pub(crate) struct Session {
    connection: Box<Connection>,
    /// What the socket has to take.
    sealed: BytesMut,
    believed: Believed,
    ended: bool,
}

impl Session {
    pub(super) fn new(shaken: Shaken, slot: Arc<Slot>) -> (Self, Vec<u8>) {
        let Shaken { connection, then, rest, .. } = shaken;
        let chain = connection.peer_certificates().unwrap_or_default().to_vec();
        let believed = Believed::woken_by(slot, chain, then);
        (Self { connection, sealed: BytesMut::new(), believed, ended: false }, rest)
    }

    /// Opens what came from the socket, and gives the plaintext to `take`. Tells whether the other side has ended.
    pub(crate) fn open(&mut self, mut bytes: &[u8], mut take: impl FnMut(&[u8])) -> Result<bool, Failure> {
        loop {
            let state = self.connection.process_new_packets().map_err(Failure::of)?;
            drain(&mut self.connection, &mut take)?;
            self.collect();
            if state.peer_has_closed() || bytes.is_empty() {
                return Ok(state.peer_has_closed());
            }
            self.connection.read_tls(&mut bytes).map_err(|error| Failure::Tls(error.to_string()))?;
        }
    }

    /// Seals some of `plain`. Tells how much.
    pub(crate) fn seal(&mut self, plain: &[u8]) -> usize {
        let some = &plain[..plain.len().min(crate::limits::SEALED_BYTES_MAX)];
        let taken = self.connection.writer().write(some).unwrap_or_default();
        self.collect();
        taken
    }

    /// What the socket has to take.
    pub(crate) fn sealed(&self) -> &[u8] {
        &self.sealed
    }

    /// The socket took so much.
    pub(crate) fn written(&mut self, length: usize) {
        self.sealed.advance(length);
    }

    /// Nothing will follow: that is said, once.
    pub(crate) fn end(&mut self) {
        if !self.ended {
            self.ended = true;
            self.connection.send_close_notify();
            self.collect();
        }
    }

    fn collect(&mut self) {
        while self.connection.wants_write() {
            // A buffer takes all bytes.
            let _ = self.connection.write_tls(&mut (&mut self.sealed).writer());
        }
    }

    /// Asks whether the other side is believed now. The answer wakes the stream.
    pub(crate) fn check_again(&self, trust: &Trust) {
        self.believed.check_again(trust);
    }

    /// Whether the other side is still believed, as far as is known.
    pub(crate) fn checked(&self) -> Result<(), Failure> {
        self.believed.checked()
    }
}

fn drain(connection: &mut Connection, take: &mut impl FnMut(&[u8])) -> Result<(), Failure> {
    let mut reader = connection.reader();
    loop {
        match reader.fill_buf() {
            Ok([]) => return Ok(()),
            Ok(plain) => {
                let length = plain.len();
                take(plain);
                reader.consume(length);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(Failure::Tls(error.to_string())),
        }
    }
}

/// What the core learns of the other side.
pub(super) fn identity(shaken: &Shaken, address: std::net::SocketAddr) -> PeerIdentity {
    let (cluster, name) = (shaken.identity.cluster.clone(), shaken.identity.name.clone());
    PeerIdentity { cluster, name, exporter: shaken.exporter, address }
}
