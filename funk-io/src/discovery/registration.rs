//! What a node registers by multicast DNS, and what it makes of others' registrations.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mdns_sd::ServiceInfo;

use super::Found;
use super::instance::{Instance, Kind, SERVICE_TYPE, host, label};

/// What every registration says besides where it is.
pub(super) const TEXTS: [(&str, &str); 2] = [("txtv", "0"), ("name", "clusterfunk cluster node")];
/// What this node registers.
#[derive(Clone, Debug)]
pub(super) struct Registration {
    pub(super) cluster: String,
    pub(super) node: String,
    /// An address of this machine: its interface is the one on which it registers.
    pub(super) interface: IpAddr,
    /// What others are told.
    pub(super) serf: SocketAddr,
    pub(super) service: Option<SocketAddr>,
    pub(super) management: Option<SocketAddr>,
    /// Time after which it registers.
    pub(super) after: Duration,
}

impl Registration {
    /// What is registered.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = (Kind, SocketAddr)> {
        let others = [(Kind::Svc, self.service), (Kind::Mgmt, self.management)];
        let others = others.into_iter().filter_map(|(kind, address)| Some((kind, address?)));
        std::iter::once((Kind::Serf, self.serf)).chain(others)
    }

    pub(super) fn info(&self, kind: Kind, address: SocketAddr) -> Result<ServiceInfo, mdns_sd::Error> {
        let name = label(&self.cluster, kind, &self.node);
        let host = host(&self.cluster, &self.node);
        let mut info = ServiceInfo::new(SERVICE_TYPE, &name, &host, address.ip(), address.port(), &TEXTS[..])?;
        // Node names are unique in a cluster. Probing would take most of a second.
        info.set_requires_probe(false);
        Ok(info)
    }

    /// What to tell of an instance: gossip addresses of other nodes of this
    /// cluster. One that has this node's name is another if it is elsewhere.
    pub(super) fn up(&self, mut instance: Instance) -> Option<Found> {
        let ours = instance.cluster == self.cluster && instance.kind == Kind::Serf;
        instance.addresses.retain(|address| *address != self.serf && !is_link_local(address.ip()));
        (ours && !instance.addresses.is_empty()).then(|| Found::Up {
            instance: label(&instance.cluster, instance.kind, &instance.node),
            node: Some(instance.node),
            addresses: instance.addresses,
        })
    }
}

/// Whether an address means something only on a link that it does not name.
fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up(node: &str, addresses: &[&str]) -> Option<Vec<SocketAddr>> {
        let registration = Registration {
            cluster: "c".into(),
            node: "n1".into(),
            interface: [10, 0, 0, 1].into(),
            serf: "10.0.0.1:7".parse().unwrap(),
            service: None,
            management: None,
            after: Duration::ZERO,
        };
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let instance = Instance { cluster: "c".into(), kind: Kind::Serf, node: node.into(), addresses };
        match registration.up(instance)? {
            Found::Up { addresses, .. } => Some(addresses),
            _ => None,
        }
    }

    #[test]
    fn a_node_of_the_same_name_elsewhere_is_found_and_this_one_is_not() {
        assert_eq!(up("n1", &["10.0.0.1:7"]), None);
        assert_eq!(up("n1", &["10.0.0.2:7"]), Some(vec!["10.0.0.2:7".parse().unwrap()]));
        assert_eq!(up("n1", &["10.0.0.1:9"]), Some(vec!["10.0.0.1:9".parse().unwrap()]));
        // The daemon may take both for one instance with two addresses.
        assert_eq!(up("n1", &["10.0.0.1:7", "10.0.0.2:7"]), Some(vec!["10.0.0.2:7".parse().unwrap()]));
    }

    #[test]
    fn link_local_addresses_are_passed_over() {
        assert_eq!(up("n2", &["[fe80::1]:7"]), None);
        assert_eq!(up("n2", &["[fe80::1]:7", "[fd00::1]:7"]), Some(vec!["[fd00::1]:7".parse().unwrap()]));
    }
}
