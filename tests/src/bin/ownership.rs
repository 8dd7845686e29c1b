//! Stops, cuts off and kills real nodes that write to a store, and checks that no shard ever has two owners.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use funk_tests::ownership::Plant;
use funk_tests::ownership::node::{Node, run};
use funk_tests::ownership::round::Trial;

#[derive(Parser, Debug)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    node: Option<Part>,
    #[command(flatten)]
    check: Check,
}

#[derive(Subcommand, Debug)]
enum Part {
    /// One node of the cluster under test.
    Node(Node),
}

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
    let arguments = Arguments::parse();
    let result = match &arguments.node {
        Some(Part::Node(node)) => run(node).map(|()| true),
        None => check(&arguments.check),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("ownership: {error}");
            ExitCode::FAILURE
        }
    }
}

fn check(check: &Check) -> Result<bool, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut trial = Trial::start(&program, "ownership", check.plant)?;
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
