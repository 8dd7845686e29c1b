//! Kills all nodes of a cluster at once under load, again and again.

use std::process::ExitCode;

use clap::Parser;
use funk_tests::blackbox::restart::{durable_cluster, resumed_clusters, round};

/// Kills and restarts a cluster with data directories.
#[derive(Parser, Debug)]
struct Arguments {
    /// Rounds.
    #[arg(long, default_value_t = 50)]
    rounds: usize,
    /// Nodes of the cluster.
    #[arg(long, default_value_t = 3)]
    nodes: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match soak(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("restart: {error}");
            ExitCode::FAILURE
        }
    }
}

fn soak(arguments: &Arguments) -> Result<(), String> {
    let mut cluster = durable_cluster("restart-soak", arguments.nodes)?;
    for number in 1..=arguments.rounds {
        let took = round(&mut cluster).map_err(|error| format!("round {number}: {error}"))?;
        println!("round {number}: all serve {} ms after the restart", took.as_millis());
    }
    let ids = resumed_clusters(&cluster)?;
    if ids.len() != 1 {
        return Err(format!("more than one cluster: {ids:?}"));
    }
    println!("{} rounds, one cluster {ids:?}", arguments.rounds);
    Ok(())
}
