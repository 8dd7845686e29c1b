//! Families as they are written down: a head, and then its series.

use funk_io::meters::Reading;

use crate::families::{Family, Kind, Sample, Value};

/// What is measured, family after family.
pub(super) struct Page<'a> {
    /// The value of the label `node`, which every series has.
    node: &'a str,
    pub(super) families: Vec<Family>,
}

/// A label of a series.
pub(super) type Label<'a> = (&'static str, &'a str);

impl<'a> Page<'a> {
    /// An empty one of the node named `node`.
    pub(super) fn new(node: &'a str) -> Self {
        Self { node, families: Vec::new() }
    }

    /// What follows is of this family.
    pub(super) fn head(&mut self, name: impl Into<String>, kind: Kind, help: &'static str) {
        self.families.push(Family::new(name, kind, help));
    }

    fn sample(&mut self, labels: &[Label<'_>], value: Value) {
        let mut all = vec![("node", self.node.to_owned())];
        all.extend(labels.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let family = self.families.last_mut().expect("a head comes first");
        family.samples.push(Sample { labels: all, value });
    }

    pub(super) fn line(&mut self, labels: &[Label<'_>], value: impl Number) {
        self.sample(labels, Value::Number(value.number()));
    }

    pub(super) fn histogram(&mut self, labels: &[Label<'_>], reading: Reading) {
        self.sample(labels, Value::Durations(reading));
    }

    pub(super) fn gauge(&mut self, name: impl Into<String>, help: &'static str, value: impl Number) {
        self.head(name, Kind::Gauge, help);
        self.line(&[], value);
    }

    pub(super) fn counter(&mut self, name: impl Into<String>, help: &'static str, value: u64) {
        self.head(name, Kind::Counter, help);
        self.line(&[], value);
    }
}

/// A number as registries take it; above 2^53 it is rounded.
pub(super) trait Number {
    fn number(self) -> f64;
}

impl Number for f64 {
    fn number(self) -> f64 {
        self
    }
}

impl Number for u8 {
    fn number(self) -> f64 {
        self.into()
    }
}

impl Number for u32 {
    fn number(self) -> f64 {
        self.into()
    }
}

impl Number for u64 {
    fn number(self) -> f64 {
        self as f64
    }
}

impl Number for usize {
    fn number(self) -> f64 {
        self as f64
    }
}
