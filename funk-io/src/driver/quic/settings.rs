//! The settings of a connection, and whom it believes.

use std::sync::Arc;
use std::time::Duration;

use funk_tls::{Credentials, Noted, Roles};
use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};

use super::lane::LANES;
use crate::driver::tls::trust::PROTOCOL;
use crate::limits::{HANDSHAKE_BYTES_MAX, HANDSHAKES_MAX, LANE_BYTES_MAX, STREAM_STALL_MAX};

/// Between two packets on a connection at rest, so that two may be lost before it counts as broken.
const KEEP_ALIVE: Duration = Duration::from_millis(1_500);
/// Supposed round trip before one is measured: what is lost of a handshake is sent again after three times as much.
const FIRST_ROUND_TRIP: Duration = Duration::from_millis(100);

/// What begins with the process: nobody can end its connections in the name of an earlier one.
pub(super) fn endpoint() -> EndpointConfig {
    EndpointConfig::default()
}

fn transport() -> TransportConfig {
    let mut settings = TransportConfig::default();
    let lanes = u32::try_from(LANES).expect("a few");
    let window = u32::try_from(LANE_BYTES_MAX).expect("a few megabytes");
    settings
        .max_concurrent_uni_streams(VarInt::from_u32(lanes))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(window))
        .receive_window(VarInt::from_u32(window * lanes))
        .send_window(u64::from(window))
        .max_idle_timeout(Some(IdleTimeout::try_from(STREAM_STALL_MAX).expect("some seconds")))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .initial_rtt(FIRST_ROUND_TRIP)
        .crypto_buffer_size(HANDSHAKE_BYTES_MAX);
    settings
}

/// For a connection that this node opens.
pub(super) fn client(credentials: &Credentials, noted: &Noted) -> Result<ClientConfig, NoInitialCipherSuite> {
    let tls = credentials.connector_noting(Roles::NODES, &[PROTOCOL], noted.clone());
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport()));
    Ok(config)
}

/// For a connection that somebody opens to this node.
pub(super) fn server(credentials: &Credentials, noted: &Noted) -> Result<ServerConfig, NoInitialCipherSuite> {
    let tls = credentials.acceptor_noting(Roles::NODES, &[PROTOCOL], noted.clone());
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config
        .transport_config(Arc::new(transport()))
        .migration(false)
        .max_incoming(HANDSHAKES_MAX)
        .incoming_buffer_size(HANDSHAKE_BYTES_MAX as u64)
        .incoming_buffer_size_total((HANDSHAKE_BYTES_MAX * HANDSHAKES_MAX) as u64);
    Ok(config)
}
