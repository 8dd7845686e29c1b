//! A sharded counter as a sans-IO service, with a bug to be found on demand.
//!
//! Each shard has one counter, kept by its owner and replicated through the
//! log. With `--bug`, a node that once owned a shard goes on answering for it
//! out of its memory and without a right. The simulator finds two nodes that
//! hand out the same number:
//!
//! ```text
//! cargo run --release -p funk-sim --example counter -- --bug
//! cargo run --release -p funk-sim --example counter -- --bug --seed 3
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::process::ExitCode;

use bytes::Bytes;
use clap::Parser;
use funk_proto::id::{Epoch, ShardId};
use funk_proto::{Event, Outcome, Timestamp};
use funk_sim::run::run_in;
use funk_sim::{Checker, Plan, Scene, Service, ServiceInput, ServiceOutput, Verdict, World};

/// One process of the service.
#[derive(Debug, Default)]
struct Counter {
    bug: bool,
    /// By shard: the numbers given out so far, as the log has them.
    counts: BTreeMap<ShardId, u64>,
    /// Shards that this process has served.
    served: BTreeMap<ShardId, Epoch>,
    /// Requests that wait for their proposal.
    waiting: BTreeMap<u64, (u64, ShardId)>,
    next_tag: u64,
    outputs: VecDeque<ServiceOutput>,
}

/// What goes into the log: a shard, and a process-wide unique rest.
fn entry(shard: ShardId, epoch: Epoch, request: u64) -> Bytes {
    let mut bytes = Vec::from(shard.0.to_be_bytes());
    bytes.extend(epoch.0.to_be_bytes());
    bytes.extend(request.to_be_bytes());
    bytes.push(b'c');
    bytes.into()
}

impl Counter {
    fn request(&mut self, request: u64, shard: ShardId, epoch: Option<Epoch>) {
        match epoch {
            Some(epoch) => {
                self.served.insert(shard, epoch);
                self.next_tag += 1;
                self.waiting.insert(self.next_tag, (request, shard));
                let bytes = entry(shard, epoch, request);
                self.outputs.push_back(ServiceOutput::Propose { tag: self.next_tag, bytes });
            }
            // The planted bug: whoever owned the shard once believes that it still does.
            None if self.bug && self.served.contains_key(&shard) => {
                let count = self.counts.entry(shard).or_default();
                *count += 1;
                let bytes = Bytes::copy_from_slice(&count.to_be_bytes());
                self.outputs.push_back(ServiceOutput::Tell { request, bytes });
            }
            None => self.outputs.push_back(ServiceOutput::Refuse { request }),
        }
    }

    fn committed(&mut self, bytes: &Bytes) {
        if let (Some(shard), Some(b'c')) = (bytes.first_chunk(), bytes.last()) {
            *self.counts.entry(ShardId(u32::from_be_bytes(*shard))).or_default() += 1;
        }
    }

    fn proposed(&mut self, tag: u64, outcome: &Outcome) {
        let Some((request, shard)) = self.waiting.remove(&tag) else { return };
        self.outputs.push_back(match outcome {
            // The commit was told of just before, and counted.
            Outcome::Committed(_) => {
                let count = self.counts.get(&shard).copied().unwrap_or(0);
                ServiceOutput::Answer { request, bytes: Bytes::copy_from_slice(&count.to_be_bytes()) }
            }
            _ => ServiceOutput::Refuse { request },
        });
    }
}

impl Service for Counter {
    fn handle(&mut self, input: ServiceInput, _now: Timestamp) {
        match input {
            ServiceInput::Request { request, shard, right, .. } => {
                self.request(request, shard, right.map(|right| right.epoch));
            }
            ServiceInput::Node(Event::Committed { bytes, .. }) => self.committed(&bytes),
            ServiceInput::Proposed { tag, outcome } => self.proposed(tag, &outcome),
            ServiceInput::SnapshotWanted { index } => {
                let pairs = self
                    .counts
                    .iter()
                    .flat_map(|(shard, count)| shard.0.to_be_bytes().into_iter().chain(count.to_be_bytes()));
                self.outputs.push_back(ServiceOutput::Snapshot { index, state: pairs.collect() });
            }
            ServiceInput::SnapshotInstalled { state, .. } => {
                let pair = |bytes: &[u8]| {
                    let shard = u32::from_be_bytes(*bytes.first_chunk()?);
                    Some((ShardId(shard), u64::from_be_bytes(*bytes.last_chunk()?)))
                };
                self.counts = state.chunks_exact(12).filter_map(pair).collect();
            }
            // Its counts are on the log, which every node has.
            ServiceInput::StateWanted { change, shards } => {
                let none = |shard| ServiceOutput::State { change, shard, state: None };
                self.outputs.extend(shards.into_iter().map(none));
            }
            ServiceInput::Node(_) | ServiceInput::StateReceived { .. } | ServiceInput::Timeout => {}
        }
    }

    fn poll_output(&mut self) -> Option<ServiceOutput> {
        self.outputs.pop_front()
    }
}

/// What a user demands of the counter: no number of a shard is handed out twice.
#[derive(Debug, Default)]
struct NoNumberTwice {
    given: BTreeMap<ShardId, std::collections::BTreeSet<u64>>,
}

impl Checker for NoNumberTwice {
    fn name(&self) -> &'static str {
        "no number twice"
    }

    fn on_answer(&mut self, _scene: Scene<'_>, shard: ShardId, _asked: &[u8], answered: &[u8]) -> Verdict {
        let Some(number) = answered.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)) else { return Ok(()) };
        if self.given.entry(shard).or_default().insert(number) {
            Ok(())
        } else {
            Err(format!("number {number} of shard {shard} is handed out a second time: it has two owners"))
        }
    }
}

/// Looks for a seed that breaks the counter, or replays one.
#[derive(Debug, Parser)]
struct Flags {
    /// Plant the bug.
    #[arg(long)]
    bug: bool,
    /// Replay one seed with its story.
    #[arg(long)]
    seed: Option<u64>,
    /// Seeds to try.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let bug = flags.bug;
    let world = |seed| {
        let make = move |_| -> Box<dyn Service> { Box::new(Counter { bug, ..Counter::default() }) };
        World::new(seed).with_service(make).with_checker(NoNumberTwice::default())
    };
    if let Some(seed) = flags.seed {
        let outcome = run_in(world(seed).with_story(), &Plan::draw(seed));
        let story = outcome.story.unwrap_or_default();
        let last = story.lines.len().saturating_sub(60);
        story.lines[last..].iter().for_each(|line| println!("{line}"));
        return if outcome.violation.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    for seed in 0..flags.seeds {
        let outcome = run_in(world(seed), &Plan::draw(seed));
        if let Some(violation) = outcome.violation {
            let again = if bug { "--bug --seed" } else { "--seed" };
            println!("seed {seed}: {violation}");
            println!("replay: cargo run --release -p funk-sim --example counter -- {again} {seed}");
            return ExitCode::FAILURE;
        }
    }
    println!("{} seeds, no number was handed out twice", flags.seeds);
    ExitCode::SUCCESS
}
