//! What clients of the other shards notice while some shards move: pairs of a
//! window at rest and a window in which ten of a thousand shards change hands,
//! under a steady load through the client library.
//!
//! Ends with code 1 when a request is lost, when other shards move than should,
//! or when the latency of those that stay is over its bounds.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use funk_benches::flow::{Ended, Flow};
use funk_benches::history::{Historian, History};
use funk_benches::operator::Operator;
use funk_benches::report::{losses, median, ms, write};
use funk_benches::statistics::Sample;
use funk_io::discovery::JoinAddress;
use funk_proto::id::ShardId;
use funk_rpc::client::{Client, ClientOptions, Seed};
use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS};
use funk_tests::blackbox::wait_for;
use funk_tokio::Tokio;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// How much slower the shards that stay may be while others move, median over the pairs.
const P50_MAX: f64 = 1.1;
const P99_MAX: f64 = 1.5;

/// Time in which what one window did is forgotten.
const SETTLE: Duration = Duration::from_millis(300);

/// Requests that are sent before the first window.
const WARM: usize = 2_000;

/// Measures what the others notice of shards that move.
#[derive(Parser, Debug)]
struct Arguments {
    /// Pairs of a window at rest and a window in which shards move.
    #[arg(long, default_value_t = 10)]
    pairs: usize,
    /// Seconds of a window. The longer it is, the less of it is the move.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Shards that move in a window.
    #[arg(long, default_value_t = 10)]
    moving: u32,
    /// Shards of the cluster.
    #[arg(long, default_value_t = 1_000)]
    shards: u32,
    /// Nodes of the cluster.
    #[arg(long, default_value_t = 3)]
    nodes: usize,
    /// Requests a second.
    #[arg(long, default_value_t = 2_000)]
    rate: u32,
    /// Writes the figures to this file, too.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match measure(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("moves: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A cluster under load, and those who look at it.
struct Scene {
    cluster: DemoCluster,
    historian: Historian,
    operator: Operator,
    runtime: Runtime,
    moving: u32,
}

/// A window at rest and one in which shards moved.
struct Pair {
    rest: Range<Instant>,
    moves: Range<Instant>,
    moved: BTreeSet<ShardId>,
    /// From the request to move them until the last one had its new owner.
    took: Duration,
}

fn measure(arguments: &Arguments) -> Result<(), String> {
    let length = Duration::try_from_secs_f64(arguments.seconds).map_err(|error| format!("--seconds: {error}"))?;
    let runtime = Runtime::new().map_err(|error| error.to_string())?;
    let cluster = DemoCluster::start_with("moves", arguments.nodes, &["--shards", &arguments.shards.to_string()])?;
    let seeds = cluster.nodes.iter().map(|node| Seed::Gossip(JoinAddress::Address(node.serf))).collect();
    let entered = runtime.enter();
    let client = Client::<Tokio>::start(ClientOptions::new(cluster.name(), seeds));
    let historian = Historian::start(&client, cluster.nodes.iter().map(|node| node.id.clone()));
    let operator = Operator::new(&client);
    let flow = Flow::start(&client, arguments.shards, arguments.rate);
    drop(entered);
    wait_for("the first requests", GENEROUS, || {
        let ended = flow.ended();
        if ended >= WARM { Ok(()) } else { Err(format!("{ended} of {WARM}")) }
    })?;
    let mut scene = Scene { cluster, historian, operator, runtime, moving: arguments.moving };
    let mut pairs = Vec::new();
    for number in 0..arguments.pairs {
        pairs.push(scene.pair(number, length)?);
    }
    let requests = scene.runtime.block_on(flow.stop())?;
    println!("the client: {}", client.stats());
    let figures: Vec<_> = pairs.iter().map(|pair| Figures::new(pair, &requests)).collect();
    let broken = tell(arguments, &figures, &requests)?;
    if broken.is_empty() { Ok(()) } else { Err(broken.join("\n")) }
}

impl Scene {
    /// One pair. Every second one begins with the moves, so that what only time does is no difference.
    fn pair(&mut self, number: usize, length: Duration) -> Result<Pair, String> {
        let (shards, node) = self.choose(number)?;
        let mut rest = None;
        if number.is_multiple_of(2) {
            rest = Some(window(length, || Ok(()))?.0);
        }
        let before = self.historian.get().epoch();
        let (moves, took) = window(length, || self.shift(&shards, &node, before))?;
        let moved: BTreeSet<_> = self.historian.get().moved(before).into_iter().collect();
        self.runtime.block_on(self.operator.pin(&shards, ""))?;
        self.calm()?;
        let rest = match rest {
            Some(rest) => rest,
            None => window(length, || Ok(()))?.0,
        };
        let all = self.historian.get().moved(before).len();
        if (moved.len(), all) != (usize::try_from(self.moving).unwrap_or(0), moved.len()) {
            return Err(format!("{} shards moved in the window and {all} in all, not {}", moved.len(), self.moving));
        }
        Ok(Pair { rest, moves, moved, took })
    }

    /// Shards and a node to which to pin them so that as many move as should: where the node
    /// has its share already, it gives others away for them.
    fn choose(&mut self, number: usize) -> Result<(Range<u32>, String), String> {
        self.calm()?;
        let history = self.historian.get().clone();
        let ids: Vec<String> = self.cluster.nodes.iter().map(|node| node.id.clone()).collect();
        let turn = |at: usize| &ids[(at + number) % ids.len()];
        let others = |from| (0..ids.len()).filter(move |to| *to != from).map(move |to| (from, to));
        for (from, to) in (0..ids.len()).flat_map(others).map(|(from, to)| (turn(from), turn(to))) {
            for count in 1..=self.moving {
                let Some(shards) = row(&history, from, count) else { break };
                let would_move = self.runtime.block_on(self.operator.would_move(&shards, to))?;
                if would_move == self.moving {
                    return Ok((shards, to.clone()));
                }
            }
        }
        Err(format!("no row of shards is there whose move to another node moves {} in all", self.moving))
    }

    fn shift(&mut self, shards: &Range<u32>, node: &str, before: u64) -> Result<Duration, String> {
        let began = Instant::now();
        self.runtime.block_on(self.operator.pin(shards, node))?;
        wait_for("the moves", GENEROUS, || {
            let moved = self.historian.get().moved(before).len();
            if moved >= usize::try_from(self.moving).unwrap_or(0) { Ok(()) } else { Err(format!("{moved} moved")) }
        })?;
        Ok(began.elapsed())
    }

    fn calm(&mut self) -> Result<(), String> {
        self.cluster.converged(GENEROUS)?;
        std::thread::sleep(SETTLE);
        Ok(())
    }
}

/// So many shards in a row that this node owns.
fn row(history: &History, node: &str, count: u32) -> Option<Range<u32>> {
    let mut length = 0;
    for (shard, owner) in history.last() {
        length = if owner == node { length + 1 } else { 0 };
        if length == count {
            return Some(shard.0 + 1 - count..shard.0 + 1);
        }
    }
    None
}

/// Does something and lets the rest of the time pass; when that was, and what was done.
fn window<T>(length: Duration, act: impl FnOnce() -> Result<T, String>) -> Result<(Range<Instant>, T), String> {
    let began = Instant::now();
    let done = act()?;
    std::thread::sleep(length.saturating_sub(began.elapsed()));
    Ok((began..began + length, done))
}

/// What a pair came to: requests for the shards that did not move, at rest and while others moved.
struct Figures {
    rest: Sample,
    others: Sample,
    /// Requests for the shards that moved.
    moved: Sample,
    took: Duration,
}

impl Figures {
    fn new(pair: &Pair, requests: &[Ended]) -> Self {
        let took = |window: &Range<Instant>, moved: bool| {
            let of = |request: &&Ended| window.contains(&request.began) && pair.moved.contains(&request.shard) == moved;
            Sample::new(requests.iter().filter(of).map(|request| request.took).collect())
        };
        let (rest, others) = (took(&pair.rest, false), took(&pair.moves, false));
        Self { rest, others, moved: took(&pair.moves, true), took: pair.took }
    }

    fn ratio(&self, percent: usize) -> f64 {
        ms(self.others.percentile(percent)) / ms(self.rest.percentile(percent))
    }
}

/// Prints and writes it; what is broken.
fn tell(arguments: &Arguments, pairs: &[Figures], requests: &[Ended]) -> Result<Vec<String>, String> {
    println!(
        "{} of {} shards move while {} requests a second ask for all; the others' milliseconds",
        arguments.moving, arguments.shards, arguments.rate
    );
    println!(
        "{:>5} {:>8} {:>8} {:>6} {:>8} {:>8} {:>6} {:>8} {:>12}",
        "pair", "p50 rest", "moving", "ratio", "p99 rest", "moving", "ratio", "move", "moved: worst"
    );
    for (number, pair) in (1..).zip(pairs) {
        let at = |sample: &Sample, percent| ms(sample.percentile(percent));
        println!(
            "{number:>5} {:>8.3} {:>8.3} {:>6.2} {:>8.3} {:>8.3} {:>6.2} {:>8.1} {:>12.1}",
            at(&pair.rest, 50),
            at(&pair.others, 50),
            pair.ratio(50),
            at(&pair.rest, 99),
            at(&pair.others, 99),
            pair.ratio(99),
            ms(pair.took),
            ms(pair.moved.max()),
        );
    }
    let ratio = |percent| median(pairs.iter().map(|pair| pair.ratio(percent)).collect());
    let (p50, p99) = (ratio(50), ratio(99));
    let lost = requests.iter().filter(|request| request.lost.is_some()).count();
    let again = requests.iter().filter(|request| request.tries > 1).count();
    println!("median of the ratios: p50 {p50:.2} (at most {P50_MAX}), p99 {p99:.2} (at most {P99_MAX})");
    println!("{} requests, {lost} lost, {again} tried again", requests.len());
    if let Some(path) = &arguments.json {
        write(path, &figures(arguments, pairs, &json!({"requests": requests.len(), "lost": lost, "again": again})))?;
    }
    let mut broken: Vec<_> = losses(requests).into_iter().collect();
    // Not a number is over, too.
    let fine = p50 <= P50_MAX && p99 <= P99_MAX;
    broken.extend((!fine).then(|| "the latency of the others is over its bounds".to_owned()));
    Ok(broken)
}

fn figures(arguments: &Arguments, pairs: &[Figures], requests: &Value) -> Value {
    let sample = |sample: &Sample| json!({"count": sample.len(), "p50_ms": ms(sample.percentile(50)), "p99_ms": ms(sample.percentile(99)), "max_ms": ms(sample.max())});
    let pair = |pair: &Figures| {
        json!({
            "rest": sample(&pair.rest),
            "others": sample(&pair.others),
            "moved": sample(&pair.moved),
            "move_ms": ms(pair.took),
            "p50_ratio": pair.ratio(50),
            "p99_ratio": pair.ratio(99),
        })
    };
    json!({
        "nodes": arguments.nodes,
        "shards": arguments.shards,
        "moving": arguments.moving,
        "rate": arguments.rate,
        "all": requests,
        "p50_ratio": median(pairs.iter().map(|pair| pair.ratio(50)).collect()),
        "p99_ratio": median(pairs.iter().map(|pair| pair.ratio(99)).collect()),
        "pairs": pairs.iter().map(pair).collect::<Vec<_>>(),
    })
}
