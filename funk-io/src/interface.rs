//! The address at which others reach this machine.

use std::net::{IpAddr, Ipv4Addr};

/// The address at which others reach this machine, as far as one can tell: the first IPv4 address that is neither
/// loopback nor link-local, else 127.0.0.1.
pub fn default_interface() -> IpAddr {
    let found = if_addrs::get_if_addrs().unwrap_or_default().into_iter().map(|interface| interface.ip());
    let usable =
        |ip: &IpAddr| matches!(ip, IpAddr::V4(ip) if !ip.is_loopback() && !ip.is_link_local() && !ip.is_unspecified());
    found.into_iter().find(usable).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}
