//! Links that are cut and mended, whole hosts at a time, and how long things take.

use std::time::Duration;

use super::World;
use crate::network::Conditions;

impl World {
    /// Every packet, every write and every answer takes the same time, so that a
    /// story does not change with each packet more or less.
    pub fn with_steady_conditions(mut self) -> Self {
        self.network.conditions = Conditions::steady();
        self.steady = true;
        self
    }

    /// Cuts the link between two hosts, both ways.
    pub fn cut(&mut self, a: usize, b: usize) {
        self.network.cut(a, b);
        self.network.cut(b, a);
    }

    /// Cuts a host off from all others.
    pub fn isolate(&mut self, at: usize) {
        (0..self.hosts.len()).filter(|&other| other != at).for_each(|other| self.cut(at, other));
    }

    /// Mends every cut, and sends what waited for it.
    pub fn mend_all(&mut self) {
        for from in 0..self.hosts.len() {
            for to in 0..self.hosts.len() {
                self.network.link_mut(from, to).cuts = 0;
            }
        }
        self.flush_streams();
    }

    /// How long something takes that takes between so and so long.
    pub(super) fn takes(&mut self, low: Duration, high: Duration) -> Duration {
        if self.steady { (low + high) / 2 } else { self.rng.between(low, high) }
    }
}
