//! Numbers, addresses and texts as bytes.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use funk_proto::wire::varint;

/// Takes fields off the front of a body; `None` where it ends too soon or holds what cannot be.
#[derive(Clone, Debug)]
pub(crate) struct Fields(pub(crate) Bytes);

impl Fields {
    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.0.has_remaining().then(|| self.0.get_u8())
    }

    pub(crate) fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        varint::take(&mut self.0)
    }

    pub(crate) fn small(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    pub(crate) fn length(&mut self) -> Option<Duration> {
        self.number().map(Duration::from_nanos)
    }

    pub(crate) fn word(&mut self) -> Option<u64> {
        (self.0.len() >= 8).then(|| self.0.get_u64_le())
    }

    pub(crate) fn bytes(&mut self) -> Option<Bytes> {
        let length = usize::try_from(self.number()?).ok().filter(|&length| length <= self.0.len())?;
        Some(self.0.split_to(length))
    }

    pub(crate) fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.0)
    }

    pub(crate) fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    pub(crate) fn address(&mut self) -> Option<SocketAddr> {
        let ip = match self.byte()? {
            4 => {
                let octets: [u8; 4] = self.take()?;
                IpAddr::from(octets)
            }
            6 => {
                let octets: [u8; 16] = self.take()?;
                let (scope, port) = (self.small()?, self.port()?);
                return Some(SocketAddrV6::new(octets.into(), port, 0, scope).into());
            }
            _ => return None,
        };
        Some(SocketAddr::new(ip, self.port()?))
    }

    fn port(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = *self.0.first_chunk()?;
        self.0.advance(N);
        Some(bytes)
    }

    /// A list; its length is not believed before its items have come.
    pub(crate) fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut list = Vec::new();
        for _ in 0..self.number()? {
            list.push(item(self)?);
        }
        Some(list)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    varint::put(out, bytes.len() as u64);
    out.put_slice(bytes);
}

pub(crate) fn put_length(out: &mut Vec<u8>, length: Duration) {
    varint::put(out, u64::try_from(length.as_nanos()).unwrap_or(u64::MAX));
}

pub(crate) fn put_address(out: &mut Vec<u8>, address: SocketAddr) {
    match address {
        SocketAddr::V4(v4) => {
            out.put_u8(4);
            out.put_slice(&v4.ip().octets());
        }
        SocketAddr::V6(v6) => {
            out.put_u8(6);
            out.put_slice(&v6.ip().octets());
            varint::put(out, v6.scope_id().into());
        }
    }
    out.put_u16_le(address.port());
}

pub(crate) fn put_list<T>(
    out: &mut Vec<u8>,
    items: impl ExactSizeIterator<Item = T>,
    mut put: impl FnMut(&mut Vec<u8>, T),
) {
    varint::put(out, items.len() as u64);
    items.for_each(|item| put(out, item));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive() {
        for address in ["10.0.0.1:7", "[::1]:65535", "[fe80::1%3]:9"].map(|text| text.parse().expect("an address")) {
            let mut out = Vec::new();
            put_address(&mut out, address);
            let mut fields = Fields(out.into());
            assert_eq!(fields.address(), Some(address));
            assert!(fields.is_empty());
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        assert_eq!(Fields(Bytes::from_static(&[9, 1, 2])).bytes(), None);
        assert_eq!(Fields(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f])).list(Fields::byte), None);
    }
}
