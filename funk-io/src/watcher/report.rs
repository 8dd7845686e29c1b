//! What a node's process tells its watcher: the datagrams to send when it is gone.

use std::io::{self, Read};
use std::net::SocketAddr;

use bytes::Bytes;

/// Bytes of one report, so that a stream out of step asks for no memory: room for a datagram to each member, for some
/// hundreds of nodes in one process.
const REPORT_BYTES_MAX: usize = 256 << 20;

/// A datagram for each peer.
pub(super) type Words = Vec<(SocketAddr, Bytes)>;

/// A report: its length in four bytes, then a line for each peer, `ADDRESS HEX`.
pub(super) fn encode(words: &Words) -> Vec<u8> {
    let mut lines = String::new();
    for (to, bytes) in words {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        lines.push_str(&format!("{to} {hex}\n"));
    }
    let length = u32::try_from(lines.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length[..], lines.as_bytes()].concat()
}

/// Reads the next report, whole.
pub(super) fn read(from: &mut impl Read) -> io::Result<Words> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| malformed())?;
    if length > REPORT_BYTES_MAX {
        return Err(malformed());
    }
    let mut report = vec![0; length];
    from.read_exact(&mut report)?;
    let mut words = Words::new();
    for line in report.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let line = std::str::from_utf8(line).map_err(|_| malformed())?;
        let (to, hex) = line.split_once(' ').ok_or_else(malformed)?;
        words.push((to.parse().map_err(|_| malformed())?, from_hex(hex).ok_or_else(malformed)?));
    }
    Ok(words)
}

fn from_hex(text: &str) -> Option<Bytes> {
    let digits = text.as_bytes();
    let pairs = digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    if digits.len().is_multiple_of(2) { pairs.collect() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_survives_and_a_cut_one_is_refused() {
        let datagram = Bytes::from_static(&[0, 0xff, 10, 32]);
        let words = vec![("127.0.0.1:7".parse().unwrap(), datagram.clone()), ("[::1]:9".parse().unwrap(), datagram)];
        let bytes = encode(&words);
        assert_eq!(read(&mut &bytes[..]).unwrap(), words);
        for end in 0..bytes.len() {
            assert!(read(&mut &bytes[..end]).is_err(), "cut at {end}");
        }
        let huge = [0xff; 64];
        assert!(read(&mut &huge[..]).is_err());
    }
}
