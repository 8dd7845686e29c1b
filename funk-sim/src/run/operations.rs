//! What an operator asks for, and how hosts differ.

use std::num::NonZeroU32;
use std::time::Duration;

use funk_proto::config::Participation;
use funk_proto::consensus::RaftRole;
use funk_proto::id::NodeName;
use funk_proto::rng::{Rng, Stream};
use funk_proto::{NodeConfig, Request, Seed};

use super::Runner;
use crate::fault::{Fault, Kind};
use crate::plan::Plan;

/// Gives a host a drain timeout of its own, and in a mixed cluster a weight, a capacity, a zone and a part.
pub(super) fn mix(plan: &Plan, at: usize, config: &mut NodeConfig) {
    let mut rng = Rng::new(Seed::from_u64(plan.seed ^ (at as u64 + 1) << 32), Stream::Identity);
    config.drain_timeout = Duration::from_millis(
        [0, 40, 200, 2_000][usize::try_from(plan.seed.wrapping_add(at as u64) % 4).expect("small")],
    );
    if !plan.mixed {
        return;
    }
    config.weight = [1, 1, 2, 3, 7][usize::try_from(rng.below(5)).expect("small")];
    let room = 1 + u32::try_from(rng.below(plan.shards.into())).expect("below a u32");
    config.capacity = NonZeroU32::new(room).filter(|_| rng.below(4) == 0);
    config.zone = ["", "a", "b", "c"][usize::try_from(rng.below(4)).expect("small")].into();
    if plan.nodes >= 4 && at + 1 == plan.nodes && rng.below(3) == 0 {
        config.participation = Participation::Learner;
    }
}

impl Runner<'_> {
    fn leader(&self) -> Option<usize> {
        let leads = |&at: &usize| self.world.hosts()[at].facts().is_some_and(|facts| facts.role == RaftRole::Leader);
        self.regular().into_iter().find(leads)
    }

    fn name(&self, host: usize) -> NodeName {
        self.world.hosts()[host].config.name.clone()
    }

    /// Who is meant by the name of this host: an impostor may have taken its place.
    fn bearer(&self, host: usize) -> usize {
        let name = self.name(host);
        self.regular().into_iter().find(|&at| self.name(at) == name).unwrap_or(host)
    }

    /// Asks whoever leads; true if it took the request on.
    fn operate(&mut self, request: Request) -> bool {
        self.leader().is_some_and(|leader| self.world.request(leader, request).is_ok())
    }

    /// An operation on the first of these hosts.
    pub(super) fn begin_operation(&mut self, index: usize, fault: &Fault, hosts: &[usize]) {
        let host = hosts.first().copied().unwrap_or(0);
        let host = if matches!(fault.kind, Kind::Drain | Kind::Evict) { self.bearer(host) } else { host };
        let on = match fault.kind {
            Kind::StepDown => self.operate(Request::StepDown),
            Kind::Pin => {
                let node = Some(self.name(host));
                self.operate(Request::Pin { shards: self.pinned(fault), node })
            }
            Kind::Weigh => {
                let weight = u32::try_from(fault.amount).expect("drawn small");
                self.operate(Request::SetWeight(self.name(host), weight))
            }
            Kind::Drain => self.drain(host),
            Kind::Evict => self.evict(host),
            _ => {
                let address = Some(self.world.hosts()[host].address(u16::try_from(fault.amount).expect("drawn small")));
                self.set_endpoint(host, address)
            }
        };
        self.hits[index].on = on;
        self.hits[index].hosts = if on { vec![host] } else { Vec::new() };
    }

    pub(super) fn end_operation(&mut self, fault: &Fault, host: usize) {
        match fault.kind {
            Kind::Pin => {
                self.operate(Request::Pin { shards: self.pinned(fault), node: None });
            }
            Kind::Weigh => {
                let weight = self.world.hosts()[host].config.weight;
                self.operate(Request::SetWeight(self.name(host), weight));
            }
            Kind::Drain => self.undrain(host),
            Kind::Evict => self.come_back(host),
            Kind::Endpoint => {
                self.set_endpoint(host, None);
            }
            _ => {}
        }
    }

    /// The shards of a fault's amount: where they begin, and how many.
    fn pinned(&self, fault: &Fault) -> std::ops::Range<u32> {
        let amount = u32::try_from(fault.amount).expect("drawn small");
        let start = amount % self.plan.shards;
        start..(start + 1 + amount / self.plan.shards).min(self.plan.shards)
    }

    fn set_endpoint(&mut self, host: usize, address: Option<std::net::SocketAddr>) -> bool {
        let request = Request::SetEndpoint { name: "ep.sim".into(), address };
        self.world.hosts()[host].runs() && self.world.request(host, request).is_ok()
    }

    /// One at a time, so that somebody may own the shards.
    fn drain(&mut self, host: usize) -> bool {
        let others = self.leaving.iter().any(|&leaving| leaving) || self.drained.is_some();
        let asked = !others && self.staying(&[host]) >= 2 && self.operate(Request::Drain(self.name(host)));
        if asked {
            self.drained = Some(host);
        }
        asked
    }

    /// A drained node gets shards again when it is started again, which it cannot be where its vote would be lost.
    pub(super) fn undrain(&mut self, host: usize) {
        let exists = self.world.hosts()[host].exists();
        let may = self.plan.durable || self.world.is_spare(host);
        if !exists || may {
            self.drained = None;
        }
        if exists && may {
            self.stopped[host] = 0;
            let reaped = self.world.hosts()[host].is_paused();
            self.world.end_with_words(host, reaped);
            if self.down[host] == 0 {
                self.start_again(host);
            }
        }
    }

    /// Takes a member out that has to be let in anew.
    fn evict(&mut self, host: usize) -> bool {
        let others = self.leaving.iter().any(|&leaving| leaving) || self.drained.is_some();
        let may = !others && self.staying(&[host]) >= 2 && self.world.hosts()[host].runs();
        let asked = may && self.operate(Request::RemoveMember(self.name(host)));
        if asked {
            self.leaving[host] = true;
        }
        asked
    }
}
