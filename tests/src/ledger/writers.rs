//! Clients that propose numbers, each once, and keep what was acknowledged.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two tries of a client whose node did not answer.
const PACE: Duration = Duration::from_millis(2);
/// A question that is not answered for so long has failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks one question.
///
/// # Errors
/// When the node does not answer.
pub fn ask(socket: &Path, question: &str) -> std::io::Result<String> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    ask_on(&mut BufReader::new(stream), question)
}

fn ask_on(stream: &mut BufReader<UnixStream>, question: &str) -> std::io::Result<String> {
    stream.get_mut().write_all(format!("{question}\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_line(&mut answer)?;
    if !answer.ends_with('\n') {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    answer.pop();
    Ok(answer)
}

#[derive(Debug, Default)]
struct Shared {
    acknowledged: Mutex<BTreeSet<u64>>,
    next: AtomicU64,
    end: AtomicBool,
}

/// Running clients.
#[derive(Debug)]
pub struct Writers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Writers {
    /// Starts as many clients for each of these nodes.
    pub fn start(sockets: &[PathBuf], each: usize) -> Self {
        let shared = Arc::<Shared>::default();
        let thread = |socket: &PathBuf| {
            let (shared, socket) = (Arc::clone(&shared), socket.clone());
            std::thread::spawn(move || write(&shared, &socket))
        };
        let threads = (0..each).flat_map(|_| sockets.iter().map(thread)).collect();
        Self { shared, threads }
    }

    /// The numbers that were acknowledged so far.
    pub fn acknowledged(&self) -> BTreeSet<u64> {
        self.shared.acknowledged.lock().expect("no client panics").clone()
    }

    /// A number that nobody else proposes.
    pub fn fresh(&self) -> u64 {
        self.shared.next.fetch_add(1, Ordering::SeqCst)
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.shared.end.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            // A client that panicked acknowledged what it acknowledged.
            let _ = thread.join();
        }
    }
}

/// Proposes one number after the other at one node, whether it runs or not.
fn write(shared: &Shared, socket: &Path) {
    let mut stream = None;
    while !shared.end.load(Ordering::SeqCst) {
        let number = shared.next.fetch_add(1, Ordering::SeqCst);
        if propose(&mut stream, socket, number).is_ok_and(|answer| answer == "ok") {
            shared.acknowledged.lock().expect("no client panics").insert(number);
        } else {
            // What became of the number is not known; it is not proposed again.
            stream = None;
            std::thread::sleep(PACE);
        }
    }
}

fn propose(stream: &mut Option<BufReader<UnixStream>>, socket: &Path, number: u64) -> std::io::Result<String> {
    let stream = match stream {
        Some(stream) => stream,
        None => {
            let fresh = UnixStream::connect(socket)?;
            fresh.set_read_timeout(Some(PATIENCE))?;
            stream.insert(BufReader::new(fresh))
        }
    };
    ask_on(stream, &format!("propose {number}"))
}
