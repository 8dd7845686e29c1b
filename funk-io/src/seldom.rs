//! What happens all the time and is said once a second.

use std::time::{Duration, Instant};

/// Lets something be said once a second, and counts the times between.
#[derive(Debug, Default)]
pub struct Seldom {
    said: Option<Instant>,
    times: u64,
}

impl Seldom {
    /// Counts one more. How often it happened since it was said last, if it may be said now.
    pub fn count(&mut self) -> Option<u64> {
        self.times += 1;
        if self.said.is_some_and(|said| said.elapsed() < Duration::from_secs(1)) {
            return None;
        }
        self.said = Some(Instant::now());
        Some(std::mem::take(&mut self.times))
    }

    /// Whether it was said within the last second.
    pub fn is_recent(&self) -> bool {
        self.said.is_some_and(|said| said.elapsed() < Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_that_happens_all_the_time_is_said_once_a_second_with_how_often_it_was() {
        let (mut one, mut other) = (Seldom::default(), Seldom::default());
        assert_eq!(one.count(), Some(1));
        assert!((0..1_000).filter_map(|_| one.count()).count() <= 1, "unless a second went by");
        assert_eq!(other.count(), Some(1), "another waits for nobody");
        let silent = one.times;
        one.said = one.said.and_then(|said| said.checked_sub(Duration::from_secs(1)));
        assert_eq!(one.count(), Some(silent + 1));
        assert_eq!(one.times, 0);
    }
}
