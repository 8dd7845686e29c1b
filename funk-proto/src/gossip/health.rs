//! How far this node trusts its own view: one that misses answers may be the
//! slow one itself, and waits longer before it accuses others.

/// The score; 0 is healthy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Health {
    score: u32,
    max: u32,
}

impl Health {
    /// Healthy; the score stays below `max`.
    pub(super) fn new(max: u32) -> Self {
        Self { score: 0, max: max.max(1) }
    }

    pub(super) fn score(self) -> u32 {
        self.score
    }

    pub(super) fn better(&mut self) {
        self.score = self.score.saturating_sub(1);
    }

    pub(super) fn worse(&mut self, by: u32) {
        self.score = self.score.saturating_add(by).min(self.max - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_stays_in_its_bounds() {
        let mut health = Health::new(8);
        health.better();
        assert_eq!(health.score(), 0);
        health.worse(3);
        health.worse(100);
        assert_eq!(health.score(), 7);
        health.better();
        assert_eq!(health.score(), 6);
    }
}
