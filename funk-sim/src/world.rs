//! The world: true time, and what happens in it, one event after the other.
//!
//! | part | what |
//! |---|---|
//! | this file | time, the queue, the step, the checks |
//! | `processes` | start, kill, stop, go on |
//! | `endings` | processes that say goodbye |
//! | `calm` | who is disturbed by nothing |
//! | `packets` | datagrams on their way |
//! | `links` | cuts, and how long things take |
//! | `streams` | streams: in order, whole, gone when a process is |
//! | `inputs` | what goes into a node |
//! | `versions` | processes of a later version |
//! | `outputs` | what is done with each output of a node |
//! | `record` | what the nodes said |
//! | `pictured` | what a picture of the run shows |
//! | `services` | requests, rights, answers |
//! | `peace` | whether a part of the cluster agrees and serves |

mod calm;
mod endings;
mod inputs;
mod links;
mod outputs;
mod packets;
pub mod peace;
mod pictured;
mod processes;
pub mod record;
mod services;
mod streams;
mod versions;

use std::fmt;
use std::hash::Hasher;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use funk_proto::id::{ClusterId, LogIndex};
use funk_proto::rng::{Rng, Stream};
use funk_proto::service::Service;
use funk_proto::{Event, Input, LastWord, Node, Ownership, Seed, Status, Timestamp};
use peace::Voters;
use siphasher::sip::SipHasher13;

use crate::check;
use crate::checker::{Checker, Scene, Verdict, Violation};
use crate::client::Client;
use crate::happening::Happening;
use crate::host::Host;
use crate::network::Network;
use crate::picture::Picture;
use crate::queue::Queue;
use crate::story::{Line, Story, Topic};
use crate::tally::Tally;

/// Makes the service of one process of a host, at each start.
pub type MakeService = Rc<dyn Fn(usize) -> Box<dyn Service>>;

/// A whole cluster, its network, clocks, disks and clients, on one seed.
pub struct World {
    now: Timestamp,
    pub(crate) rng: Rng,
    queue: Queue<Happening>,
    pub(crate) hosts: Vec<Host>,
    /// The network.
    pub network: Network,
    /// The clients.
    pub client: Client,
    /// What happened, counted.
    pub tally: Tally,
    checkers: Vec<Box<dyn Checker>>,
    violation: Option<Violation>,
    story: Option<Story>,
    picture: Option<Picture>,
    make_service: MakeService,
    keep_events: bool,
    record: Option<Vec<record::Said>>,
    steady: bool,
    /// Disks outlive the processes.
    durable: bool,
    states: bool,
    ownership: Ownership,
    /// Streams between nodes show certificates.
    certified: bool,
    hash: SipHasher13,
    seed: u64,
    old_datagrams: Vec<(usize, Happening)>,
    /// Goodbyes of boots that are gone, and whose host that was.
    old_words: Vec<(usize, LastWord)>,
    /// Some of the messages sent lately, for those who forge.
    samples: Vec<Bytes>,
    cluster: Option<ClusterId>,
    /// The configuration that was applied last by anybody, and its index.
    configuration: (LogIndex, Voters),
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("seed", &self.seed).field("now", &self.now).finish_non_exhaustive()
    }
}

impl World {
    /// An empty world with all checkers of funk itself.
    pub fn new(seed: u64) -> Self {
        Self {
            now: Timestamp::from_millis(1),
            rng: Rng::new(Seed::from_u64(seed), Stream::Peers),
            queue: Queue::new(),
            hosts: Vec::new(),
            network: Network::default(),
            client: Client::default(),
            tally: Tally::default(),
            checkers: check::all(),
            violation: None,
            story: None,
            picture: None,
            make_service: Rc::new(|_| Box::<crate::service::Worker>::default()),
            keep_events: false,
            record: None,
            steady: false,
            durable: false,
            states: false,
            ownership: Ownership::default(),
            certified: false,
            hash: SipHasher13::new(),
            seed,
            old_datagrams: Vec::new(),
            old_words: Vec::new(),
            samples: Vec::new(),
            cluster: None,
            configuration: Default::default(),
        }
    }

    /// Runs this service on every host that is started from now on.
    pub fn with_service(mut self, make: impl Fn(usize) -> Box<dyn Service> + 'static) -> Self {
        self.make_service = Rc::new(make);
        self
    }

    /// Adds a checker.
    pub fn with_checker(mut self, checker: impl Checker + 'static) -> Self {
        self.checkers.push(Box::new(checker));
        self
    }

    /// Only these checkers instead of all.
    pub fn with_checkers(mut self, checkers: Vec<Box<dyn Checker>>) -> Self {
        self.checkers = checkers;
        self
    }

    /// Keeps what nodes tell their applications, for [`World::events`].
    pub fn with_events(mut self) -> Self {
        self.keep_events = true;
        self
    }

    /// Disks outlive the processes: a restarted node recovers what was stable.
    pub fn with_durable_disks(mut self) -> Self {
        self.durable = true;
        self
    }

    /// Owners hand over what they have of a shard when it moves as planned.
    pub fn with_states(mut self) -> Self {
        self.states = true;
        self
    }

    /// All streams between nodes show certificates. Strangers have one of their own.
    pub fn with_certificates(mut self) -> Self {
        self.certified = true;
        self
    }

    /// A store refuses writes of older epochs: shards of the dead are taken at once.
    pub fn with_fenced_ownership(mut self) -> Self {
        self.ownership = Ownership::Fenced;
        self
    }

    /// Writes down what happens.
    pub fn with_story(mut self) -> Self {
        self.story = Some(Story::default());
        self
    }

    /// True time.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// All hosts.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// One host, to change its configuration, disk or listeners.
    pub fn host_mut(&mut self, at: usize) -> &mut Host {
        &mut self.hosts[at]
    }

    /// The rolling hash over all that went into the nodes and came out.
    pub fn hash(&self) -> u64 {
        self.hash.finish()
    }

    /// The property that was broken first, if any was. Time stands still from then on.
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// What happened so far, if it is written down.
    pub fn story(&self) -> Option<&Story> {
        self.story.as_ref()
    }

    /// What a host's node told its application so far, all its starts together.
    pub fn events(&self, at: usize) -> &[Event] {
        &self.hosts[at].events
    }

    /// What a host's node says of itself.
    ///
    /// # Panics
    /// If no process exists there.
    pub fn status(&self, at: usize) -> Status {
        self.hosts[at].node.as_ref().expect("its process exists").status()
    }

    /// The hosts whose process exists and does not stand still.
    pub fn running(&self) -> Vec<usize> {
        (0..self.hosts.len()).filter(|&at| self.hosts[at].runs()).collect()
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// The first property that is broken.
    pub fn run(&mut self, length: Duration) -> Result<(), Violation> {
        self.run_to(self.now + length)
    }

    /// Lets time pass until an instant.
    ///
    /// # Errors
    /// The first property that is broken.
    pub fn run_to(&mut self, end: Timestamp) -> Result<(), Violation> {
        self.note_disturbances();
        while self.violation.is_none() && self.queue.next_at().is_some_and(|at| at <= end) {
            self.step();
        }
        match &self.violation {
            Some(violation) => Err(violation.clone()),
            None => {
                self.now = self.now.max(end);
                Ok(())
            }
        }
    }

    /// Runs until `done` says so, asked after each step; gives how long it took, or `None` after `limit`.
    ///
    /// # Errors
    /// The first property that is broken.
    pub fn run_until(
        &mut self,
        limit: Duration,
        mut done: impl FnMut(&World) -> bool,
    ) -> Result<Option<Duration>, Violation> {
        let start = self.now;
        self.note_disturbances();
        while !done(self) {
            if self.queue.next_at().is_none_or(|at| at > start + limit) {
                return Ok(None);
            }
            self.step();
            if let Some(violation) = &self.violation {
                return Err(violation.clone());
            }
        }
        Ok(Some(self.now - start))
    }

    fn step(&mut self) {
        let Some((at, happening)) = self.queue.pop() else { return };
        self.now = self.now.max(at);
        self.tally.steps += 1;
        self.happen(happening);
    }

    fn happen(&mut self, happening: Happening) {
        if let Some(to) = happening.host() {
            let host = &mut self.hosts[to];
            if let Some(pause) = &mut host.paused {
                if pause.waiting.len() < processes::WAITING_MAX || !matches!(happening, Happening::Datagram { .. }) {
                    pause.waiting.push(happening);
                }
                return;
            }
        }
        match happening {
            Happening::Datagram { to, socket, from, bytes } => {
                self.feed(to, Input::Datagram { socket, from, bytes });
            }
            Happening::Stream { to, generation, conn, channel, bytes }
                if self.lives(to, generation) && self.hosts[to].streams.contains_key(&conn) =>
            {
                self.show_certificate(to, conn);
                if self.hosts[to].streams.contains_key(&conn) {
                    self.feed(to, Input::Message { conn, channel, bytes });
                }
            }
            Happening::Closed { to, generation, conn, why } if self.lives(to, generation) => {
                self.hosts[to].streams.remove(&conn);
                self.feed(to, Input::Closed { conn, why });
            }
            Happening::Local { to, generation, input } if self.lives(to, generation) => self.feed(to, input),
            Happening::GiveUp { to, generation, conn, since } if self.lives(to, generation) => {
                self.give_up(to, conn, since);
            }
            Happening::Flushed { to, generation } if self.lives(to, generation) => self.flushed(to),
            Happening::Wake { to, generation, due }
                if self.lives(to, generation) && self.hosts[to].wake_at == Some(due) =>
            {
                self.wake(to);
            }
            Happening::ServiceWake { to, generation, due }
                if self.lives(to, generation) && self.hosts[to].service_wake_at == Some(due) =>
            {
                self.wake_service(to);
            }
            Happening::Request { to, id, shard, bytes } => self.take_request(to, id, shard, bytes),
            Happening::Answer { id, answer } => self.take_answer(id, answer.as_ref()),
            _ => {}
        }
    }

    fn lives(&self, at: usize, generation: u32) -> bool {
        self.hosts[at].node.is_some() && self.hosts[at].generation == generation
    }

    fn wake(&mut self, at: usize) {
        self.hosts[at].wake_at = None;
        let due = self.hosts[at].node.as_ref().and_then(Node::poll_timeout);
        if due.is_some_and(|due| due <= self.hosts[at].clock.local(self.now)) {
            self.feed(at, Input::Timeout);
        } else {
            self.set_alarm(at);
        }
    }

    fn set_alarm(&mut self, at: usize) {
        let host = &self.hosts[at];
        let Some(due) = host.node.as_ref().and_then(Node::poll_timeout) else { return };
        let due = host.clock.true_at(due).max(self.now + Duration::from_micros(1));
        if host.wake_at.is_none_or(|wake| due < wake) {
            let generation = host.generation;
            self.hosts[at].wake_at = Some(due);
            self.queue.push(due, Happening::Wake { to: at, generation, due });
        }
    }

    /// Writes a line of the story; the text is made only if there is one.
    pub fn tell(&mut self, node: Option<usize>, topic: Topic, text: impl FnOnce() -> String) {
        let Some(story) = &mut self.story else { return };
        let node = node.map(|at| format!("n{at}"));
        story.lines.push(Line { at: self.now, node, topic, text: text() });
    }

    /// Asks every checker, unless the node is known to be of another cluster, or not known to be of ours.
    pub(crate) fn check(&mut self, node: Option<usize>, ask: impl FnMut(&mut dyn Checker, Scene<'_>) -> Verdict) {
        if node.is_none_or(|at| self.hosts[at].known && !self.hosts[at].foreign) {
            self.check_any(node, ask);
        }
    }

    /// Asks every checker about what must hold in any cluster.
    pub(crate) fn check_any(
        &mut self,
        node: Option<usize>,
        mut ask: impl FnMut(&mut dyn Checker, Scene<'_>) -> Verdict,
    ) {
        let scene = Scene { now: self.now, hosts: &self.hosts };
        let mut broken = None;
        for checker in &mut self.checkers {
            if let Err(what) = ask(checker.as_mut(), scene) {
                broken.get_or_insert(Violation { property: checker.name(), at: self.now, node, what });
            }
        }
        if let Some(violation) = broken {
            self.break_off(violation);
        }
    }

    /// Asks what can be said only at the end.
    pub(crate) fn check_at_end(&mut self) {
        self.check(None, |checker, scene| checker.at_end(scene));
    }

    /// One of the messages that were sent lately.
    pub(crate) fn sample(&self, draw: u64) -> Option<Bytes> {
        let samples = self.samples.len() as u64;
        (samples > 0).then(|| self.samples[usize::try_from(draw % samples).expect("few samples")].clone())
    }

    /// Reports a property as broken.
    pub fn break_off(&mut self, violation: Violation) {
        self.tell(violation.node, Topic::Check, || format!("{} is broken: {}", violation.property, violation.what));
        self.violation.get_or_insert(violation);
    }
}
