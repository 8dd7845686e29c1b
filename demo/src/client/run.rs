//! The workers.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use funk::Runtime;
use funk::client::{Client, ClientOptions};

use super::call::{self, Failure, Service, liff};
use super::flags::ClientFlags;
use super::report::{Report, Sample};

/// Time from the first try after which a request counts as lost.
const LOST_AFTER: Duration = Duration::from_secs(5);
/// Pause before another try; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(10);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// Requests that ask for different shards; then they begin anew, so that each
/// shard is seen again and again and an epoch that goes back shows.
const IDS: u64 = 1_000;
/// From one request's id to the next: neighbours in time are far apart in the
/// shard order, where neighbours often have one owner. A prime, so that no shard count hides it.
const STRIDE: u64 = 7_919;
/// Time without any answer after which the client says why.
const IN_VAIN: Duration = Duration::from_secs(1);
/// Time to find a first node.
const FIND_MAX: Duration = Duration::from_secs(5);

struct Shared<N> {
    flags: ClientFlags,
    service: Service<N>,
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
pub async fn run<N: Runtime>(flags: ClientFlags) -> Result<Report, String> {
    let options = ClientOptions::new(flags.cluster_name.as_str(), flags.seeds());
    let options = match flags.tls.load()? {
        Some(tls) => options.over(tls),
        None => options,
    };
    let client = Client::<N>::start(match flags.gossip.load()? {
        Some(keys) => options.gossip_keys(keys),
        None => options,
    });
    if let Err(why) = client.wait_for_endpoint("ep.demo", Instant::now() + FIND_MAX).await {
        let joins: Vec<_> = flags.join.iter().map(|join| format!("--join {join}")).collect();
        let place = if joins.is_empty() { "found by mDNS".into() } else { format!("at {}", joins.join(", ")) };
        let what = format!("no node of cluster {} with a demo service {place}: {}", flags.cluster_name, why.why);
        return Err(if joins.is_empty() { format!("{what}; give --join HOST:PORT") } else { what });
    }
    let mut random = [0; 4];
    getrandom::fill(&mut random).map_err(|error| format!("no randomness: {error}"))?;
    let concurrency = flags.concurrency;
    let shared = Arc::new(Shared {
        service: call::service(&client, flags.retry),
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
    shared.watch(&client).await;
    let mut report = std::mem::take(&mut *shared.report.lock().unwrap_or_else(PoisonError::into_inner));
    report.finish(shared.began.elapsed());
    report.calls = client.stats();
    Ok(report)
}

impl<N: Runtime> Shared<N> {
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
        let mut pause = PAUSE;
        let lost = loop {
            let began = Instant::now();
            let (tries, answer) = liff(&self.service, id, LOST_AFTER.saturating_sub(first.elapsed())).await;
            let failed = tries - u64::from(answer.is_ok());
            self.report().errors += failed;
            match answer {
                Ok(answer) => {
                    let ended = Instant::now();
                    let retries = retries + tries - 1;
                    let mut report = self.report();
                    report.epochs.note(answer.shard, answer.epoch, began, ended);
                    report.answered(Sample { node: answer.node, took: ended - first, retries });
                    return;
                }
                Err(Failure::Wrong(why)) => break why,
                Err(Failure::Again(why)) if !self.flags.retry || first.elapsed() + pause >= LOST_AFTER => break why,
                Err(Failure::Again(_)) => {}
            }
            retries += tries;
            N::sleep(pause).await;
            pause = (2 * pause).min(PAUSE_MAX);
        };
        let mut report = self.report();
        report.lost += 1;
        report.retries += retries;
        report.last_loss = Some(lost);
    }

    /// Shows the progress until all workers are done.
    async fn watch(&self, client: &Client<N>) {
        let bar = std::io::stderr().is_terminal();
        let mut told = false;
        while self.working.load(Ordering::Acquire) > 0 {
            N::sleep(Duration::from_millis(20)).await;
            let in_vain = self.began.elapsed() >= IN_VAIN && self.report().count() == 0;
            if !told
                && in_vain
                && let Some(why) = client.trouble()
            {
                told = true;
                funk_cli::complain(&format!("no request is answered, and the cluster cannot be followed: {why}"));
            }
            if bar {
                self.draw();
            }
        }
        if bar {
            funk_cli::show(b"\n".to_vec());
        }
    }

    fn draw(&self) {
        let done = { self.report().count() };
        let part = match self.flags.duration {
            Some(length) => self.began.elapsed().as_secs_f64() / length.as_secs_f64(),
            None => done as f64 / self.flags.repeats.max(1) as f64,
        };
        let filled = (1..=40).filter(|step| f64::from(*step) / 40.0 <= part).count();
        funk_cli::show(format!("\r[{:<40}] {done}", "#".repeat(filled)).into_bytes());
    }

    fn report(&self) -> std::sync::MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
