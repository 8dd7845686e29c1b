//! Many nodes on one machine, started simultaneously: how long they take to agree, how often the leader changes
//! meanwhile, and whether it stays afterwards. With `--busy`: the same beside threads that take every core, and once
//! these have ended.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::Parser;
use funk_tests::blackbox::cluster::{DemoCluster, check_converged};
use funk_tests::blackbox::http::Client;
use funk_tests::blackbox::status::{self, Status};
use funk_tests::blackbox::wait_for;

/// Term of a cluster's first leader: what it begins with is of the one before.
const FIRST_TERM: u64 = 2;
/// Leader changes that a start may take.
const CHANGES_MAX: u64 = 3;
/// Time for an answer of a status page on a machine that has no idle time.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// Time between two looks at all nodes: a look costs them as much as some of their own work.
const LOOK: Duration = Duration::from_millis(250);

/// Starts many nodes simultaneously, again and again.
#[derive(Parser, Debug)]
struct Arguments {
    /// Nodes of a cluster.
    #[arg(long, default_value_t = 100)]
    nodes: usize,
    /// Clusters, one after the other.
    #[arg(long, default_value_t = 1)]
    runs: usize,
    /// Seconds from the last start within which all must be at one; with `--busy`, from the end of the busy programs.
    #[arg(long, default_value_t = 5.0)]
    within: f64,
    /// Seconds at rest afterwards, in which the leader must not change.
    #[arg(long, default_value_t = 60)]
    rest: u64,
    /// Threads that take all the processor time that they get, from before the start until all are at one.
    #[arg(long, default_value_t = 0)]
    busy: usize,
    /// Seconds from the last start within which all must be at one beside these.
    #[arg(long, default_value_t = 30.0)]
    busy_within: f64,
    /// Seconds after which a cluster is given up.
    #[arg(long, default_value_t = 180)]
    patience: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    println!(
        "{:>4} {:>6} {:>12} {:>12} {:>8} {:>14}",
        "run", "nodes", "started s", "at one s", "changes", "rest: changes"
    );
    let mut broken = Vec::new();
    for run in 1..=arguments.runs {
        match measure(&arguments) {
            Ok(Outcome { starts, at_one, changes, later }) => {
                let (starts, seconds) = (starts.as_secs_f64(), at_one.as_secs_f64());
                println!("{run:>4} {:>6} {starts:>12.1} {seconds:>12.1} {changes:>8} {later:>14}", arguments.nodes);
                let within = if arguments.busy > 0 { arguments.busy_within } else { arguments.within };
                if seconds > within || changes > CHANGES_MAX || later > 0 {
                    broken.push(format!("run {run} is over the limits"));
                }
            }
            Err(error) => broken.push(format!("run {run}: {error}")),
        }
    }
    println!(
        "limits: at one within {} s{}, {CHANGES_MAX} changes of the leader, none in {} s at rest",
        arguments.within,
        if arguments.busy > 0 {
            format!(" ({} s beside the busy programs)", arguments.busy_within)
        } else {
            String::new()
        },
        arguments.rest
    );
    if broken.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("scale: {} of {} runs broke a limit\n{}", broken.len(), arguments.runs, broken.join("\n"));
    ExitCode::FAILURE
}

struct Outcome {
    /// From the first start to the last.
    starts: Duration,
    /// From the last start until all nodes show one map.
    at_one: Duration,
    /// Changes of the leader until then.
    changes: u64,
    /// Changes of the leader at rest.
    later: u64,
}

fn measure(arguments: &Arguments) -> Result<Outcome, String> {
    let busy = Busy::start(arguments.busy);
    let mut cluster = DemoCluster::empty("scale", &["--log-level", "warn"])?;
    let began = Instant::now();
    cluster.bootstrap()?;
    let first = cluster.nodes[0].serf.to_string();
    for _ in 1..arguments.nodes {
        cluster.join_at(&[&first])?;
    }
    let started = Instant::now();
    let mut clients = Vec::new();
    for node in 0..arguments.nodes {
        clients.push(Client::new(cluster.page(node)?, ANSWER_MAX));
    }
    let ids = cluster.nodes.iter().map(|node| node.id.clone()).collect();
    let mut look = || {
        std::thread::sleep(LOOK);
        // One of them says soon enough that not all are there yet.
        let own = status::fetch(&mut clients[0])?;
        if own.members.len() < arguments.nodes {
            return Err(own.brief());
        }
        let all: Vec<Status> = clients.iter_mut().map(status::fetch).collect::<Result<_, _>>()?;
        check_converged(&all, &ids).map(|()| all[0].term)
    };
    let patience = Duration::from_secs(arguments.patience);
    let term = wait_for("all nodes to be at one", patience, &mut look)?;
    let at_one = started.elapsed();
    drop(busy);
    if arguments.busy > 0 {
        let ended = Instant::now();
        wait_for("all nodes to be at one after the busy programs", patience, &mut look)?;
        let took = ended.elapsed();
        if took.as_secs_f64() > arguments.within {
            return Err(format!("at one only {took:?} after the busy programs ended"));
        }
    }
    let before = look()?;
    std::thread::sleep(Duration::from_secs(arguments.rest));
    let later = look()? - before;
    Ok(Outcome { starts: started - began, at_one, changes: term.saturating_sub(FIRST_TERM), later })
}

/// Threads that take all the processor time that they get.
struct Busy(Arc<AtomicBool>, Vec<JoinHandle<()>>);

impl Busy {
    fn start(count: usize) -> Self {
        let goes_on = Arc::new(AtomicBool::new(true));
        let spin = |_| {
            let goes_on = Arc::clone(&goes_on);
            std::thread::spawn(move || while goes_on.load(Ordering::Relaxed) {})
        };
        let threads = (0..count).map(spin).collect();
        Self(goes_on, threads)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
        self.1.drain(..).for_each(|thread| drop(thread.join()));
    }
}
