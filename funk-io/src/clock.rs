//! The node's clock.

use funk_proto::Timestamp;

/// Nanoseconds since the node's start, on a clock that counts suspend: a node
/// that slept must find its lease over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Reading,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        Self { start: Reading::now() }
    }

    /// The present instant. One call into the vDSO, no system call.
    #[inline]
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_nanos(Reading::now().nanos_since(self.start))
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[derive(Clone, Copy, Debug)]
struct Reading(u64);

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Reading {
    #[inline]
    fn now() -> Self {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
        Self(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
    }

    #[inline]
    fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Elsewhere the standard library's clock is the best there is; it may stand
/// still in suspend, which the operator's guide says.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[derive(Clone, Copy, Debug)]
struct Reading(std::time::Instant);

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl Reading {
    fn now() -> Self {
        Self(std::time::Instant::now())
    }

    fn nanos_since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_duration_since(earlier.0).as_nanos()).unwrap_or(u64::MAX)
    }
}
