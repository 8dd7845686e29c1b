//! A member as bytes. Its addresses are binary: text would take most of the
//! time of a whole state's encoding.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::NonZeroU32;

use bytes::{Buf, BufMut, Bytes};
use prost::Message;

use super::super::members::Member;
use crate::id::{BootId, LogIndex, RaftId};

/// One member of a saved state.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SavedMember {
    #[prost(fixed64, tag = "1")]
    id: u64,
    /// 0 while it is dead.
    #[prost(fixed64, tag = "2")]
    boot: u64,
    #[prost(string, tag = "3")]
    name: String,
    /// Its own addresses: gossip, cluster stream, liveness.
    #[prost(bytes = "bytes", tag = "4")]
    addresses: Bytes,
    /// The service's endpoints: name to address.
    #[prost(btree_map = "string, bytes", tag = "5")]
    endpoints: BTreeMap<String, Bytes>,
    #[prost(uint32, tag = "6")]
    weight: u32,
    #[prost(string, tag = "7")]
    zone: String,
    #[prost(bool, tag = "8")]
    never_votes: bool,
    #[prost(bool, tag = "9")]
    non_member: bool,
    #[prost(bool, tag = "10")]
    durable: bool,
    #[prost(uint64, tag = "11")]
    up_index: u64,
    #[prost(uint64, tag = "12")]
    taken_index: u64,
    #[prost(bool, tag = "13")]
    leaving: bool,
    #[prost(bool, tag = "14")]
    cordoned: bool,
    #[prost(uint32, tag = "15")]
    capacity: u32,
}

impl SavedMember {
    pub(super) fn new(member: &Member) -> Self {
        let mut addresses = Vec::with_capacity(64);
        for address in [member.serf, member.raft, member.liveness] {
            put(&mut addresses, address);
        }
        let endpoint = |(name, &address): (&String, &SocketAddr)| {
            let mut bytes = Vec::with_capacity(20);
            put(&mut bytes, address);
            (name.clone(), bytes.into())
        };
        Self {
            id: member.id.get(),
            boot: member.boot.map_or(0, BootId::get),
            name: member.name.as_str().to_owned(),
            addresses: addresses.into(),
            endpoints: member.endpoints.iter().map(endpoint).collect(),
            weight: member.weight,
            zone: member.zone.clone(),
            never_votes: member.never_votes,
            non_member: member.non_member,
            durable: member.durable,
            up_index: member.up_index.0,
            taken_index: member.taken_index.0,
            leaving: member.leaving,
            cordoned: member.cordoned,
            capacity: member.capacity.map_or(0, NonZeroU32::get),
        }
    }

    /// The member; `None` if a field is not what it should be.
    pub(super) fn restore(mut self) -> Option<Member> {
        let mut own = [take(&mut self.addresses)?, take(&mut self.addresses)?, take(&mut self.addresses)?].into_iter();
        let endpoints = self.endpoints.into_iter().map(|(name, mut bytes)| Some((name, take_last(&mut bytes)?)));
        let member = Member {
            id: RaftId::new(self.id)?,
            name: self.name.parse().ok()?,
            boot: BootId::new(self.boot),
            up_index: LogIndex(self.up_index),
            taken_index: LogIndex(self.taken_index),
            leaving: self.leaving,
            cordoned: self.cordoned,
            serf: own.next()?,
            raft: own.next()?,
            liveness: own.next()?,
            endpoints: endpoints.collect::<Option<_>>()?,
            weight: self.weight,
            capacity: NonZeroU32::new(self.capacity),
            zone: self.zone,
            never_votes: self.never_votes,
            non_member: self.non_member,
            durable: self.durable,
        };
        (self.addresses.is_empty() && member.is_sound()).then_some(member)
    }
}

/// Bytes of the IP address, the address, with version 6 its scope, the port.
fn put(out: &mut impl BufMut, address: SocketAddr) {
    match address {
        SocketAddr::V4(address) => {
            out.put_u8(4);
            out.put_slice(&address.ip().octets());
        }
        SocketAddr::V6(address) => {
            out.put_u8(16);
            out.put_slice(&address.ip().octets());
            out.put_u32(address.scope_id());
        }
    }
    out.put_u16(address.port());
}

fn take(from: &mut Bytes) -> Option<SocketAddr> {
    match from.try_get_u8().ok()? {
        4 => {
            let ip = Ipv4Addr::from_bits(from.try_get_u32().ok()?);
            Some(SocketAddrV4::new(ip, from.try_get_u16().ok()?).into())
        }
        16 => {
            let ip = Ipv6Addr::from_bits(from.try_get_u128().ok()?);
            let scope = from.try_get_u32().ok()?;
            Some(SocketAddrV6::new(ip, from.try_get_u16().ok()?, 0, scope).into())
        }
        _ => None,
    }
}

fn take_last(from: &mut Bytes) -> Option<SocketAddr> {
    take(from).filter(|_| from.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_kinds_survive_and_what_is_cut_is_refused() {
        for text in ["127.0.0.1:7000", "[2001:db8::7]:65535", "[fe80::1%3]:80"] {
            let address: SocketAddr = text.parse().unwrap();
            let mut bytes = Vec::new();
            put(&mut bytes, address);
            let bytes = Bytes::from(bytes);
            assert_eq!(take_last(&mut bytes.clone()), Some(address));
            for cut in 0..bytes.len() {
                assert_eq!(take(&mut bytes.slice(..cut)), None);
            }
        }
        assert_eq!(take(&mut Bytes::from_static(&[5, 1, 2, 3, 4, 5, 6, 7])), None);
    }
}
