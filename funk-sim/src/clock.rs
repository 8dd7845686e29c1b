//! A host's own clock: it starts with the process and runs a little fast or slow.

use funk_proto::Timestamp;

const MILLION: u64 = 1_000_000;

/// A clock that counts suspend, as nodes want it. Its rate may change at any
/// time; it never goes back.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    true_base: u64,
    local_base: u64,
    /// Local nanoseconds in a million true ones.
    rate: u64,
}

impl Clock {
    /// A clock that reads zero at `now` and is `ppm` parts per million fast (slow, if negative).
    pub fn starting(now: Timestamp, ppm: i64) -> Self {
        Self { true_base: now.as_nanos(), local_base: 0, rate: rate(ppm) }
    }

    /// Changes the rate from `now` on.
    pub fn set_drift(&mut self, now: Timestamp, ppm: i64) {
        let local = self.local(now);
        *self = Self { true_base: now.as_nanos(), local_base: local.as_nanos(), rate: rate(ppm) };
    }

    /// It stood still, and goes on at `local`.
    pub fn go_on(&mut self, now: Timestamp, local: Timestamp) {
        *self = Self { true_base: now.as_nanos(), local_base: local.as_nanos(), rate: self.rate };
    }

    /// Its error in parts per million.
    pub fn drift(&self) -> i64 {
        i64::try_from(self.rate).expect("small") - MILLION.cast_signed()
    }

    /// What it reads at a true time.
    pub fn local(&self, now: Timestamp) -> Timestamp {
        let elapsed = now.as_nanos().saturating_sub(self.true_base);
        Timestamp::from_nanos(self.local_base + scale(elapsed, self.rate, MILLION))
    }

    /// The first true time at which it reads `local` or more.
    pub fn true_at(&self, local: Timestamp) -> Timestamp {
        if local == Timestamp::MAX {
            return local;
        }
        let ahead = local.as_nanos().saturating_sub(self.local_base);
        let mut at = self.true_base + scale(ahead, MILLION, self.rate);
        while self.local(Timestamp::from_nanos(at)) < local {
            at += 1;
        }
        Timestamp::from_nanos(at)
    }
}

fn rate(ppm: i64) -> u64 {
    (MILLION.cast_signed() + ppm).max(1).cast_unsigned()
}

fn scale(length: u64, up: u64, down: u64) -> u64 {
    if up == down {
        return length;
    }
    let wide = u128::from(length) * u128::from(up) / u128::from(down);
    u64::try_from(wide).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_is_never_early() {
        for ppm in [-200_000, -10_000, 0, 1, 10_000, 50_000] {
            let mut clock = Clock::starting(Timestamp::from_millis(7), ppm);
            clock.set_drift(Timestamp::from_millis(1234), ppm / 2);
            for ms in [1300, 1301, 50_000] {
                let local = clock.local(Timestamp::from_millis(ms));
                let back = clock.true_at(local);
                assert!(back <= Timestamp::from_millis(ms) && clock.local(back) >= local);
            }
        }
    }
}
