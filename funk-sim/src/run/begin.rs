//! Faults begin and end.

use std::time::Duration;

use funk_proto::{Request, Timestamp};

use super::{Action, Runner};
use crate::disk::DiskConditions;
use crate::fault::{Fault, Kind};
use crate::network::Conditions;

impl Runner<'_> {
    pub(super) fn begin(&mut self, index: usize) {
        if self.healed {
            return;
        }
        let fault = self.plan.faults[index];
        let hosts = fault.hosts(self.plan.nodes);
        let before = self.world.tally.faults.get(fault.kind.word()).copied().unwrap_or(0);
        self.hits[index].on = true;
        self.begin_kind(index, &fault, &hosts);
        if self.hits[index].on {
            self.world.tally.faults.insert(fault.kind.word(), before + 1);
            let names: Vec<String> = self.hits[index].hosts.iter().map(|at| format!("n{at}")).collect();
            let (kind, length, amount) = (fault.kind.word(), fault.length, fault.amount);
            self.tell(|| format!("{kind} begins for {length} ms, amount {amount}, nodes {names:?}"));
            let (now, lanes) = (self.world.now(), self.hits[index].hosts.clone());
            let picture = self.world.picture_mut();
            self.hits[index].drawn = picture.map(|picture| picture.trouble_begins(now, kind, lanes, amount));
            self.after(fault.length, Action::End(index));
        }
    }

    fn begin_kind(&mut self, index: usize, fault: &Fault, hosts: &[usize]) {
        match fault.kind {
            Kind::Kill
            | Kind::PowerOff
            | Kind::Wipe
            | Kind::Move
            | Kind::RestartStorm
            | Kind::MassKill
            | Kind::Rot
            | Kind::Exit
            | Kind::Upgrade => {
                self.take_down(index, fault, hosts);
            }
            Kind::FullDisk => self.fill_disks(index, hosts),
            Kind::Pause => {
                hosts.iter().for_each(|&host| self.stop(host));
                self.hits[index].hosts = hosts.to_vec();
            }
            Kind::Freeze => {
                for &host in hosts {
                    self.stopped[host] += 1;
                    self.world.freeze(host);
                }
                self.hits[index].hosts = hosts.to_vec();
            }
            Kind::Partition | Kind::Outbound | Kind::Inbound | Kind::Partial | Kind::Ring => {
                self.cut_links(index, fault.kind, hosts);
            }
            Kind::SwizzleClog => self.swizzle(index, fault, hosts),
            Kind::Drift | Kind::DriftPast => self.drift(index, fault, hosts),
            Kind::SlowDisk => self.slow_disks(index, fault, hosts),
            Kind::Gray => self.gray(index, hosts, true),
            Kind::Deaf => self.listen(index, hosts, false),
            Kind::Shut => {
                self.listen(index, hosts, false);
                hosts.iter().for_each(|&host| self.world.break_streams(host));
            }
            Kind::Reject => self.reject(index, hosts, true),
            Kind::Stutter
            | Kind::Flap
            | Kind::Forge
            | Kind::FalseGoodbye
            | Kind::Malformed
            | Kind::Flood
            | Kind::Slander
            | Kind::Insider
            | Kind::Crowd
            | Kind::Pool => {
                self.hits[index].hosts = hosts.to_vec();
                self.tick(index);
            }
            Kind::Loss | Kind::Duplicate | Kind::Reorder | Kind::Delay | Kind::Corrupt | Kind::Replay => {
                set_condition(&mut self.world.network.conditions, fault.kind, fault.amount);
            }
            Kind::Impostor => self.impostor(index, hosts),
            Kind::Foreign => self.foreign(index, fault),
            Kind::Join => self.newcomer(index),
            Kind::Leave => self.leave(index, hosts),
            Kind::StepDown | Kind::Pin | Kind::Weigh | Kind::Drain | Kind::Evict | Kind::Endpoint => {
                self.begin_operation(index, fault, hosts);
            }
        }
    }

    fn drift(&mut self, index: usize, fault: &Fault, hosts: &[usize]) {
        let ppm = fault.amount.cast_signed() * if fault.amount % 2 == 1 { -1 } else { 1 };
        for &host in hosts {
            let sign = if host % 2 == 1 { -1 } else { 1 };
            self.world.set_drift(host, ppm * sign);
        }
        self.hits[index].hosts = hosts.to_vec();
    }

    fn slow_disks(&mut self, index: usize, fault: &Fault, hosts: &[usize]) {
        let flush = Duration::from_millis(fault.amount);
        for &host in hosts {
            let conditions = &mut self.world.host_mut(host).disk.conditions;
            (conditions.flush_min, conditions.flush_max) = (flush / 2, flush);
        }
        self.hits[index].hosts = hosts.to_vec();
    }

    pub(super) fn end(&mut self, index: usize) {
        if !std::mem::replace(&mut self.hits[index].on, false) {
            return;
        }
        let fault = self.plan.faults[index];
        self.tell(|| format!("{} ends", fault.kind.word()));
        let (now, drawn) = (self.world.now(), self.hits[index].drawn);
        if let Some((picture, drawn)) = self.world.picture_mut().zip(drawn) {
            picture.trouble_ends(now, drawn);
        }
        let hosts = std::mem::take(&mut self.hits[index].hosts);
        for (from, to) in std::mem::take(&mut self.hits[index].cuts) {
            self.world.network.mend(from, to);
        }
        match fault.kind {
            Kind::Kill
            | Kind::PowerOff
            | Kind::Wipe
            | Kind::Move
            | Kind::RestartStorm
            | Kind::MassKill
            | Kind::Rot
            | Kind::Exit
            | Kind::Upgrade => {
                hosts.iter().for_each(|&host| self.bring_up(host, fault.kind));
            }
            Kind::Pause | Kind::Freeze => hosts.iter().for_each(|&host| self.let_go(host)),
            Kind::Drift | Kind::DriftPast => hosts.iter().for_each(|&host| self.world.set_drift(host, 0)),
            Kind::SlowDisk => {
                for &host in &hosts {
                    let conditions = &mut self.world.host_mut(host).disk.conditions;
                    *conditions = DiskConditions { full: conditions.full, ..DiskConditions::default() };
                }
            }
            Kind::FullDisk => self.empty_disks(&hosts),
            Kind::Gray => self.gray(index, &hosts, false),
            Kind::Deaf | Kind::Shut => self.listen(index, &hosts, true),
            Kind::Reject => self.reject(index, &hosts, false),
            Kind::Loss | Kind::Duplicate | Kind::Reorder | Kind::Corrupt | Kind::Replay => {
                set_condition(&mut self.world.network.conditions, fault.kind, 0);
            }
            Kind::Delay => set_condition(&mut self.world.network.conditions, Kind::Delay, 160),
            Kind::Impostor | Kind::Foreign => hosts.iter().for_each(|&host| self.remove(host)),
            Kind::Join => hosts.iter().for_each(|&host| self.see_off(host)),
            Kind::Leave => hosts.iter().for_each(|&host| self.come_back(host)),
            Kind::Partition | Kind::Outbound | Kind::Inbound | Kind::Partial | Kind::Ring | Kind::Flap => {}
            Kind::SwizzleClog | Kind::Stutter | Kind::Forge | Kind::FalseGoodbye => {}
            Kind::Malformed | Kind::Flood | Kind::Slander | Kind::Insider | Kind::Crowd | Kind::Pool => {}
            Kind::StepDown | Kind::Pin | Kind::Weigh | Kind::Drain | Kind::Evict | Kind::Endpoint => {
                hosts.iter().for_each(|&host| self.end_operation(&fault, host));
            }
        }
        self.world.flush_streams();
    }

    /// What a fault does again and again.
    pub(super) fn tick(&mut self, index: usize) {
        let fault = self.plan.faults[index];
        let hosts = self.hits[index].hosts.clone();
        let pause = match fault.kind {
            Kind::Stutter => {
                self.stutter(&hosts, fault.amount);
                fault.amount * 2 + self.rng.below(300)
            }
            Kind::Gray => {
                self.stutter(&hosts, 60);
                100 + self.rng.below(200)
            }
            Kind::Flap => {
                self.flap(index, &hosts);
                fault.amount
            }
            Kind::RestartStorm => {
                self.storm(&hosts);
                (fault.length / fault.amount.max(1)).max(1)
            }
            Kind::Forge => {
                self.forge(&hosts);
                1_000 / fault.amount.max(1)
            }
            Kind::FalseGoodbye => {
                hosts.iter().for_each(|&host| self.world.false_goodbye(host));
                1_000 / fault.amount.max(1)
            }
            Kind::Malformed => {
                self.malformed(&hosts);
                1_000 / fault.amount.max(1)
            }
            Kind::Slander => {
                self.slander(&hosts);
                1_000 / fault.amount.max(1)
            }
            Kind::Insider => {
                self.betray(&hosts);
                1_000 / fault.amount.max(1)
            }
            Kind::Crowd => return self.crowd(&hosts, fault.amount),
            Kind::Pool => return self.pool(&hosts, fault.amount),
            Kind::Flood => {
                self.flood(&hosts, fault.amount / 100);
                10
            }
            _ => return,
        };
        self.after(pause.max(1), Action::Tick(index));
    }

    /// Kills those whose loss leaves a quorum.
    fn take_down(&mut self, index: usize, fault: &Fault, hosts: &[usize]) {
        for &host in hosts {
            let keeps = self.plan.durable && !matches!(fault.kind, Kind::Wipe | Kind::Rot);
            if !self.world.hosts()[host].exists() || !(keeps || self.world.is_spare(host)) {
                continue;
            }
            self.stopped[host] = 0;
            self.leaving[host] = false;
            match fault.kind {
                Kind::PowerOff => self.world.power_off(host),
                Kind::Exit | Kind::Upgrade => {
                    let reaped = fault.amount % 2 == 1 || self.world.hosts()[host].is_paused();
                    self.world.end_with_words(host, reaped);
                }
                _ => self.world.kill(host),
            }
            match fault.kind {
                Kind::Wipe => self.world.host_mut(host).disk.replace(),
                Kind::Rot => self.rot(host),
                Kind::Upgrade => {
                    let newer = &mut self.world.host_mut(host).newer;
                    *newer = !*newer;
                }
                _ => {}
            }
            self.down[host] += 1;
            self.hits[index].hosts.push(host);
        }
        self.hits[index].on = !self.hits[index].hosts.is_empty();
        if fault.kind == Kind::RestartStorm && self.hits[index].on {
            self.after(1 + self.rng.clone().below(100), Action::Tick(index));
        }
    }

    pub(super) fn bring_up(&mut self, host: usize, kind: Kind) {
        self.down[host] = self.down[host].saturating_sub(1);
        if self.down[host] > 0 || self.world.hosts()[host].exists() {
            return;
        }
        if kind == Kind::Move {
            let config = &mut self.world.host_mut(host).config;
            for address in [&mut config.serf, &mut config.raft, &mut config.liveness] {
                if let std::net::SocketAddr::V4(v4) = address {
                    let [a, b, generation, d] = v4.ip().octets();
                    v4.set_ip([a, b, generation.wrapping_add(1), d].into());
                }
            }
        }
        self.start_again(host);
    }

    /// Starts and kills over and over.
    fn storm(&mut self, hosts: &[usize]) {
        for &host in hosts {
            if !self.world.hosts()[host].exists() {
                self.start_again(host);
            } else if self.plan.durable || self.world.is_spare(host) {
                self.stopped[host] = 0;
                self.world.kill(host);
            }
        }
    }

    pub(super) fn stop(&mut self, host: usize) {
        self.stopped[host] += 1;
        self.world.pause(host);
    }

    pub(super) fn let_go(&mut self, host: usize) {
        self.stopped[host] = self.stopped[host].saturating_sub(1);
        if self.stopped[host] == 0 {
            self.world.resume(host);
        }
    }

    fn stutter(&mut self, hosts: &[usize], length: u64) {
        for &host in hosts {
            self.stop(host);
            let length = 1 + self.rng.below(length.max(1));
            self.after(length, Action::Resume(host));
        }
    }

    fn cut_links(&mut self, index: usize, kind: Kind, hosts: &[usize]) {
        let all = self.world.hosts().len();
        let inside = |at: usize| hosts.contains(&at);
        for from in 0..all {
            for to in (0..all).filter(|&to| to != from) {
                let cut = match kind {
                    Kind::Outbound => inside(from) && !inside(to),
                    Kind::Inbound => !inside(from) && inside(to),
                    Kind::Partial => inside(from) && inside(to),
                    Kind::Ring => from.abs_diff(to) != 1 && from.abs_diff(to) != self.plan.nodes - 1,
                    _ => inside(from) != inside(to),
                };
                if cut {
                    self.world.network.cut(from, to);
                    self.hits[index].cuts.push((from, to));
                }
            }
        }
        self.hits[index].hosts = hosts.to_vec();
    }

    fn flap(&mut self, index: usize, hosts: &[usize]) {
        let cuts = std::mem::take(&mut self.hits[index].cuts);
        if cuts.is_empty() {
            self.cut_links(index, Kind::Partition, hosts);
        } else {
            cuts.into_iter().for_each(|(from, to)| self.world.network.mend(from, to));
            self.world.flush_streams();
        }
    }

    fn swizzle(&mut self, index: usize, fault: &Fault, hosts: &[usize]) {
        let third = fault.length / 3;
        for &host in hosts {
            let start = self.rng.below(third.max(1));
            let stop = fault.length - self.rng.below(third.max(1));
            let until = self.world.now() + Duration::from_millis(stop);
            self.after(start, Action::Clog(host, until));
        }
        self.hits[index].hosts = hosts.to_vec();
    }

    pub(super) fn clog(&mut self, host: usize, until: Timestamp) {
        for other in (0..self.world.hosts().len()).filter(|&other| other != host) {
            for (from, to) in [(host, other), (other, host)] {
                let link = self.world.network.link_mut(from, to);
                link.clogged_until = link.clogged_until.max(until);
            }
        }
    }

    fn gray(&mut self, index: usize, hosts: &[usize], on: bool) {
        for &host in hosts {
            for other in (0..self.world.hosts().len()).filter(|&other| other != host) {
                for (from, to) in [(host, other), (other, host)] {
                    let link = self.world.network.link_mut(from, to);
                    link.loss = if on { 300_000 } else { 0 };
                    link.extra_delay = if on { Duration::from_millis(20) } else { Duration::ZERO };
                }
            }
        }
        self.hits[index].hosts = hosts.to_vec();
        if on {
            self.tick(index);
        }
    }

    fn listen(&mut self, index: usize, hosts: &[usize], on: bool) {
        hosts.iter().for_each(|&host| self.world.host_mut(host).listening = on);
        self.hits[index].hosts = hosts.to_vec();
    }

    fn reject(&mut self, index: usize, hosts: &[usize], on: bool) {
        for &host in hosts {
            for other in (0..self.world.hosts().len()).filter(|&other| other != host) {
                let link = self.world.network.link_mut(other, host);
                link.rejects = if on { link.rejects + 1 } else { link.rejects.saturating_sub(1) };
            }
        }
        self.hits[index].hosts = hosts.to_vec();
    }

    fn leave(&mut self, index: usize, hosts: &[usize]) {
        let staying = self.staying(hosts);
        let others = self.leaving.iter().any(|&leaving| leaving);
        let host = hosts.first().copied().filter(|&host| self.world.hosts()[host].runs() && !others && staying >= 2);
        let asked = host.filter(|&host| self.world.request(host, Request::Leave).is_ok());
        self.hits[index].on = asked.is_some();
        self.hits[index].hosts = asked.into_iter().collect();
        if let Some(host) = asked {
            self.leaving[host] = true;
        }
    }

    pub(super) fn come_back(&mut self, host: usize) {
        let there = &self.world.hosts()[host];
        // An application whose node was taken out has ended by itself.
        let ended = !there.exists() && there.is_refused();
        if !self.leaving[host] || !(ended || self.world.has_gone(host) || self.world.is_spare(host)) {
            return;
        }
        self.leaving[host] = false;
        self.stopped[host] = 0;
        if there.exists() {
            self.world.end_with_words(host, there.is_paused());
        }
        self.world.host_mut(host).disk.replace();
        if self.down[host] == 0 {
            self.world.restart(host);
        }
    }
}

fn set_condition(conditions: &mut Conditions, kind: Kind, amount: u64) {
    let ppm = u32::try_from(amount).unwrap_or(u32::MAX);
    match kind {
        Kind::Loss => conditions.loss = ppm,
        Kind::Duplicate => conditions.duplicate = ppm,
        Kind::Reorder => conditions.reorder = ppm,
        Kind::Corrupt => conditions.corrupt = ppm,
        Kind::Replay => conditions.replay = ppm,
        Kind::Delay => conditions.delay_max = Duration::from_micros(amount.max(160)),
        _ => {}
    }
}
