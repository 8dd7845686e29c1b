//! Join addresses as people write them.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// The scheme of a name with service records.
const SRV_SCHEME: &str = "dns+srv://";
/// The scheme of a program that prints addresses.
const PROGRAM_SCHEME: &str = "exec://";

/// Where to join.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum JoinAddress {
    /// An address.
    Address(SocketAddr),
    /// A name and a port: every address that the name has, looked up again and again.
    Name {
        /// The name.
        host: String,
        /// The port.
        port: u16,
    },
    /// A name whose service records name hosts and ports.
    Service(String),
    /// The absolute path of a program that prints one address a line, run again and again.
    Program(String),
}

/// A text that is no join address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadJoinAddress(String);

impl fmt::Display for BadJoinAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no join address: give HOST:PORT, {SRV_SCHEME}NAME or {PROGRAM_SCHEME}/PATH", self.0)
    }
}

impl std::error::Error for BadJoinAddress {}

impl FromStr for JoinAddress {
    type Err = BadJoinAddress;

    fn from_str(text: &str) -> Result<Self, BadJoinAddress> {
        let bad = || BadJoinAddress(text.to_owned());
        if let Some(name) = text.strip_prefix(SRV_SCHEME) {
            return if is_name(name) { Ok(Self::Service(name.to_owned())) } else { Err(bad()) };
        }
        if let Some(path) = text.strip_prefix(PROGRAM_SCHEME) {
            let is_absolute = path.starts_with('/') && !path.contains('\0');
            return if is_absolute { Ok(Self::Program(path.to_owned())) } else { Err(bad()) };
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return if address.port() == 0 { Err(bad()) } else { Ok(Self::Address(address)) };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        match port.parse() {
            Ok(port) if port != 0 && is_name(host) => Ok(Self::Name { host: host.to_owned(), port }),
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for JoinAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
            Self::Service(name) => write!(f, "{SRV_SCHEME}{name}"),
            Self::Program(path) => write!(f, "{PROGRAM_SCHEME}{path}"),
        }
    }
}

/// Something that may be looked up in DNS. Whether it is there shows later.
fn is_name(text: &str) -> bool {
    let labels = text.strip_suffix('.').unwrap_or(text).split('.');
    let legal = |label: &str| {
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !label.is_empty() && label.len() <= 63 && label.bytes().all(inside)
    };
    text.len() <= 253 && labels.into_iter().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_address_is_an_address_a_name_or_a_service() {
        for (text, meant) in [
            ("127.0.0.1:9", JoinAddress::Address("127.0.0.1:9".parse().unwrap())),
            ("[::1]:9", JoinAddress::Address("[::1]:9".parse().unwrap())),
            ("seed.example.org:7946", JoinAddress::Name { host: "seed.example.org".into(), port: 7946 }),
            ("localhost:1", JoinAddress::Name { host: "localhost".into(), port: 1 }),
            ("dns+srv://_serf._tcp.example.org", JoinAddress::Service("_serf._tcp.example.org".into())),
            ("exec:///etc/funk/peers", JoinAddress::Program("/etc/funk/peers".into())),
        ] {
            let read: JoinAddress = text.parse().unwrap();
            assert_eq!((&read, read.to_string().as_str()), (&meant, text));
        }
    }

    #[test]
    fn what_can_never_be_reached_is_refused_by_name() {
        for text in [
            "",
            "127.0.0.1",
            "a",
            "a:",
            "a:x",
            "a:0",
            "127.0.0.1:0",
            ":1",
            "a b:1",
            "a..b:1",
            "dns+srv://",
            "exec://",
            "exec://peers",
            "http://a:1",
        ] {
            let error = text.parse::<JoinAddress>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")) && error.contains("HOST:PORT"), "{error}");
        }
    }
}
