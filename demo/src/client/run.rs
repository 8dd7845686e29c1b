//! The workers.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use funk_rpc::{Net, Pool};

use super::call::{Failure, liff};
use super::flags::ClientFlags;
use super::nodes::Nodes;
use super::report::{Report, Sample};

/// Time from the first try after which a request counts as lost.
const LOST_AFTER: Duration = Duration::from_secs(5);
/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(10);
/// Requests that ask for different shards; then they begin anew, so that each
/// shard is seen again and again and an epoch that goes back shows.
const IDS: u64 = 1_000;
/// From one request's id to the next: neighbours in time are far apart in the
/// shard order, where neighbours often have one owner. A prime, so that no shard count hides it.
const STRIDE: u64 = 7_919;
/// Time to find a first node.
const FIND_MAX: Duration = Duration::from_secs(5);

struct Shared<N> {
    flags: ClientFlags,
    nodes: Nodes,
    pool: Pool<N>,
    began: Instant,
    next: AtomicU64,
    first_id: i64,
    working: AtomicUsize,
    report: Mutex<Report>,
}

/// Runs the client to its end.
///
/// # Errors
/// A line for stderr: no node found.
pub async fn run<N: Net>(flags: ClientFlags) -> Result<Report, String> {
    let nodes = Nodes::new(flags.cluster_name.as_str());
    let begin = Instant::now();
    loop {
        let found = flags.seeds().map(|seeds| nodes.look_at(seeds));
        if nodes.refresh::<N>().await && nodes.count() > 0 {
            break;
        }
        if begin.elapsed() > FIND_MAX {
            found?;
            let (name, join) = (&flags.cluster_name, flags.join.iter().map(ToString::to_string).collect::<Vec<_>>());
            let place = if join.is_empty() { "found by mDNS".into() } else { format!("at --join {}", join.join(", ")) };
            return Err(format!("no node of cluster {name} with a demo service {place}"));
        }
        N::sleep(Duration::from_millis(50)).await;
    }
    let mut random = [0; 4];
    getrandom::fill(&mut random).map_err(|error| format!("no randomness: {error}"))?;
    let concurrency = flags.concurrency;
    let shared = Arc::new(Shared {
        nodes,
        pool: Pool::<N>::new(),
        began: Instant::now(),
        next: AtomicU64::new(0),
        first_id: i64::from(u32::from_le_bytes(random)),
        working: AtomicUsize::new(usize::try_from(concurrency).unwrap_or(1)),
        report: Mutex::default(),
        flags,
    });
    for _ in 0..concurrency {
        let shared = Arc::clone(&shared);
        N::spawn(async move {
            shared.work().await;
            shared.working.fetch_sub(1, Ordering::AcqRel);
        });
    }
    futures_lite::future::or(shared.watch(), shared.nodes.keep_looking::<N>()).await;
    let mut report = std::mem::take(&mut *shared.report.lock().unwrap_or_else(PoisonError::into_inner));
    report.finish(shared.began.elapsed());
    Ok(report)
}

impl<N: Net> Shared<N> {
    async fn work(&self) {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if let Some(rate) = self.flags.rate {
                let due = self.began + Duration::from_secs_f64(number as f64 / f64::from(rate));
                N::sleep(due.saturating_duration_since(Instant::now())).await;
            }
            let over = match self.flags.duration {
                Some(length) => self.began.elapsed() >= length,
                None => number >= self.flags.repeats,
            };
            if over {
                return;
            }
            let id = self.first_id.wrapping_add_unsigned(number % IDS * STRIDE);
            self.request(id).await;
            if !self.flags.sleep.is_zero() {
                N::sleep(self.flags.sleep).await;
            }
        }
    }

    async fn request(&self, id: i64) {
        let first = Instant::now();
        let mut retries = 0;
        let mut last: Option<SocketAddr> = None;
        let lost = loop {
            let why = match self.nodes.pick(last) {
                None => "no node is known".to_owned(),
                Some(address) => {
                    last = Some(address);
                    let began = Instant::now();
                    match liff(&self.pool, address, id).await {
                        Ok(answer) => {
                            let ended = Instant::now();
                            let mut report = self.report();
                            report.epochs.note(answer.shard, answer.epoch, began, ended);
                            report.answered(Sample { node: answer.node, took: ended - first, retries });
                            return;
                        }
                        Err(Failure::Wrong(why)) => {
                            self.report().errors += 1;
                            break why;
                        }
                        Err(Failure::Again(why)) => why,
                        Err(Failure::Silent(why)) => {
                            self.nodes.failed(address);
                            why
                        }
                    }
                }
            };
            self.report().errors += 1;
            if !self.flags.retry || first.elapsed() + PAUSE >= LOST_AFTER {
                break why;
            }
            retries += 1;
            N::sleep(PAUSE).await;
        };
        let mut report = self.report();
        report.lost += 1;
        report.retries += retries;
        report.last_loss = Some(lost);
    }

    /// Shows the progress until all workers are done.
    async fn watch(&self) {
        let bar = std::io::stderr().is_terminal();
        while self.working.load(Ordering::Acquire) > 0 {
            N::sleep(Duration::from_millis(20)).await;
            if bar {
                self.draw();
            }
        }
        if bar {
            eprintln!();
        }
    }

    fn draw(&self) {
        let done = { self.report().count() };
        let part = match self.flags.duration {
            Some(length) => self.began.elapsed().as_secs_f64() / length.as_secs_f64(),
            None => done as f64 / self.flags.repeats.max(1) as f64,
        };
        let filled = (1..=40).filter(|step| f64::from(*step) / 40.0 <= part).count();
        let _ = write!(std::io::stderr(), "\r[{:<40}] {done}", "#".repeat(filled));
    }

    fn report(&self) -> std::sync::MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
