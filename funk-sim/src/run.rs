//! One plan, run: the cluster forms, things go wrong, then a core is healed
//! and must agree and serve again while the rest stays broken.

mod begin;
mod crowds;
mod disks;
mod heal;
mod insiders;
mod operations;
mod shares;
mod slander;
mod strangers;
mod traffic;

use std::collections::BTreeMap;
use std::time::Duration;

use funk_proto::rng::{Rng, Stream};
use funk_proto::{Seed, Timestamp};

use crate::checker::Violation;
use crate::picture::Picture;
use crate::plan::Plan;
use crate::story::{Story, Topic};
use crate::tally::Tally;
use crate::world::World;

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The rolling hash over all inputs and outputs.
    pub hash: u64,
    /// What happened, counted.
    pub tally: Tally,
    /// The first property that was broken.
    pub violation: Option<Violation>,
    /// The story, if it was asked for.
    pub story: Option<Story>,
    /// Time that the healed core took to agree and serve.
    pub healed_after: Option<Duration>,
    /// Virtual time that was run.
    pub simulated: Duration,
    /// The picture, if it was asked for.
    pub picture: Option<Picture>,
}

/// Runs a plan in a world of its own.
pub fn run(plan: &Plan, story: bool) -> Outcome {
    let world = World::new(plan.seed);
    run_as_planned(if story { world.with_story() } else { world }, plan)
}

/// Runs a plan in a world of its own, with the story and a picture of what happens.
pub fn run_with_picture(plan: &Plan) -> Outcome {
    run_as_planned(World::new(plan.seed).with_story().with_picture(), plan)
}

fn run_as_planned(mut world: World, plan: &Plan) -> Outcome {
    if plan.durable {
        world = world.with_durable_disks();
    }
    if plan.states {
        world = world.with_states();
    }
    if plan.fenced {
        world = world.with_fenced_ownership();
    }
    if plan.certified {
        world = world.with_certificates();
    }
    run_in(world, plan)
}

/// Runs a plan in this world, which may have a service and checkers of its own.
pub fn run_in(world: World, plan: &Plan) -> Outcome {
    let mut runner = Runner::new(world, plan);
    let result = runner.run_all();
    let Runner { mut world, healed_after, .. } = runner;
    Outcome {
        hash: world.hash(),
        tally: world.tally.clone(),
        violation: result.err(),
        story: world.story().cloned(),
        healed_after,
        simulated: world.now() - Timestamp::ZERO,
        picture: world.take_picture(),
    }
}

/// What the runner does at a time.
#[derive(Clone, Copy, Debug)]
enum Action {
    Boot(usize),
    Begin(usize),
    Tick(usize),
    End(usize),
    Clog(usize, Timestamp),
    Resume(usize),
    Remove(usize),
    Traffic,
    Heal,
}

/// Who was hit by a fault.
#[derive(Clone, Debug, Default)]
struct Hit {
    hosts: Vec<usize>,
    cuts: Vec<(usize, usize)>,
    on: bool,
    /// Its number in the picture.
    drawn: Option<usize>,
}

struct Runner<'a> {
    world: World,
    plan: &'a Plan,
    rng: Rng,
    actions: BTreeMap<(Timestamp, u64), Action>,
    sequence: u64,
    hits: Vec<Hit>,
    /// How many faults hold each host down, or stopped.
    down: Vec<u32>,
    stopped: Vec<u32>,
    leaving: Vec<bool>,
    /// A member that an operator has drained.
    drained: Option<usize>,
    healed: bool,
    healed_after: Option<Duration>,
    proposed: u64,
}

impl<'a> Runner<'a> {
    fn new(mut world: World, plan: &'a Plan) -> Self {
        for at in 0..plan.nodes {
            world.add_host(|config| {
                config.shards = plan.shards;
                operations::mix(plan, at, config);
            });
        }
        let rng = Rng::new(Seed::from_u64(plan.seed), Stream::Liveness);
        let hits = vec![Hit::default(); plan.faults.len()];
        let mut runner = Self {
            world,
            plan,
            rng,
            actions: BTreeMap::new(),
            sequence: 0,
            hits,
            down: Vec::new(),
            stopped: Vec::new(),
            leaving: Vec::new(),
            drained: None,
            healed: false,
            healed_after: None,
            proposed: 0,
        };
        runner.grow();
        runner.at(1, Action::Boot(0));
        for host in 1..plan.nodes {
            let at = 1 + runner.rng.below(1_500);
            runner.at(at, Action::Boot(host));
        }
        for (index, fault) in plan.faults.iter().enumerate() {
            runner.at(fault.at, Action::Begin(index));
        }
        runner.at(2_000, Action::Traffic);
        runner.at(plan.heal_at, Action::Heal);
        runner
    }

    /// Room for hosts that were added.
    fn grow(&mut self) {
        let hosts = self.world.hosts().len();
        self.down.resize(hosts, 0);
        self.stopped.resize(hosts, 0);
        self.leaving.resize(hosts, false);
    }

    fn at(&mut self, ms: u64, action: Action) {
        self.at_time(Timestamp::from_millis(ms), action);
    }

    fn at_time(&mut self, at: Timestamp, action: Action) {
        self.sequence += 1;
        self.actions.insert((at, self.sequence), action);
    }

    fn after(&mut self, ms: u64, action: Action) {
        let at = self.world.now() + Duration::from_millis(ms);
        self.at_time(at, action);
    }

    fn run_all(&mut self) -> Result<(), Violation> {
        let end = Timestamp::from_millis(self.plan.end_at);
        while let Some(((at, _), action)) = self.actions.pop_first() {
            if at >= end {
                break;
            }
            self.world.run_to(at)?;
            self.act(action)?;
        }
        self.world.run_to(end)?;
        self.finish()
    }

    fn act(&mut self, action: Action) -> Result<(), Violation> {
        match action {
            Action::Boot(host) => self.world.boot(host),
            Action::Begin(index) => self.begin(index),
            Action::Tick(index) if self.hits[index].on && !self.healed => self.tick(index),
            Action::End(index) if !self.healed => self.end(index),
            Action::Clog(host, until) if !self.healed => self.clog(host, until),
            Action::Resume(host) if !self.healed => self.let_go(host),
            Action::Remove(host) => self.remove(host),
            Action::Traffic => self.traffic(),
            Action::Heal => return self.heal(),
            Action::Tick(_) | Action::End(_) | Action::Clog(..) | Action::Resume(_) => {}
        }
        match self.world.violation() {
            Some(violation) => Err(violation.clone()),
            None => Ok(()),
        }
    }

    fn tell(&mut self, text: impl FnOnce() -> String) {
        self.world.tell(None, Topic::Fault, text);
    }

    fn draw(&mut self, bound: usize) -> usize {
        usize::try_from(self.rng.below(bound as u64)).expect("below a usize")
    }

    /// Members that are up and stay, without these: who is left when they go.
    fn staying(&self, without: &[usize]) -> usize {
        let up = |&at: &usize| {
            self.world.hosts()[at].facts().is_some_and(|facts| self.world.holds_for_up(facts.id, facts.boot))
        };
        self.regular().into_iter().filter(|at| !self.leaving[*at] && !without.contains(at)).filter(up).count()
    }

    /// Hosts of ours whose process exists and was not refused; of those with
    /// one name, the one that the cluster holds for up, or else the one that votes.
    fn regular(&self) -> Vec<usize> {
        let hosts = self.world.hosts();
        let (voters, outgoing) = self.world.voters();
        let ours = |&at: &usize| hosts[at].exists() && !hosts[at].foreign && !hosts[at].is_refused();
        let rank = |at: usize| {
            let Some(facts) = hosts[at].facts() else { return 0 };
            let votes = voters.contains(&facts.id) || outgoing.contains(&facts.id);
            if self.world.holds_for_up(facts.id, facts.boot) { 2 } else { u8::from(votes) }
        };
        let all: Vec<(usize, u8)> = (0..hosts.len()).filter(ours).map(|at| (at, rank(at))).collect();
        let yields = |&(at, rank): &(usize, u8)| {
            let rival = |&&(other, _): &&(usize, u8)| other != at && hosts[other].config.name == hosts[at].config.name;
            all.iter().filter(rival).any(|&(_, other)| other > rank || rank == 0)
        };
        all.iter().filter(|host| !yields(host)).map(|&(at, _)| at).collect()
    }
}
