//! The addresses of this machine.

use std::net::{IpAddr, Ipv4Addr};

/// The IPv4 addresses of this machine, but for link-local ones.
pub fn addresses() -> Vec<Ipv4Addr> {
    let found = if_addrs::get_if_addrs().unwrap_or_default().into_iter();
    let usable = found.filter_map(|interface| match interface.ip() {
        IpAddr::V4(ip) if !ip.is_link_local() && !ip.is_unspecified() => Some(ip),
        _ => None,
    });
    usable.collect()
}
