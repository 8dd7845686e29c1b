//! One node in a push/pull.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{Bytes, BytesMut};

use super::BadMessage;
use super::msgpack::{Reader, put_integer, put_map, put_raw, put_signed, put_slice};

/// Fields in declaration order, as a list-encoded record has them.
const FIELDS: [&str; 7] = ["Name", "Addr", "Port", "Meta", "Incarnation", "State", "Vsn"];

/// The protocol versions that this implementation shows: it understands 1 to
/// 5 and speaks 2 of the node protocol, understands 2 to 5 and speaks 5 of
/// Serf's own.
pub const VERSIONS: [u8; 6] = [1, 5, 2, 2, 5, 5];

/// What a push/pull says of a node's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// It lives.
    Alive,
    /// Somebody suspects it.
    Suspect,
    /// It was declared dead.
    Dead,
    /// It left in order.
    Left,
    /// A number without a meaning.
    Unknown(i64),
}

impl NodeState {
    fn from_number(number: i64) -> Self {
        match number {
            0 => Self::Alive,
            1 => Self::Suspect,
            2 => Self::Dead,
            3 => Self::Left,
            other => Self::Unknown(other),
        }
    }

    fn number(self) -> i64 {
        match self {
            Self::Alive => 0,
            Self::Suspect => 1,
            Self::Dead => 2,
            Self::Left => 3,
            Self::Unknown(other) => other,
        }
    }
}

/// A node record as it stands on the wire; nothing in it is checked but its types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    /// Name; any bytes.
    pub name: Bytes,
    /// Address, 4 or 16 bytes in a good record.
    pub addr: Bytes,
    /// Port.
    pub port: u16,
    /// Tags, encoded.
    pub meta: Bytes,
    /// Incarnation.
    pub incarnation: u32,
    /// State.
    pub state: NodeState,
    /// Six version bytes in a good record.
    pub vsn: Bytes,
}

impl NodeRecord {
    /// A record of a node that shows our own versions.
    pub fn new(name: &[u8], address: SocketAddr, meta: Bytes, incarnation: u32, state: NodeState) -> Self {
        let addr = octets(address.ip());
        let vsn = Bytes::from_static(&VERSIONS);
        Self { name: Bytes::copy_from_slice(name), addr, port: address.port(), meta, incarnation, state, vsn }
    }

    /// The address; `default_port` stands in for 0, as old agents send it.
    /// `None` if it is not 4 or 16 bytes, or names no host.
    pub fn address(&self, default_port: u16) -> Option<SocketAddr> {
        let address = socket_address(&self.addr, self.port)?;
        Some(if self.port == 0 { SocketAddr::new(address.ip(), default_port) } else { address })
    }

    /// The version bytes, if every Serf agent accepts them beside our own. One
    /// record with others, passed on, makes agents refuse each push/pull.
    pub fn versions(&self) -> Option<[u8; 6]> {
        sane_versions(&self.vsn)
    }

    /// Reads a record.
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, BadMessage> {
        let mut record = Self {
            name: Bytes::new(),
            addr: Bytes::new(),
            port: 0,
            meta: Bytes::new(),
            incarnation: 0,
            state: NodeState::Alive,
            vsn: Bytes::new(),
        };
        reader.structure("a node record", &FIELDS, |position, reader| {
            match position {
                0 => record.name = reader.owned_string("a node's name")?,
                1 => record.addr = reader.owned_bytes("a node's address")?,
                2 => record.port = reader.integer("a node's port")?,
                3 => record.meta = reader.owned_bytes("a node's tags")?,
                4 => record.incarnation = reader.integer("a node's incarnation")?,
                5 => record.state = NodeState::from_number(reader.integer("a node's state")?),
                _ => record.vsn = reader.owned_bytes("a node's versions")?,
            }
            Ok(())
        })?;
        Ok(record)
    }

    /// Writes the record.
    pub(super) fn encode(&self, out: &mut BytesMut) {
        put_map(out, 7);
        put_raw(out, b"Addr");
        put_slice(out, &self.addr);
        put_raw(out, b"Incarnation");
        put_integer(out, self.incarnation.into());
        put_raw(out, b"Meta");
        put_slice(out, &self.meta);
        put_raw(out, b"Name");
        put_raw(out, &self.name);
        put_raw(out, b"Port");
        put_integer(out, self.port.into());
        put_raw(out, b"State");
        put_signed(out, self.state.number());
        put_raw(out, b"Vsn");
        put_slice(out, &self.vsn);
    }
}

/// The bytes of an address: 4 or 16.
pub(super) fn octets(ip: IpAddr) -> Bytes {
    match ip {
        IpAddr::V4(ip) => Bytes::copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => Bytes::copy_from_slice(&ip.octets()),
    }
}

/// An address from its 4 or 16 bytes; one of IPv4 may come in the form of
/// IPv6. `None` for any other length, and for an address that names no host, or
/// none without its link.
pub(super) fn socket_address(octets: &[u8], port: u16) -> Option<SocketAddr> {
    let ip = if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        IpAddr::V4(Ipv4Addr::from(octets))
    } else {
        Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).to_canonical()
    };
    (!ip.is_unspecified() && !ip.is_multicast() && !is_link_local(ip)).then(|| SocketAddr::new(ip, port))
}

/// Whether this address means something only on one of its host's links. The
/// wire has no room for which that is.
fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// The version bytes, if every Serf agent accepts them beside our own.
pub(super) fn sane_versions(vsn: &[u8]) -> Option<[u8; 6]> {
    let vsn = *vsn.first_chunk::<6>()?;
    let [node_min, node_max, node_now, serf_min, serf_max, serf_now] = vsn;
    let within = |min: u8, now: u8, max: u8| min <= now && now <= max;
    let node = node_min > 0
        && within(node_min, node_now, node_max)
        && within(node_min, VERSIONS[2], node_max)
        && within(VERSIONS[0], node_now, VERSIONS[1]);
    let serf = within(serf_min, serf_now, serf_max)
        && within(serf_min, VERSIONS[5], serf_max)
        && within(VERSIONS[3], serf_now, VERSIONS[4]);
    (node && serf).then_some(vsn)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(addr: &[u8], vsn: &[u8]) -> NodeRecord {
        let at = SocketAddr::from(([127, 0, 0, 1], 1));
        let addr = Bytes::copy_from_slice(addr);
        NodeRecord {
            addr,
            vsn: Bytes::copy_from_slice(vsn),
            ..NodeRecord::new(b"n", at, Bytes::new(), 1, NodeState::Alive)
        }
    }

    #[test]
    fn addresses_are_four_or_sixteen_bytes_and_name_a_host() {
        let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1];
        for good in [&[10, 0, 0, 1][..], &mapped] {
            assert_eq!(record(good, &VERSIONS).address(7946), Some(SocketAddr::from(([10, 0, 0, 1], 1))));
        }
        let link_local = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        for bad in [&[][..], &[1, 2, 3], &[0; 4], &[0; 16], &[224, 0, 0, 1], &link_local] {
            assert_eq!(record(bad, &VERSIONS).address(7946), None);
        }
        let portless = NodeRecord { port: 0, ..record(&[10, 0, 0, 1], &VERSIONS) };
        assert_eq!(portless.address(7946).unwrap().port(), 7946);
    }

    #[test]
    fn versions_that_would_stop_agents_from_joining_are_refused() {
        for good in [[1, 5, 2, 2, 5, 5], [1, 5, 2, 2, 5, 4], [1, 5, 2, 2, 5, 2], [1, 5, 5, 2, 5, 5]] {
            assert_eq!(record(&[], &good).versions(), Some(good));
        }
        let bad: [&[u8]; 9] = [
            &[],
            &[1, 5, 2],
            &[1, 5, 2, 2, 5],
            &[1, 5, 9, 2, 5, 5],
            &[1, 9, 9, 2, 5, 5],
            &[0, 5, 2, 2, 5, 5],
            &[5, 1, 2, 2, 5, 5],
            &[3, 5, 3, 2, 5, 5],
            &[1, 5, 2, 0, 0, 0],
        ];
        assert!(bad.iter().all(|vsn| record(&[], vsn).versions().is_none()));
    }
}
