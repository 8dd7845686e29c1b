//! Processes start, end, stand still and go on.

use std::time::Duration;

use bytes::Bytes;
use funk_proto::limits::FORMER_BOOTS_MAX;
use funk_proto::rng::Rng;
use funk_proto::{CloseReason, Input, Node, NodeConfig, Recovered, Seed, Timestamp};

use super::World;
use crate::clock::Clock;
use crate::disk::{Disk, DiskConditions};
use crate::happening::Happening;
use crate::host::{Host, Pause};
use crate::picture::Mark;
use crate::story::Topic;

/// Datagrams that a stopped process's sockets hold.
pub(super) const WAITING_MAX: usize = 2_000;
/// Hosts of one world.
const HOSTS_MAX: usize = 64;

impl World {
    /// A host with the address `10.0.0.n` and the name `n0`, `n1`, … that is
    /// not started yet. The first will bootstrap, the others join through it.
    pub fn add_host(&mut self, change: impl FnOnce(&mut NodeConfig)) -> usize {
        let at = self.hosts.len();
        assert!(at < HOSTS_MAX, "a world has at most {HOSTS_MAX} hosts");
        let ip = |host: usize, port| World::address_of(0, host, port);
        let (name, cluster) = (format!("n{at}").parse().expect("legal"), "sim".parse().expect("legal"));
        let mut config = NodeConfig::new(name, cluster, ip(at, 1), ip(at, 2), ip(at, 3));
        config.bootstrap = at == 0;
        (config.hands_over_state, config.durable, config.ownership) = (self.states, self.durable, self.ownership);
        config.join = if at == 0 { vec![] } else { vec![ip(0, 1)] };
        change(&mut config);
        let mut disk = Disk::new(self.durable);
        if self.steady {
            disk.conditions = DiskConditions::steady();
        }
        self.hosts.push(Host::new(config, disk));
        self.network.add_host();
        at
    }

    /// Adds a host and starts its process.
    pub fn start(&mut self, shards: u32) -> usize {
        self.start_with(|config| config.shards = shards)
    }

    /// Adds a host with a changed configuration and starts its process.
    pub fn start_with(&mut self, change: impl FnOnce(&mut NodeConfig)) -> usize {
        let at = self.add_host(change);
        self.boot(at);
        at
    }

    /// Starts a host's process with the host's configuration and what its disk
    /// holds. If its files are damaged, there is no process: [`Host::damage`] says why.
    ///
    /// # Panics
    /// If the configuration is not legal, or a process exists already.
    pub fn boot(&mut self, at: usize) {
        assert!(self.hosts[at].node.is_none(), "a process exists already");
        let Some(records) = self.open_disk(at) else { return };
        let seed = Seed::from_u64(self.seed ^ self.rng.next_u64());
        // The wall clock is anything at all: nothing may depend on it.
        let wall_clock_ns = self.rng.next_u64().cast_signed();
        let host = &mut self.hosts[at];
        host.clock = Clock::starting(self.now, host.drift);
        (host.accepted, host.wake_at, host.service_wake_at, host.left) = (0, None, None, false);
        (host.refused, host.known, host.foreign, host.state) = (false, false, host.stranger, None);
        host.generation += 1;
        host.calm_since = self.now;
        host.config.wall_clock_ns = wall_clock_ns;
        let node = Node::new(host.config.clone(), Recovered { records }, seed, Timestamp::ZERO);
        host.node = Some(node.expect("the configuration is legal, and the disk holds what a node wrote"));
        host.service = Some((self.make_service)(at));
        self.tally.starts += 1;
        self.tell(Some(at), Topic::Process, || "the process starts".into());
        self.mark(at, Mark::Started);
        self.hosts[at].refresh();
        self.check_any(Some(at), |checker, scene| checker.on_start(scene, at));
        self.drain(at);
    }

    /// What is on a host's disk; `None` if a node must not go on with it.
    fn open_disk(&mut self, at: usize) -> Option<Vec<Bytes>> {
        let opened = self.hosts[at].disk.open();
        self.check_any(Some(at), |checker, scene| checker.on_open(scene, at, opened.as_deref()));
        match opened {
            Ok(records) => {
                self.hosts[at].damage = None;
                self.hosts[at].disk.found(records.clone());
                Some(records)
            }
            Err(damage) => {
                self.tell(Some(at), Topic::Disk, || format!("refuses its disk: {damage}"));
                self.tally.disks_refused += 1;
                self.mark(at, Mark::Refused);
                self.hosts[at].damage = Some(damage);
                None
            }
        }
    }

    /// Starts a dead host's process anew, joining through any of the others.
    pub fn restart(&mut self, at: usize) {
        let others = (0..self.hosts.len()).filter(|&host| host != at && !self.hosts[host].stranger);
        let join = others.map(|host| self.hosts[host].address(1)).take(60).collect();
        let config = &mut self.hosts[at].config;
        (config.bootstrap, config.join) = (false, join);
        self.boot(at);
    }

    /// Ends a host's process; the kernel resets its streams.
    pub fn kill(&mut self, at: usize) {
        self.tell(Some(at), Topic::Process, || "the process is killed".into());
        self.mark(at, Mark::Killed);
        self.end(at);
        self.reset_all(at, true);
    }

    /// Ends a host's process without a word to anybody.
    pub fn power_off(&mut self, at: usize) {
        self.tell(Some(at), Topic::Process, || "the power goes".into());
        self.mark(at, Mark::Killed);
        self.end(at);
        self.reset_all(at, false);
    }

    pub(super) fn end(&mut self, at: usize) {
        self.disturb_all();
        self.check_any(Some(at), |checker, scene| checker.on_stop(scene, at));
        let requests = std::mem::take(&mut self.hosts[at].requests);
        for id in requests.into_keys() {
            self.answer(at, id, None);
        }
        let host = &mut self.hosts[at];
        host.disk.crash(&mut self.rng);
        if let Some(facts) = host.node.as_ref().and(host.facts().copied()).filter(|_| host.config.durable) {
            // The directory's lock is free: the next process knows.
            let former = &mut host.config.former_boots;
            former.push(facts.boot);
            former.drain(..former.len().saturating_sub(FORMER_BOOTS_MAX));
        }
        let was_frozen = host.paused.as_ref().is_some_and(|pause| pause.frozen);
        (host.node, host.service, host.paused) = (None, None, None);
        host.drains.clear();
        host.service_inputs.clear();
        host.proposals.clear();
        host.refresh();
        self.draw(at);
        if was_frozen {
            self.check_rates(at);
        }
    }

    /// Stops a host's process; its sockets still take what comes.
    pub fn pause(&mut self, at: usize) {
        self.stop(at, false);
    }

    /// Stops a host's machine with its clock: when it goes on, its process sees no gap.
    pub fn freeze(&mut self, at: usize) {
        self.stop(at, true);
        self.check_rates(at);
    }

    fn stop(&mut self, at: usize, frozen: bool) {
        if self.hosts[at].runs() {
            let what = if frozen { "the machine and its clock stand still" } else { "the process stands still" };
            self.tell(Some(at), Topic::Process, || what.into());
            let since = self.hosts[at].clock.local(self.now);
            self.hosts[at].paused = Some(Pause { since, waiting: Vec::new(), frozen });
            self.draw(at);
        }
    }

    /// Lets a stopped process go on. After a long stop it sees first that time has passed.
    pub fn resume(&mut self, at: usize) {
        let Some(Pause { since, waiting, frozen }) = self.hosts[at].paused.take() else { return };
        if frozen {
            let now = self.now;
            self.hosts[at].clock.go_on(now, since);
            self.check_rates(at);
        }
        let host = &self.hosts[at];
        let gap = host.clock.local(self.now) - since;
        self.tell(Some(at), Topic::Process, || format!("the process goes on after {gap:?}"));
        self.tally.resumes += 1;
        self.hosts[at].gap = gap > self.hosts[at].config.timing.lease / 2;
        if self.hosts[at].gap {
            self.feed(at, Input::ClockGap { gap });
        }
        self.check_any(Some(at), |checker, scene| checker.on_resume(scene, at));
        for happening in waiting {
            self.happen(happening);
        }
        if self.hosts[at].node.is_some() {
            self.wake(at);
            self.wake_service(at);
        }
    }

    /// Sets the error of a host's clock, in parts per million of its rate.
    pub fn set_drift(&mut self, at: usize, ppm: i64) {
        let now = self.now;
        self.hosts[at].set_drift(now, ppm);
        self.check_rates(at);
        let alarm = self.hosts[at].wake_at.take();
        if alarm.is_some() && self.hosts[at].runs() {
            self.set_alarm(at);
        }
    }

    /// Tells the checkers whether every clock keeps to the bound.
    fn check_rates(&mut self, at: usize) {
        let keeps = |host: &Host| {
            let drifts = host.drift.unsigned_abs() > u64::from(host.config.timing.drift_ppm);
            !drifts && host.paused.as_ref().is_none_or(|pause| !pause.frozen)
        };
        let within = self.hosts.iter().all(keeps);
        self.check_any(Some(at), |checker, scene| checker.on_drift(scene, within));
    }

    /// Closes one of a host's streams as if the far side had reset it, drawn by `rng`.
    pub fn forge_reset(&mut self, at: usize) {
        let host = &self.hosts[at];
        let conns: Vec<_> = host.streams.keys().copied().collect();
        if conns.is_empty() || !host.exists() {
            return;
        }
        let conn = conns[draw(&mut self.rng, conns.len())];
        let generation = host.generation;
        self.tell(Some(at), Topic::Stream, || format!("a forged reset ends {conn}"));
        let end = self.hosts[at].streams.remove(&conn).expect("it was listed");
        if let Some(far) = self.far(&end) {
            far.dead = true;
        }
        let why = CloseReason::Reset;
        self.queue.push(self.now + Duration::from_micros(50), Happening::Closed { to: at, generation, conn, why });
    }
}

pub(crate) fn draw(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).expect("below a usize")
}
