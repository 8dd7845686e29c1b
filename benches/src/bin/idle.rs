//! What a cluster at rest costs: processor time of each node, the bytes on
//! the loopback interface of a network namespace that holds nothing else, and
//! the gossip among them by node.

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::Parser;
use funk_benches::meter::{self, Traffic};
use funk_tests::blackbox::cluster::{DemoCluster, Discovery, GENEROUS, discover_by};

/// Set for the run inside the namespace.
const INSIDE: &str = "FUNK_IDLE_INSIDE";

/// Clock ticks in a second, as the process list counts them; the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// What five nodes at rest may cost.
const LEADER_PERCENT_MAX: f64 = 2.0;
const LOOPBACK_MAX: f64 = 60_000.0;
/// Bytes of gossip in a second that one node may send at rest, headers and streams included.
const GOSSIP_MAX: f64 = 600.0;

/// Measures a cluster at rest.
#[derive(Parser, Debug)]
struct Arguments {
    /// Nodes of the cluster.
    #[arg(long, default_value_t = 5)]
    nodes: usize,
    /// Seconds to measure. Nodes exchange their whole tables every 30 s, so a multiple of that is fair.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How the nodes find each other.
    #[arg(long, value_enum, default_value = "join")]
    discovery: Discovery,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let verdict = match std::env::var_os(INSIDE) {
        None => enter_namespace(),
        Some(_) => {
            discover_by(arguments.discovery);
            measure(&arguments)
        }
    };
    match verdict {
        Ok(code) => code,
        Err(error) => {
            eprintln!("idle: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs this program again in a fresh network namespace, which ends with it.
fn enter_namespace() -> Result<ExitCode, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let status = Command::new("unshare")
        .args(["--map-root-user", "--net", "--", "sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .status()
        .map_err(|error| format!("unshare: {error}"))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn measure(arguments: &Arguments) -> Result<ExitCode, String> {
    let mut cluster = DemoCluster::start("idle", arguments.nodes)?;
    let leader = cluster.leader()?;
    // What the start set going has settled by then.
    std::thread::sleep(Duration::from_secs(3));
    let pids: Vec<_> = cluster.nodes.iter().map(|node| node.process.pid()).collect();
    let ports: Vec<_> = cluster.nodes.iter().map(|node| node.serf.port()).collect();
    meter::start(&ports)?;
    let (bytes, packets) = loopback()?;
    let ticks: Vec<_> = pids.iter().map(|&pid| processor_ticks(pid)).collect::<Result<_, _>>()?;
    let started = Instant::now();
    std::thread::sleep(Duration::from_secs(arguments.seconds));
    let seconds = started.elapsed().as_secs_f64();
    let (bytes_after, packets_after) = loopback()?;
    let gossip: Vec<_> =
        ports.iter().map(|&port| Ok(meter::read(port)?.per_second(seconds))).collect::<Result<_, String>>()?;
    println!("{} nodes at rest for {seconds:.0} s", arguments.nodes);
    let mut leader_percent = 0.0;
    for (node, (&pid, before)) in pids.iter().zip(ticks).enumerate() {
        let percent = (processor_ticks(pid)? - before) / TICKS_PER_SECOND / seconds * 100.0;
        let role = if node == leader { "leader" } else { "follower" };
        println!("  {} {role:>8}: {percent:.2} % of a core, {} kB resident", cluster.nodes[node].id, resident(pid)?);
        if node == leader {
            leader_percent = percent;
        }
    }
    let rate = (bytes_after - bytes) / seconds;
    println!("  loopback: {:.1} kB/s, {:.0} packets/s", rate / 1e3, (packets_after - packets) / seconds);
    let ids = cluster.nodes.iter().map(|node| node.id.as_str());
    let gossip = print_gossip(&ids.zip(gossip).collect::<Vec<_>>());
    println!("  for comparison, the Go original: leader 12.3 % of a core, 204 kB/s, 1,612 packets/s");
    cluster.converged(GENEROUS)?;
    let fine = leader_percent < LEADER_PERCENT_MAX && rate < LOOPBACK_MAX && gossip <= GOSSIP_MAX;
    println!(
        "  limits: leader {LEADER_PERCENT_MAX} %, loopback {} kB/s, gossip {GOSSIP_MAX} B/s a node: {}",
        LOOPBACK_MAX / 1e3,
        if fine { "kept" } else { "BROKEN" }
    );
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints the gossip of each node in bytes per second, headers included; gives the mean of what a node
/// sends. A stream's bytes are told with the node that it was opened to, and count once in the mean.
fn print_gossip(nodes: &[(&str, Traffic)]) -> f64 {
    let mut all = 0.0;
    for (id, Traffic { sent, received, streams }) in nodes {
        println!(
            "  {id} gossip: {sent:.0} B/s sent and {received:.0} B/s received by UDP, {streams:.0} B/s on streams to it"
        );
        all += sent + streams;
    }
    // A cluster has few nodes, exact in a float.
    #[allow(clippy::cast_precision_loss, reason = "a count of nodes is far below 2^52")]
    let mean = all / nodes.len() as f64;
    println!("  gossip: {mean:.0} B/s sent by a node in the mean, of {all:.0} B/s in all");
    mean
}

/// Bytes and packets that the loopback interface received so far.
fn loopback() -> Result<(f64, f64), String> {
    let table = std::fs::read_to_string("/proc/self/net/dev").map_err(|error| error.to_string())?;
    let row = table.lines().find_map(|line| line.trim().strip_prefix("lo:")).ok_or("there is no loopback interface")?;
    let mut numbers = row.split_whitespace().map_while(|field| field.parse().ok());
    numbers.next().zip(numbers.next()).ok_or_else(|| format!("`{row}` counts nothing"))
}

/// User and system time of a process, in clock ticks.
fn processor_ticks(pid: u32) -> Result<f64, String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|error| error.to_string())?;
    let (_, rest) = stat.rsplit_once(") ").ok_or("the process has no name")?;
    // The fields after the name begin with the third; user and system time are the 14th and 15th.
    let ticks = rest.split(' ').skip(11).take(2).map(str::parse::<f64>);
    ticks.sum::<Result<f64, _>>().map_err(|error| error.to_string())
}

/// Resident memory of a process in kB.
fn resident(pid: u32) -> Result<u64, String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).map_err(|error| error.to_string())?;
    let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no resident size")?;
    value.trim().trim_end_matches(" kB").parse().map_err(|error| format!("`{value}`: {error}"))
}
