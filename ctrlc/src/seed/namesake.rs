//! Another live node of this seed's name. Gossip keeps whom it knew first and passes over the other, so a
//! seed of a taken name would never be seen: it is better told.

use std::net::SocketAddr;

use funk_io::discovery::JoinAddress;
use funk_io::{Cluster, Event, Events, Runtime};
use funk_proto::status::GossipStatus;
use funk_proto::wire::gossip::GossipMember;
use funk_proto::{Event as NodeEvent, GossipKeys, Refusal, Status};
use funk_rpc::client::{Seed, members};

use super::flags::SeedFlags;

/// Addresses at which joins failed that are looked at: where nobody but the namesake is, no join works.
const FAILED_MAX: usize = 8;
/// Members that are looked at: all know the same before long.
const MEMBERS_MAX: usize = 8;

/// Looks for a namesake when gossip tells of one.
pub(super) struct Namesakes {
    cluster: Cluster,
    cluster_name: String,
    serf: SocketAddr,
    join: Vec<JoinAddress>,
    keys: Option<GossipKeys>,
    events: Events,
    failed: Vec<SocketAddr>,
    conflicts: u64,
}

impl Namesakes {
    pub(super) fn of(cluster: &Cluster, serf: SocketAddr, flags: &SeedFlags, keys: Option<GossipKeys>) -> Self {
        Self {
            cluster: cluster.clone(),
            cluster_name: flags.cluster_name.to_string(),
            serf,
            join: flags.join.clone(),
            keys,
            events: cluster.events(),
            failed: Vec::new(),
            conflicts: 0,
        }
    }

    /// Why this seed cannot go on, if others know a live node of its name.
    pub(super) async fn look<R: Runtime>(&mut self, status: &Status) -> Option<Refusal> {
        while let Some(Ok(event)) = self.events.try_next() {
            if let Event::Node(NodeEvent::JoinFailed { address, .. }) = event
                && !self.failed.contains(&address)
            {
                self.failed.truncate(FAILED_MAX - 1);
                self.failed.insert(0, address);
            }
        }
        let conflicts = status.counters.gossip.conflicts;
        if std::mem::replace(&mut self.conflicts, conflicts) == conflicts {
            return None;
        }
        let others = status
            .members
            .iter()
            .filter(|member| member.gossip == GossipStatus::Alive && member.name != status.name.as_str());
        let others = others.filter_map(|member| member.gossip_address).take(MEMBERS_MAX);
        let others = others.chain(self.failed.iter().copied());
        let others = others.map(JoinAddress::Address).chain(self.join.iter().cloned());
        for other in others {
            let Some(claimed) = self.claim::<R>(other).await else { continue };
            // One that was killed is in gossip for a while, and this may be its restart.
            if self.claim::<R>(JoinAddress::Address(claimed)).await == Some(claimed) {
                return Some(Refusal::NameTaken(self.cluster.name().clone()));
            }
        }
        None
    }

    /// Where the node at `at` knows another node of this seed's name to be.
    async fn claim<R: Runtime>(&self, at: JoinAddress) -> Option<SocketAddr> {
        let members = members::<R>(&self.cluster_name, &[Seed::Gossip(at)], self.keys.as_ref()).await.ok()?;
        namesake(&members, self.cluster.name().as_str(), self.serf)
    }
}

/// Where a live member of this name is, other than the node at `own`.
fn namesake(members: &[GossipMember], name: &str, own: SocketAddr) -> Option<SocketAddr> {
    let there = members.iter().find(|member| member.name == name && member.status == GossipStatus::Alive)?;
    (there.addr != own).then_some(there.addr)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_seed_is_no_namesake_of_itself_or_of_one_that_is_gone() {
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let member = |name: &str, port, status| GossipMember {
            name: name.into(),
            addr: at(port),
            status,
            tags: BTreeMap::new(),
            incarnation: 1,
        };
        let alive = [member("a", 1, GossipStatus::Alive), member("b", 2, GossipStatus::Alive)];
        assert_eq!(namesake(&alive, "b", at(3)), Some(at(2)));
        assert_eq!(namesake(&alive, "b", at(2)), None);
        assert_eq!(namesake(&alive, "c", at(3)), None);
        assert_eq!(namesake(&[member("b", 2, GossipStatus::Failed)], "b", at(3)), None);
    }
}
