//! A runtime in memory, on one thread: streams are buffers, and time passes when it is told to.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use funk_io::Runtime;
use futures_io::{AsyncRead, AsyncWrite};

/// Runs of tasks that one input may bring about.
const RUNS_MAX: usize = 200_000;
/// Bytes of what a server says that are kept.
const KEPT_MAX: usize = 64 << 10;

/// What a stream's descriptor is: options of sockets can be set on it.
static SOCKET: LazyLock<TcpListener> =
    LazyLock::new(|| TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a port"));

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
}

#[derive(Default)]
struct World {
    tasks: Vec<Task>,
    now: Duration,
    timers: Vec<(Duration, Waker)>,
    incoming: VecDeque<(ServerEnd, SocketAddr)>,
    accepting: Option<Waker>,
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
    woken: Arc<Woken>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// Runs all tasks until none has anything to do.
pub(super) fn run() {
    for _ in 0..RUNS_MAX {
        let mut tasks = WORLD.with_borrow_mut(|world| std::mem::take(&mut world.tasks));
        let mut ran = false;
        tasks.retain_mut(|task| {
            if !task.woken.0.swap(false, Ordering::AcqRel) {
                return true;
            }
            ran = true;
            let waker = Waker::from(Arc::clone(&task.woken));
            task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending()
        });
        WORLD.with_borrow_mut(|world| {
            tasks.append(&mut world.tasks);
            world.tasks = tasks;
        });
        if !ran {
            return;
        }
    }
    panic!("the server does not come to rest");
}

/// Lets time pass, and what waits for it run.
pub(super) fn pass(time: Duration) {
    let due = WORLD.with_borrow_mut(|world| {
        world.now += time;
        let now = world.now;
        let (due, left): (Vec<_>, Vec<_>) =
            std::mem::take(&mut world.timers).into_iter().partition(|(at, _)| *at <= now);
        world.timers = left;
        due
    });
    due.into_iter().for_each(|(_, waker)| waker.wake());
    run();
}

/// Tasks that have not ended.
pub(super) fn tasks() -> usize {
    WORLD.with_borrow(|world| world.tasks.len())
}

/// Forgets all of it.
pub(super) fn end() {
    // What is dropped may ask for the world once more.
    drop(WORLD.take());
    drop(WORLD.take());
}

/// A listener's socket, for what wants to know where it listens.
pub(super) fn listener() -> TcpListener {
    SOCKET.try_clone().expect("there are descriptors")
}

#[derive(Default)]
struct Ends {
    /// Bytes for the server.
    sent: VecDeque<u8>,
    hung_up: bool,
    reader: Option<Waker>,
    /// Bytes from the server.
    said: Vec<u8>,
    /// Whether the client takes what is said.
    reads: bool,
    writer: Option<Waker>,
}

/// A client's end of a stream.
pub(super) struct Client(Arc<Mutex<Ends>>);

/// The server's end.
pub(super) struct ServerEnd(Arc<Mutex<Ends>>);

fn lock(ends: &Mutex<Ends>) -> MutexGuard<'_, Ends> {
    ends.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Client {
    /// Connects to the server of this thread. Some clients read what it says.
    pub(super) fn connect(reads: bool) -> Self {
        let ends = Arc::new(Mutex::new(Ends { reads, ..Ends::default() }));
        let waker = WORLD.with_borrow_mut(|world| {
            world.incoming.push_back((ServerEnd(Arc::clone(&ends)), SocketAddr::from(([127, 0, 0, 1], 9))));
            world.accepting.take()
        });
        waker.into_iter().for_each(Waker::wake);
        Self(ends)
    }

    /// Sends bytes, and lets the server do what they bring about.
    pub(super) fn send(&self, bytes: &[u8]) {
        let reader = {
            let mut ends = lock(&self.0);
            ends.sent.extend(bytes);
            ends.reader.take()
        };
        reader.into_iter().for_each(Waker::wake);
        run();
    }

    /// What the server said so far.
    pub(super) fn heard(&self) -> Vec<u8> {
        lock(&self.0).said.clone()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let wakers = {
            let mut ends = lock(&self.0);
            ends.hung_up = true;
            [ends.reader.take(), ends.writer.take()]
        };
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

impl AsFd for ServerEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        SOCKET.as_fd()
    }
}

impl AsyncRead for ServerEnd {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut ends = lock(&self.0);
        if ends.sent.is_empty() && !ends.hung_up {
            ends.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(io::Read::read(&mut ends.sent, buffer))
    }
}

impl AsyncWrite for ServerEnd {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut ends = lock(&self.0);
        if ends.hung_up {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if !ends.reads && !ends.said.is_empty() {
            ends.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let room = KEPT_MAX.saturating_sub(ends.said.len()).min(bytes.len());
        ends.said.extend_from_slice(&bytes[..room]);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The runtime.
pub(super) struct Memory;

/// A timer: when it is due, by the time that passes here.
pub(super) struct Due(Duration);

fn due(at: Instant) -> Duration {
    WORLD.with_borrow(|world| world.now) + at.saturating_duration_since(Instant::now())
}

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Runtime for Memory {
    type Stream = ServerEnd;
    type Listener = ();
    type Udp = ();
    type Timer = Due;

    fn listen(_: TcpListener) -> io::Result<()> {
        Ok(())
    }

    async fn accept((): &()) -> io::Result<(ServerEnd, SocketAddr)> {
        let accepted = poll_fn(|context| {
            WORLD.with_borrow_mut(|world| match world.incoming.pop_front() {
                Some(incoming) => Poll::Ready(incoming),
                None => {
                    world.accepting = Some(context.waker().clone());
                    Poll::Pending
                }
            })
        });
        Ok(accepted.await)
    }

    async fn connect(_: SocketAddr) -> io::Result<ServerEnd> {
        unsupported()
    }

    fn udp(_: UdpSocket) -> io::Result<()> {
        unsupported()
    }

    fn poll_recv_from((): &mut (), _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        Poll::Ready(unsupported())
    }

    fn try_send_to((): &mut (), _: &[u8], _: SocketAddr) -> io::Result<usize> {
        unsupported()
    }

    fn poll_writable((): &mut (), _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(unsupported())
    }

    fn timer(at: Instant) -> Due {
        Due(due(at))
    }

    fn arm(timer: &mut Due, at: Instant) {
        timer.0 = due(at);
    }

    fn poll_timer(timer: &mut Due, context: &mut Context<'_>) -> Poll<()> {
        WORLD.with_borrow_mut(|world| {
            if world.now >= timer.0 {
                return Poll::Ready(());
            }
            world.timers.push((timer.0, context.waker().clone()));
            Poll::Pending
        })
    }

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        let task = Task { future: Box::pin(task), woken: Arc::new(Woken(AtomicBool::new(true))) };
        WORLD.with_borrow_mut(|world| world.tasks.push(task));
    }

    fn block_on<F: Future>(_: F) -> io::Result<F::Output> {
        unsupported()
    }
}
