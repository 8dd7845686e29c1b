//! The sharded counter of `examples/counter` in the simulator, with a bug to be found on demand.
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

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Parser;
use funk_counter::Counter;
use funk_proto::id::ShardId;
use funk_sim::run::run_in;
use funk_sim::{Checker, Plan, Scene, Service, Verdict, World};

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
        let make = move |_| -> Box<dyn Service> { Box::new(Counter::new(bug)) };
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
