//! The sockets of a node.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use socket2::SockRef;

/// Bytes of a UDP socket's receive and send buffers: a burst of heartbeats of
/// the largest cluster, while the driver is not scheduled.
const UDP_BUFFER_BYTES: usize = 1 << 20;
/// Tries to find a port that is free on UDP and TCP both.
const PORT_TRIES: u32 = 64;

/// A node's bound sockets. Bind them with [`Sockets::bind`], or bring your own.
#[derive(Debug)]
pub struct Sockets {
    /// `ep.serf`, TCP: gossip streams.
    pub serf_tcp: TcpListener,
    /// `ep.serf`, UDP, of the same port: gossip datagrams.
    pub serf_udp: UdpSocket,
    /// `ep.raft`, TCP: cluster streams.
    pub raft: TcpListener,
    /// `ep.raft`, UDP, of the same port: cluster streams by QUIC. `None`: they go by TCP.
    pub quic: Option<UdpSocket>,
    /// `ep.liveness`, UDP: heartbeats and leases.
    pub liveness: UdpSocket,
}

impl Sockets {
    /// Binds all four. Port 0 means any free port; for `serf` one that is free
    /// on UDP and TCP both.
    ///
    /// # Errors
    /// An address that cannot be bound; the message names it.
    pub fn bind(serf: SocketAddr, raft: SocketAddr, liveness: SocketAddr) -> io::Result<Self> {
        let (serf_tcp, serf_udp) = bind_pair("ep.serf", serf)?;
        let raft = TcpListener::bind(raft).map_err(|error| named("ep.raft", raft, "tcp", &error))?;
        let liveness = UdpSocket::bind(liveness).map_err(|error| named("ep.liveness", liveness, "udp", &error))?;
        Ok(Self { serf_tcp, serf_udp, raft, quic: None, liveness })
    }

    /// Binds all four, and one for QUIC at the address of `raft`, where streams between nodes go from then on. It needs
    /// [`Options::tls`](crate::Options::tls), and the feature `quic`. Whoever dials by TCP there is told so.
    ///
    /// # Errors
    /// As [`Sockets::bind`].
    pub fn bind_quic(serf: SocketAddr, raft: SocketAddr, liveness: SocketAddr) -> io::Result<Self> {
        let (serf_tcp, serf_udp) = bind_pair("ep.serf", serf)?;
        let (raft, quic) = bind_pair("ep.raft", raft)?;
        let liveness = UdpSocket::bind(liveness).map_err(|error| named("ep.liveness", liveness, "udp", &error))?;
        Ok(Self { serf_tcp, serf_udp, raft, quic: Some(quic), liveness })
    }

    /// Binds all four to free ports of one address.
    ///
    /// # Errors
    /// As [`Sockets::bind`].
    pub fn any(ip: IpAddr) -> io::Result<Self> {
        let at = SocketAddr::new(ip, 0);
        Self::bind(at, at, at)
    }

    /// The bound address of `ep.serf`.
    ///
    /// # Errors
    /// The operating system's.
    pub fn serf_address(&self) -> io::Result<SocketAddr> {
        self.serf_tcp.local_addr()
    }

    /// The bound address of `ep.raft`.
    ///
    /// # Errors
    /// The operating system's.
    pub fn raft_address(&self) -> io::Result<SocketAddr> {
        self.raft.local_addr()
    }

    /// The bound address of `ep.liveness`.
    ///
    /// # Errors
    /// The operating system's.
    pub fn liveness_address(&self) -> io::Result<SocketAddr> {
        self.liveness.local_addr()
    }

    /// Makes all of them non-blocking and the UDP buffers large. The kernel may
    /// grant smaller buffers; that is no error.
    pub(crate) fn tune(&self) -> io::Result<()> {
        for udp in [&self.serf_udp, &self.liveness].into_iter().chain(&self.quic) {
            let socket = SockRef::from(udp);
            let _ = socket.set_recv_buffer_size(UDP_BUFFER_BYTES);
            let _ = socket.set_send_buffer_size(UDP_BUFFER_BYTES);
            udp.set_nonblocking(true)?;
        }
        for tcp in [&self.serf_tcp, &self.raft] {
            tcp.set_nonblocking(true)?;
        }
        Ok(())
    }
}

fn bind_pair(what: &str, at: SocketAddr) -> io::Result<(TcpListener, UdpSocket)> {
    let mut tries = PORT_TRIES;
    loop {
        let tcp = TcpListener::bind(at).map_err(|error| named(what, at, "tcp", &error))?;
        let chosen = tcp.local_addr()?;
        tries -= 1;
        match UdpSocket::bind(chosen) {
            Ok(udp) => return Ok((tcp, udp)),
            // The port that TCP got may be taken on UDP: another one will do.
            Err(error) if at.port() == 0 && error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
            Err(error) => return Err(named(what, chosen, "udp", &error)),
        }
    }
}

fn named(what: &str, at: SocketAddr, transport: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: cannot bind {transport} {at}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn serf_gets_one_port_for_both_transports() {
        let sockets = Sockets::any(LOOPBACK).unwrap();
        assert_eq!(sockets.serf_tcp.local_addr().unwrap(), sockets.serf_udp.local_addr().unwrap());
        sockets.tune().unwrap();
    }

    #[test]
    fn cluster_streams_get_one_port_for_both_transports_where_they_go_by_quic() {
        let any = SocketAddr::new(LOOPBACK, 0);
        let sockets = Sockets::bind_quic(any, any, any).unwrap();
        assert_eq!(sockets.quic.as_ref().unwrap().local_addr().unwrap(), sockets.raft_address().unwrap());
        sockets.tune().unwrap();
        let raft = sockets.raft_address().unwrap();
        let error = Sockets::bind_quic(any, raft, any).unwrap_err().to_string();
        assert!(error.contains("ep.raft") && error.contains(&raft.to_string()), "{error}");
    }

    #[test]
    fn a_bind_error_names_the_address() {
        let taken = Sockets::any(LOOPBACK).unwrap();
        let (free, raft) = (SocketAddr::new(LOOPBACK, 0), taken.raft_address().unwrap());
        let error = Sockets::bind(free, raft, free).unwrap_err().to_string();
        assert!(error.contains("ep.raft") && error.contains(&raft.to_string()), "{error}");
        let liveness = taken.liveness_address().unwrap();
        let error = Sockets::bind(free, free, liveness).unwrap_err().to_string();
        assert!(error.contains("ep.liveness") && error.contains(&liveness.to_string()), "{error}");
    }
}
