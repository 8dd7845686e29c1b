//! What a request costs that funk serves where it came in, and one that funk passes on to its owner, beside a plain
//! tonic server and the same server behind nginx and HAProxy, where these are installed. All take turns in one run,
//! each with a connection of its own, so the ratios mean something on a machine that others use.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use funk_benches::neighbours::{Neighbour, serve_plainly};
use funk_benches::report::{median, write};
use funk_benches::statistics::Sample;
use funk_demo::pb::LiffRequest;
use funk_demo::pb::demo_service_client::DemoServiceClient;
use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};

/// The flag that makes this program the plain server.
const PLAIN: &str = "--plain";

/// Time before the first window of each way, in which connections and caches become warm.
const WARM: Duration = Duration::from_millis(300);

/// Measures the hop.
#[derive(Parser, Debug)]
struct Arguments {
    /// Rounds, in each of which every way is measured once.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Seconds of a window.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Callers at one time, on one connection.
    #[arg(long, value_delimiter = ',', default_value = "1,16,128")]
    callers: Vec<usize>,
    /// Writes the figures to this file, too.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Serves by tonic alone at this address, instead of measuring.
    #[arg(long, hide = true)]
    plain: Option<SocketAddr>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let verdict = match arguments.plain {
        Some(address) => serve_plainly(address),
        None => measure(&arguments),
    };
    match verdict {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hop: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A way to have a request served.
struct Way {
    name: &'static str,
    channel: Channel,
    /// Requests for keys of these.
    ids: Vec<i64>,
}

/// What a window showed.
#[derive(Clone, Copy)]
struct Window {
    p50_us: f64,
    p99_us: f64,
    per_second: f64,
}

fn measure(arguments: &Arguments) -> Result<(), String> {
    let length = Duration::try_from_secs_f64(arguments.seconds).map_err(|error| format!("--seconds: {error}"))?;
    let runtime = Runtime::new().map_err(|error| error.to_string())?;
    let mut cluster = DemoCluster::start("hop", 3)?;
    let dir = cluster.dir().to_owned();
    let plain = Neighbour::plain(PLAIN, &dir)?;
    let proxies = [
        ("nginx", Neighbour::nginx(plain.address, &folder(&dir, "nginx")?)?),
        ("haproxy", Neighbour::haproxy(plain.address, &folder(&dir, "haproxy")?)?),
    ];
    let status = cluster.status(0)?;
    let node = status.members.get(&status.node_id).and_then(|own| own.endpoints.get("ep.demo")).copied();
    let node = node.ok_or("the node shows no endpoint ep.demo")?;
    let ways = runtime.block_on(async {
        let any: Vec<i64> = keys().collect();
        let here = connect(node).await?;
        let (own, others) = owners(&here, &cluster.nodes[0].id).await?;
        let mut ways = vec![
            Way { name: "plain", channel: connect(plain.address).await?, ids: any.clone() },
            Way { name: "local", channel: here, ids: own },
            Way { name: "passed on", channel: connect(node).await?, ids: others },
        ];
        for (name, proxy) in &proxies {
            match proxy {
                Some(proxy) => ways.push(Way { name, channel: connect(proxy.address).await?, ids: any.clone() }),
                None => println!("{name} is not installed: nothing is measured beside it"),
            }
        }
        Ok::<_, String>(ways)
    })?;
    let mut figures = Vec::new();
    for &callers in &arguments.callers {
        let seen = runtime.block_on(rounds(&ways, callers, arguments.rounds, length))?;
        figures.push(tell(callers, &ways, &seen));
    }
    cluster.converged(GENEROUS)?;
    match &arguments.json {
        Some(path) => write(path, &json!({ "hop": figures })),
        None => Ok(()),
    }
}

fn folder(dir: &Path, name: &str) -> Result<PathBuf, String> {
    let folder = dir.join(name);
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

async fn connect(address: SocketAddr) -> Result<Channel, String> {
    let endpoint = Endpoint::new(format!("http://{address}")).map_err(|error| error.to_string())?;
    endpoint.tcp_nodelay(true).connect().await.map_err(|error| format!("{address}: {error}"))
}

/// Keys all over the shards.
fn keys() -> impl Iterator<Item = i64> {
    (0..10_000).step_by(10)
}

/// Keys that the node itself owns, and keys of the others.
async fn owners(channel: &Channel, own_id: &str) -> Result<(Vec<i64>, Vec<i64>), String> {
    let mut client = DemoServiceClient::new(channel.clone());
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for id in keys() {
        let answer = client.liff(LiffRequest { id }).await.map_err(|status| status.to_string())?;
        if answer.get_ref().node_id == own_id { own.push(id) } else { others.push(id) }
    }
    if own.is_empty() || others.is_empty() {
        return Err("the node owns all of the keys, or none".into());
    }
    Ok((own, others))
}

/// The windows of each way.
async fn rounds(ways: &[Way], callers: usize, rounds: usize, length: Duration) -> Result<Vec<Vec<Window>>, String> {
    let mut seen = vec![Vec::new(); ways.len()];
    for way in ways {
        window(way, callers, WARM).await?;
    }
    for round in 0..rounds {
        // Each round begins with another one, so that who comes first is no difference.
        for turn in 0..ways.len() {
            let at = (turn + round) % ways.len();
            seen[at].push(window(&ways[at], callers, length).await?);
        }
    }
    Ok(seen)
}

/// So many callers, each of whom sends the next request when it has the answer.
async fn window(way: &Way, callers: usize, length: Duration) -> Result<Window, String> {
    let began = Instant::now();
    let until = began + length;
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let mut client = DemoServiceClient::new(way.channel.clone());
            let ids: Vec<i64> = way.ids.iter().skip(caller % way.ids.len()).chain(&way.ids).copied().collect();
            tokio::spawn(async move {
                let mut took = Vec::new();
                for &id in ids.iter().cycle() {
                    let sent = Instant::now();
                    if sent >= until {
                        break;
                    }
                    client.liff(LiffRequest { id }).await.map_err(|status| status.to_string())?;
                    took.push(sent.elapsed());
                }
                Ok::<_, String>(took)
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        let took = task.await.map_err(|error| error.to_string())?;
        all.extend(took.map_err(|error| format!("{}: {error}", way.name))?);
    }
    let seconds = began.elapsed().as_secs_f64();
    let sample = Sample::new(all);
    let us = |percent| sample.percentile(percent).as_secs_f64() * 1e6;
    // Fewer than 2^52 requests are exact.
    let count = f64::from(u32::try_from(sample.len()).unwrap_or(u32::MAX));
    Ok(Window { p50_us: us(50), p99_us: us(99), per_second: count / seconds })
}

/// Prints the medians over the rounds, and the ratio of each way to each other by rounds.
fn tell(callers: usize, ways: &[Way], seen: &[Vec<Window>]) -> Value {
    println!("{callers} callers, medians of {} windows", seen.first().map_or(0, Vec::len));
    println!("  {:<10} {:>10} {:>10} {:>12}", "way", "p50 µs", "p99 µs", "requests/s");
    let of = |at: usize, value: fn(&Window) -> f64| median(seen[at].iter().map(value).collect());
    let mut figures = serde_json::Map::new();
    for (at, way) in ways.iter().enumerate() {
        let (p50, p99, rate) = (of(at, |w| w.p50_us), of(at, |w| w.p99_us), of(at, |w| w.per_second));
        println!("  {:<10} {p50:>10.0} {p99:>10.0} {rate:>12.0}", way.name);
        figures.insert(way.name.into(), json!({"p50_us": p50, "p99_us": p99, "per_second": rate}));
    }
    let at = |name: &str| ways.iter().position(|way| way.name == name);
    let ratio = |one: usize, other: usize, value: fn(&Window) -> f64| {
        median(seen[one].iter().zip(&seen[other]).map(|(one, other)| value(one) / value(other)).collect())
    };
    for (one, other) in [("local", "plain"), ("passed on", "nginx"), ("passed on", "haproxy")] {
        let (Some(first), Some(second)) = (at(one), at(other)) else { continue };
        let (p50, rate) = (ratio(first, second, |w| w.p50_us), ratio(first, second, |w| w.per_second));
        println!("  {one} / {other}: p50 {p50:.2}, requests/s {rate:.2}");
        figures.insert(format!("{one} / {other}"), json!({"p50": p50, "per_second": rate}));
    }
    json!({"callers": callers, "ways": figures})
}
