//! One step of a handshake: bytes of the other side in, bytes for it out. A step may check a chain of certificates, and
//! takes milliseconds then.

use std::sync::Arc;

use funk_tls::rustls::client::ClientConfig;
use funk_tls::rustls::pki_types::{ServerName, UnixTime};
use funk_tls::rustls::server::ServerConfig;
use funk_tls::rustls::{ClientConnection, Connection, ServerConnection};
use funk_tls::{Identity, Refused, peer};

use super::failure::Failure;

/// Of what both ends of a stream derive what only they know.
pub(crate) const EXPORTER_LABEL: &[u8] = b"EXPORTER-funk-stream";

/// A handshake between two steps.
#[derive(Debug)]
pub(super) enum Handshake {
    /// This side begins.
    Dial(Arc<ClientConfig>),
    /// The other side begins.
    Accept(Arc<ServerConfig>),
    /// It is under way.
    Going(Box<Connection>),
}

/// Where a handshake is after a step, and what has to be sent then.
#[derive(Debug)]
pub(super) struct Stepped {
    pub(super) send: Vec<u8>,
    pub(super) state: State,
}

#[derive(Debug)]
pub(super) enum State {
    /// It needs more bytes.
    Going(Box<Connection>),
    /// It is over.
    Over(Box<Shaken>),
    /// There is no stream. What is to be sent says so to the other side.
    Failed(Failure),
}

/// A handshake that is over.
#[derive(Debug)]
pub(super) struct Shaken {
    pub(super) connection: Box<Connection>,
    pub(super) identity: Identity,
    pub(super) exporter: [u8; 32],
    /// When the certificate was checked.
    pub(super) then: UnixTime,
    /// What came behind the handshake.
    pub(super) rest: Vec<u8>,
}

/// Goes on with a handshake.
pub(super) fn step(handshake: Handshake, received: &[u8]) -> Stepped {
    let begun = match handshake {
        Handshake::Going(connection) => Ok(connection),
        Handshake::Dial(config) => {
            // Names of hosts mean nothing: whoever answers is known by its certificate.
            let name = ServerName::try_from("funk").expect("a legal name");
            ClientConnection::new(config, name).map(|connection| Box::new(connection.into()))
        }
        Handshake::Accept(config) => ServerConnection::new(config).map(|connection| Box::new(connection.into())),
    };
    let mut connection: Box<Connection> = match begun {
        Ok(connection) => connection,
        Err(error) => return Stepped { send: Vec::new(), state: State::Failed(Failure::of(error)) },
    };
    let fed = feed(&mut connection, received);
    let mut send = Vec::new();
    while connection.wants_write() {
        // A vector takes all bytes.
        let _ = connection.write_tls(&mut send);
    }
    let state = match fed.and_then(|rest| conclude(connection, rest)) {
        Ok(state) => state,
        Err(failure) => State::Failed(failure),
    };
    Stepped { send, state }
}

/// Hands in what came until the handshake is over; gives back what is left.
fn feed(connection: &mut Connection, mut received: &[u8]) -> Result<Vec<u8>, Failure> {
    while connection.is_handshaking() && !received.is_empty() {
        match connection.read_tls(&mut received) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => return Err(Failure::Tls(error.to_string())),
        }
        connection.process_new_packets().map_err(Failure::of)?;
    }
    Ok(received.to_vec())
}

fn conclude(mut connection: Box<Connection>, rest: Vec<u8>) -> Result<State, Failure> {
    if connection.is_handshaking() {
        return Ok(State::Going(connection));
    }
    let identity = peer(connection.peer_certificates(), None).map_err(Failure::Refused)?;
    let identity = identity.ok_or(Failure::Refused(Refused::NoIdentity))?;
    let exporter = connection.export_keying_material([0; 32], EXPORTER_LABEL, None).map_err(Failure::of)?;
    connection.set_buffer_limit(Some(crate::limits::SEALED_BYTES_MAX));
    let then = UnixTime::now();
    Ok(State::Over(Box::new(Shaken { connection, identity, exporter, then, rest })))
}

/// How many of these bytes make whole records. A record that is longer than any may be counts as whole: it ends the
/// handshake.
pub(super) fn whole_records(bytes: &[u8]) -> usize {
    const HEAD_BYTES: usize = 5;
    const RECORD_BYTES_MAX: usize = (16 << 10) + 256;
    let mut whole = 0;
    while let Some(&[_, _, _, high, low]) = bytes.get(whole..whole + HEAD_BYTES) {
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > RECORD_BYTES_MAX {
            return bytes.len();
        }
        if bytes.len() < whole + HEAD_BYTES + length {
            break;
        }
        whole += HEAD_BYTES + length;
    }
    whole
}
