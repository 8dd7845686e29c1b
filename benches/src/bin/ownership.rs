//! Stops, cuts off and kills real nodes that write to a store, and checks that no shard ever has two owners.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use funk_benches::embedded;
use funk_benches::ownership::Plant;
use funk_benches::ownership::node::run;
use funk_benches::ownership::round::Trial;

#[derive(Args, Debug)]
struct Check {
    /// Rounds, a fault in each.
    #[arg(long, default_value_t = 100)]
    rounds: usize,
    /// Seconds for which a node is stopped; a cut lasts as long, but at most five.
    #[arg(long, default_value_t = 30.0)]
    pause: f64,
    /// Breaks a promise, to see that the check finds it.
    #[arg(long, value_enum, default_value_t = Plant::None)]
    plant: Plant,
}

fn main() -> ExitCode {
    embedded::main(run, check)
}

fn check(check: &Check, program: &Path) -> Result<bool, String> {
    let mut trial = Trial::start(program, "ownership", check.plant)?;
    println!("round  fault   of  acknowledged  refused");
    let outcome = trial.run(check.rounds, Duration::from_secs_f64(check.pause), |line| println!("{line}"))?;
    println!("{} writes acknowledged, {} met a move of their shard", outcome.acknowledged, outcome.moves);
    println!("{} stale writes refused, {} accepted", outcome.refused, outcome.stale_accepted);
    println!("{} times under guards, {} overlaps of two processes", outcome.held, outcome.overlaps.len());
    println!("{} acknowledged writes lost", outcome.lost.len());
    for overlap in outcome.overlaps.iter().take(10) {
        println!("  {overlap}");
    }
    Ok(outcome.is_clean())
}
