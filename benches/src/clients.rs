//! Clients on threads of their own, which number what they do and keep what was acknowledged.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What the clients of one run share.
#[derive(Debug)]
pub struct Shared<T> {
    acknowledged: Mutex<Vec<T>>,
    next: AtomicU64,
    end: AtomicBool,
}

impl<T> Shared<T> {
    /// A number that nobody else has.
    pub fn fresh(&self) -> u64 {
        self.next.fetch_add(1, Ordering::SeqCst)
    }

    /// Whether the clients are to go on.
    pub fn goes_on(&self) -> bool {
        !self.end.load(Ordering::SeqCst)
    }

    /// This was acknowledged.
    pub fn acknowledge(&self, what: T) {
        self.acknowledged.lock().expect("no client panics").push(what);
    }
}

/// Running clients. They end with the value.
#[derive(Debug)]
pub struct Clients<T> {
    shared: Arc<Shared<T>>,
    threads: Vec<JoinHandle<()>>,
}

impl<T: Clone + Send + 'static> Clients<T> {
    /// Starts one client for each of `what`.
    pub fn start<W: Send + 'static>(what: impl IntoIterator<Item = W>, run: fn(&Shared<T>, W)) -> Self {
        let shared = Arc::new(Shared { acknowledged: Mutex::default(), next: AtomicU64::new(0), end: false.into() });
        let thread = |what: W| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || run(&shared, what))
        };
        let threads = what.into_iter().map(thread).collect();
        Self { shared, threads }
    }

    /// What was acknowledged so far, in that order.
    pub fn acknowledged(&self) -> Vec<T> {
        self.shared.acknowledged.lock().expect("no client panics").clone()
    }

    /// A number that no client has.
    pub fn fresh(&self) -> u64 {
        self.shared.fresh()
    }

    /// Ends them, and gives all that was acknowledged.
    pub fn finish(mut self) -> Vec<T> {
        self.end();
        self.acknowledged()
    }
}

impl<T> Clients<T> {
    fn end(&mut self) {
        self.shared.end.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            // A client that panicked acknowledged what it acknowledged.
            let _ = thread.join();
        }
    }
}

impl<T> Drop for Clients<T> {
    fn drop(&mut self) {
        self.end();
    }
}
