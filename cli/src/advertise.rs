//! What others are told, where it is not what is bound.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use clap::Args;

/// The flag that holds for every endpoint.
#[derive(Clone, Debug, Default, Args)]
pub struct AdvertiseIp {
    /// IP that others are told for every endpoint, or a name that has it, where that is not what is bound
    #[arg(long, env = "FUNK_ADVERTISE", value_name = "ADDR")]
    pub advertise: Option<String>,
}

impl AdvertiseIp {
    /// The IP that others are told; a name is looked up.
    ///
    /// # Errors
    /// One line that names the flag.
    pub fn ip(&self) -> Result<Option<IpAddr>, String> {
        let Some(text) = &self.advertise else { return Ok(None) };
        let found = match text.parse::<IpAddr>() {
            Ok(ip) => ip,
            Err(_) => look_up("--advertise", text, (text.as_str(), 0))?.ip(),
        };
        check("--advertise", text, found).map(Some)
    }
}

/// What others are told instead of what `bound` says; a name is looked up. Port 0 is the one that is bound.
///
/// # Errors
/// One line that names the flag.
pub fn advertised(flag: &str, text: &str) -> Result<SocketAddr, String> {
    if text.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
        return Err(format!("{flag} {text}: give HOST:PORT, as others reach it"));
    }
    let found = look_up(flag, text, text)?;
    check(flag, text, found.ip())?;
    Ok(found)
}

/// The name in `HOST:PORT` or `HOST`, if it is no address.
pub fn name_of(text: &str) -> Option<&str> {
    let is_address = text.parse::<IpAddr>().is_ok() || text.parse::<SocketAddr>().is_ok();
    let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
    (!is_address).then_some(host)
}

/// Of several addresses that of IPv4 is taken, as most nodes bind.
fn look_up(flag: &str, text: &str, name: impl ToSocketAddrs) -> Result<SocketAddr, String> {
    let found = name.to_socket_addrs().map_err(|error| format!("{flag} {text} does not resolve: {error}"))?;
    let mut found: Vec<SocketAddr> = found.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    found.first().copied().ok_or_else(|| format!("{flag} {text} does not resolve: the name has no address"))
}

fn check(flag: &str, text: &str, ip: IpAddr) -> Result<IpAddr, String> {
    if ip.is_unspecified() || ip.is_multicast() {
        return Err(format!(
            "{flag} {text} is no address that others can reach: give the one at which they reach this node"
        ));
    }
    Ok(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Result<Option<IpAddr>, String> {
        AdvertiseIp { advertise: Some(text.into()) }.ip()
    }

    #[test]
    fn names_are_looked_up() {
        assert_eq!(ip("localhost").unwrap(), Some([127, 0, 0, 1].into()));
        assert_eq!(ip("192.0.2.1").unwrap(), Some([192, 0, 2, 1].into()));
        assert_eq!(advertised("--x", "localhost:7").unwrap(), ([127, 0, 0, 1], 7).into());
        assert_eq!(advertised("--x", "[2001:db8::1]:0").unwrap(), "[2001:db8::1]:0".parse().unwrap());
        assert_eq!(AdvertiseIp::default().ip(), Ok(None));
    }

    #[test]
    fn what_nobody_reaches_is_refused_by_the_flag_s_name() {
        for text in ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "no-such-host.invalid", "192.0.2.1:7", ""] {
            let error = ip(text).unwrap_err();
            assert!(error.starts_with("--advertise ") && !error.contains('\n'), "{error}");
        }
        for text in ["0.0.0.0:7", "[::]:7", "224.0.0.1:7", "no-such-host.invalid:7", "192.0.2.1", "192.0.2.1:x", ":7"] {
            let error = advertised("--advertise-raft", text).unwrap_err();
            assert!(error.starts_with("--advertise-raft ") && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn only_a_name_is_one() {
        let names = ["lb.example:80", "lb.example", "192.0.2.1", "192.0.2.1:80", "::1", "[::1]:80"].map(name_of);
        assert_eq!(names, [Some("lb.example"), Some("lb.example"), None, None, None, None]);
    }
}
