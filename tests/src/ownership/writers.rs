//! Clients that write numbers, each once, and keep what was acknowledged.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::SHARDS;

/// A node that says nothing for so long is left for another.
const PATIENCE: Duration = Duration::from_millis(300);
/// Between two tries of one client.
const PACE: Duration = Duration::from_millis(2);

#[derive(Debug, Default)]
struct Shared {
    acknowledged: Mutex<Vec<(u32, u64)>>,
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
    /// Starts so many clients of the nodes `names`, whose sockets are in `dir`.
    pub fn start(dir: &Path, names: &[String], clients: usize) -> Self {
        let shared = Arc::<Shared>::default();
        let sockets: Vec<_> = names.iter().map(|name| dir.join(format!("{name}.sock"))).collect();
        let thread = |client: usize| {
            let (shared, sockets) = (Arc::clone(&shared), sockets.clone());
            std::thread::spawn(move || write(&shared, &sockets, client))
        };
        let threads = (0..clients).map(thread).collect();
        Self { shared, threads }
    }

    /// The writes that were acknowledged so far: shard and number.
    pub fn acknowledged(&self) -> Vec<(u32, u64)> {
        self.shared.acknowledged.lock().expect("no client panics").clone()
    }

    /// Ends them, and gives the acknowledged writes.
    pub fn finish(mut self) -> Vec<(u32, u64)> {
        self.shared.end.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            // A client that panicked acknowledged what it acknowledged.
            let _ = thread.join();
        }
        self.acknowledged()
    }
}

/// Writes one number after the other, at whichever node takes it.
fn write(shared: &Shared, sockets: &[PathBuf], mut node: usize) {
    let mut streams: Vec<Option<BufReader<UnixStream>>> = sockets.iter().map(|_| None).collect();
    while !shared.end.load(Ordering::SeqCst) {
        let number = shared.next.fetch_add(1, Ordering::SeqCst);
        let shard = u32::try_from(number % u64::from(SHARDS)).expect("less than the shards");
        while !shared.end.load(Ordering::SeqCst) {
            node = (node + 1) % sockets.len();
            match ask(&mut streams[node], &sockets[node], shard, number).as_deref() {
                Ok("ok\n") => {
                    shared.acknowledged.lock().expect("no client panics").push((shard, number));
                    break;
                }
                Ok(_) => {}
                // An answer that comes later belongs to no question.
                Err(_) => streams[node] = None,
            }
            std::thread::sleep(PACE);
        }
    }
}

fn ask(stream: &mut Option<BufReader<UnixStream>>, socket: &Path, shard: u32, number: u64) -> std::io::Result<String> {
    let stream = match stream {
        Some(stream) => stream,
        None => {
            let fresh = UnixStream::connect(socket)?;
            fresh.set_read_timeout(Some(PATIENCE))?;
            stream.insert(BufReader::new(fresh))
        }
    };
    stream.get_mut().write_all(format!("{shard} {number}\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_line(&mut answer)?;
    if answer.is_empty() {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer)
}
