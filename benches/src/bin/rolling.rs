//! A rolling restart under load: nodes with data directories are told to stop
//! and started again, one after the other, while a client goes on.
//!
//! Ends with code 1 when a request is lost, or when a shard moves more than
//! twice: away from its owner, and back.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use funk_benches::flow::{Ended, Flow};
use funk_benches::history::{Historian, History};
use funk_benches::report::{losses, ms, write};
use funk_benches::statistics::Sample;
use funk_io::discovery::JoinAddress;
use funk_proto::id::ShardId;
use funk_rpc::client::{Client, ClientOptions, Seed};
use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS};
use funk_tests::blackbox::wait_for;
use funk_tokio::Tokio;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// How often a shard may change hands in the whole restart.
const MOVES_MAX: usize = 2;

/// Shards that moved too often are told one by one up to this number.
const TOLD_MAX: usize = 5;

/// Restarts the nodes of a cluster one after the other, under load.
#[derive(Parser, Debug)]
struct Arguments {
    /// Nodes of the cluster.
    #[arg(long, default_value_t = 5)]
    nodes: usize,
    /// Restarts of the whole cluster.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Shards of the cluster.
    #[arg(long, default_value_t = 1_000)]
    shards: u32,
    /// Requests a second.
    #[arg(long, default_value_t = 1_000)]
    rate: u32,
    /// Seconds between the end of a node and its start.
    #[arg(long, default_value_t = 0.0)]
    pause: f64,
    /// Writes the figures to this file, too.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match measure(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rolling: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One node's restart.
struct Restart {
    id: String,
    leader: bool,
    /// From the signal until it was back.
    whole: Range<Instant>,
    /// What changed hands meanwhile.
    moved: BTreeSet<ShardId>,
    /// From the signal until its process had ended.
    end: Duration,
    /// From its start until all nodes served under one map with equal shares.
    back: Duration,
}

/// One round: its restarts, and how often shards moved in it.
struct Round {
    restarts: Vec<Restart>,
    /// By number of moves: how many shards moved so often.
    moves: BTreeMap<usize, usize>,
    broken: Vec<String>,
}

fn measure(arguments: &Arguments) -> Result<(), String> {
    let pause = Duration::try_from_secs_f64(arguments.pause).map_err(|error| format!("--pause: {error}"))?;
    let runtime = Runtime::new().map_err(|error| error.to_string())?;
    let mut cluster = DemoCluster::empty("rolling", &["--shards", &arguments.shards.to_string()])?;
    cluster.set_durable();
    cluster.fill(arguments.nodes)?;
    let seeds = cluster.nodes.iter().map(|node| Seed::Gossip(JoinAddress::Address(node.serf))).collect();
    let entered = runtime.enter();
    let client = Client::<Tokio>::start(ClientOptions::new(cluster.name(), seeds));
    let historian = Historian::start(&client, cluster.nodes.iter().map(|node| node.id.clone()));
    let flow = Flow::start(&client, arguments.shards, arguments.rate);
    drop(entered);
    let warm = usize::try_from(arguments.rate).unwrap_or(usize::MAX);
    wait_for("the first requests", GENEROUS, || {
        let ended = flow.ended();
        if ended >= warm { Ok(()) } else { Err(format!("{ended} of {warm}")) }
    })?;
    let rounds: Result<Vec<_>, String> =
        (0..arguments.rounds).map(|_| round(&mut cluster, &historian, arguments.shards, pause)).collect();
    let rounds = rounds?;
    let requests = runtime.block_on(flow.stop())?;
    println!("the client: {}", client.stats());
    tell(arguments, &rounds, &requests)?;
    let broken = losses(&requests).into_iter().chain(rounds.into_iter().flat_map(|round| round.broken));
    let broken: Vec<_> = broken.collect();
    if broken.is_empty() { Ok(()) } else { Err(broken.join("\n")) }
}

fn round(cluster: &mut DemoCluster, historian: &Historian, shards: u32, pause: Duration) -> Result<Round, String> {
    let before = historian.get().epoch();
    let mut restarts = Vec::new();
    for node in 0..cluster.nodes.len() {
        restarts.push(restart(cluster, historian, node, pause)?);
    }
    let history = historian.get().clone();
    let mut moves = BTreeMap::new();
    for shard in (0..shards).map(ShardId) {
        *moves.entry(history.moves(shard, before)).or_default() += 1;
    }
    Ok(Round { restarts, moves, broken: too_often(&history, shards, before) })
}

fn restart(cluster: &mut DemoCluster, historian: &Historian, node: usize, pause: Duration) -> Result<Restart, String> {
    let leader = cluster.leader()? == node;
    let before = historian.get().epoch();
    let began = Instant::now();
    cluster.nodes[node].process.signal(Signal::TERM);
    let status = cluster.nodes[node].process.wait(GENEROUS)?;
    if !status.success() {
        return Err(format!("{} ended with {status}\n{}", cluster.nodes[node].id, cluster.tails(&[node])));
    }
    let end = began.elapsed();
    std::thread::sleep(pause);
    let started = Instant::now();
    cluster.start_again(node)?;
    cluster.converged(GENEROUS)?;
    let (back, until) = (started.elapsed(), Instant::now());
    // One node at a time: before the next one stops, this one counts for the majority again.
    cluster.all_voters(GENEROUS)?;
    let moved = historian.get().moved(before).into_iter().collect();
    Ok(Restart { id: cluster.nodes[node].id.clone(), leader, whole: began..until, moved, end, back })
}

fn too_often(history: &History, shards: u32, before: u64) -> Vec<String> {
    let often: Vec<_> = (0..shards).map(ShardId).filter(|&shard| history.moves(shard, before) > MOVES_MAX).collect();
    let mut told: Vec<_> = often
        .iter()
        .take(TOLD_MAX)
        .map(|&shard| {
            let owners: Vec<_> = history.owners(shard).map(|(epoch, owner)| format!("{owner} from {epoch}")).collect();
            format!("shard {} moved {} times: {}", shard.0, history.moves(shard, before), owners.join(", "))
        })
        .collect();
    if !often.is_empty() {
        told.push(format!("{} of {shards} shards moved more than {MOVES_MAX} times", often.len()));
    }
    told
}

/// Prints what came of each restart, and gives it as it is written to a file.
fn tell_restarts(rounds: &[Round], requests: &[Ended]) -> Vec<Value> {
    println!(
        "{:>5} {:>5} {:>8} {:>9} {:>9} {:>10} {:>8} {:>10}",
        "round", "node", "role", "stop ms", "back ms", "requests", "again", "slowest"
    );
    let mut figures = Vec::new();
    for (number, round) in (1..).zip(rounds) {
        for restart in &round.restarts {
            let within = requests.iter().filter(|request| restart.whole.contains(&request.began));
            let within: Vec<_> = within.collect();
            let again = within.iter().filter(|request| request.tries > 1).count();
            let took = Sample::new(within.iter().map(|request| request.took).collect());
            let role = if restart.leader { "leader" } else { "follower" };
            println!(
                "{number:>5} {:>5} {role:>8} {:>9.0} {:>9.0} {:>10} {again:>8} {:>10.1}",
                restart.id,
                ms(restart.end),
                ms(restart.back),
                within.len(),
                ms(took.max()),
            );
            figures.push(json!({
                "round": number,
                "node": restart.id,
                "role": role,
                "stop_ms": ms(restart.end),
                "back_ms": ms(restart.back),
                "requests": within.len(),
                "again": again,
                "p99_ms": ms(took.percentile(99)),
                "slowest_ms": ms(took.max()),
            }));
        }
        let moves: Vec<_> =
            round.moves.iter().map(|(moves, shards)| format!("{shards} shards moved {moves} times")).collect();
        println!("{number:>5} {} (at most {MOVES_MAX})", moves.join(", "));
    }
    figures
}

fn tell(arguments: &Arguments, rounds: &[Round], requests: &[Ended]) -> Result<(), String> {
    let restarts = tell_restarts(rounds, requests);
    let lost = requests.iter().filter(|request| request.lost.is_some()).count();
    let again = requests.iter().filter(|request| request.tries > 1).count();
    println!("{} requests, {lost} lost, {again} tried again", requests.len());
    let waits = waits(rounds, requests);
    let (p50, p99, max) = (ms(waits.percentile(50)), ms(waits.percentile(99)), ms(waits.max()));
    let every = f64::from(arguments.shards) * 1e3 / f64::from(arguments.rate);
    println!(
        "{} changes of hands with requests meanwhile, each shard asked every {every:.1} ms; longest request of each: \
         median {p50:.1} ms, p99 {p99:.1}, max {max:.1}",
        waits.len(),
    );
    let Some(path) = &arguments.json else { return Ok(()) };
    let most = rounds.iter().filter_map(|round| round.moves.last_key_value()).map(|(moves, _)| *moves).max();
    write(
        path,
        &json!({
            "nodes": arguments.nodes,
            "shards": arguments.shards,
            "rate": arguments.rate,
            "all": {"requests": requests.len(), "lost": lost, "again": again},
            "moves_max": most,
            "wait": {"count": waits.len(), "p50_ms": p50, "p99_ms": p99, "max_ms": max},
            "restarts": restarts,
        }),
    )
}

/// For each shard and each restart in which it changed hands, how long the slowest request for it took.
fn waits(rounds: &[Round], requests: &[Ended]) -> Sample {
    let mut slowest = BTreeMap::<_, Duration>::new();
    for (number, restart) in rounds.iter().flat_map(|round| &round.restarts).enumerate() {
        let asked = |request: &&Ended| restart.whole.contains(&request.began) && restart.moved.contains(&request.shard);
        for request in requests.iter().filter(asked) {
            let slowest = slowest.entry((number, request.shard)).or_default();
            *slowest = request.took.max(*slowest);
        }
    }
    Sample::new(slowest.into_values().collect())
}
