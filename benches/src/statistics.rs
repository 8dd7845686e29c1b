//! Order statistics of a handful of durations, and their line in a table.

use std::time::Duration;

/// A sorted set of durations.
#[derive(Clone, Debug, Default)]
pub struct Sample(Vec<Duration>);

impl Sample {
    /// Sorts the values.
    pub fn new(mut values: Vec<Duration>) -> Self {
        values.sort_unstable();
        Self(values)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value below or at which `percent` of the values lie (nearest rank); zero if there are none.
    pub fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }

    /// The middle value, the mean of the middle two for an even count; zero if there are none.
    pub fn median(&self) -> Duration {
        let middle = self.0.len() / 2;
        match self.0.len() {
            0 => Duration::ZERO,
            n if n % 2 == 1 => self.0[middle],
            _ => (self.0[middle - 1] + self.0[middle]) / 2,
        }
    }

    /// The largest value; zero if there are none.
    pub fn max(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }

    /// `n min median p90 p99 max` in milliseconds, in columns as [`Sample::head`].
    pub fn row(&self) -> String {
        if self.0.is_empty() {
            return format!("{:>4} {:>8} {:>8} {:>8} {:>8} {:>8}", 0, "-", "-", "-", "-", "-");
        }
        let cells = [self.0[0], self.median(), self.percentile(90), self.percentile(99), self.max()];
        let cells: Vec<_> = cells.iter().map(|cell| format!("{:>8.1}", cell.as_secs_f64() * 1e3)).collect();
        format!("{:>4} {}", self.0.len(), cells.join(" "))
    }

    /// The heads of the columns of [`Sample::row`].
    pub fn head() -> String {
        format!("{:>4} {:>8} {:>8} {:>8} {:>8} {:>8}", "n", "min", "median", "p90", "p99", "max")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_of_the_sample_and_the_median_is_the_middle() {
        let sample = Sample::new((1..=20).rev().map(Duration::from_millis).collect());
        assert_eq!(sample.median(), Duration::from_micros(10_500));
        assert_eq!(sample.percentile(90), Duration::from_millis(18));
        assert_eq!(sample.percentile(99), Duration::from_millis(20));
        assert_eq!(Sample::default().median(), Duration::ZERO);
        assert_eq!(Sample::head().len(), sample.row().len());
    }
}
