//! The names that nodes have in multicast DNS: `<cluster>_<kind>_<node>`.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// The service type of funk's nodes.
pub const SERVICE_TYPE: &str = "_clusterfunk._udp.local.";

/// What is at the registered address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// Gossip: where to join.
    Serf,
    /// Management.
    Mgmt,
    /// The service's own endpoint.
    Svc,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serf => "serf",
            Self::Mgmt => "mgmt",
            Self::Svc => "svc",
        })
    }
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "serf" => Ok(Self::Serf),
            "mgmt" => Ok(Self::Mgmt),
            "svc" => Ok(Self::Svc),
            _ => Err(()),
        }
    }
}

/// One registration of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Instance {
    /// The cluster's name.
    pub cluster: String,
    /// What is there.
    pub kind: Kind,
    /// The node's name.
    pub node: String,
    /// Where.
    pub addresses: Vec<SocketAddr>,
}

/// The first label of an instance.
pub(super) fn label(cluster: &str, kind: Kind, node: &str) -> String {
    format!("{cluster}_{kind}_{node}")
}

/// Cluster, kind and node of an instance's first label. Neither name has an
/// underscore, so there are three parts.
pub(super) fn split(label: &str) -> Option<(&str, Kind, &str)> {
    let mut parts = label.split('_');
    let (cluster, kind, node) = (parts.next()?, parts.next()?, parts.next()?);
    let whole = parts.next().is_none() && !cluster.is_empty() && !node.is_empty();
    whole.then_some((cluster, kind.parse().ok()?, node))
}

/// The first label of a full name, with its escapes undone.
pub(super) fn first_label(fullname: &str) -> Option<String> {
    let escaped = fullname.strip_suffix(SERVICE_TYPE)?.strip_suffix('.')?;
    let mut label = String::with_capacity(escaped.len());
    let mut characters = escaped.chars();
    while let Some(character) = characters.next() {
        label.push(if character == '\\' { characters.next()? } else { character });
    }
    Some(label)
}

/// The host name of a node: one DNS label that no other node has.
pub(super) fn host(cluster: &str, node: &str) -> String {
    let name = format!("{cluster}-{node}");
    if !name.contains('.') {
        return format!("{name}.local.");
    }
    // Another name may differ only in its dots. Two names of full length leave room for this much.
    let mark = name.bytes().fold(0_u16, |sum, byte| sum.rotate_left(5) ^ u16::from(byte));
    format!("{}-{mark:04x}.local.", name.replace('.', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_holds_cluster_kind_and_node() {
        let text = label("c.1", Kind::Serf, "n-2.x");
        assert_eq!(text, "c.1_serf_n-2.x");
        assert_eq!(split(&text), Some(("c.1", Kind::Serf, "n-2.x")));
        for foreign in ["", "c_serf", "c_serf_", "_serf_n", "c_http_n", "c_serf_n_m", "c_serf_n (2)_"] {
            assert_eq!(split(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_label_is_read_back_from_its_full_name() {
        assert_eq!(first_label(r"a\.b_serf_n._clusterfunk._udp.local.").as_deref(), Some("a.b_serf_n"));
        assert_eq!(first_label("a_serf_n._http._tcp.local."), None);
    }

    #[test]
    fn hosts_fit_one_label_and_differ_like_the_names() {
        let long = "a.".repeat(14);
        assert!(host(&long, &long).trim_end_matches(".local.").len() <= 63);
        assert_eq!(host("c", "n1"), "c-n1.local.");
        assert_ne!(host("c", "a.b-c"), host("c", "a-b.c"));
    }
}
