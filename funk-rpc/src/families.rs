//! What a node measures, as values for whichever registry or exporter a program has.

use std::fmt::Write;

use funk_io::meters::Reading;

/// One thing that is measured, with all its series.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Family {
    /// Its name in Prometheus' notation, with its unit: `funk_lease_remaining_seconds`.
    pub name: String,
    /// What it is, in a sentence.
    pub help: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// Its series. Each has the label `node`.
    pub samples: Vec<Sample>,
}

/// How what is measured behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only grows, until the process ends.
    Counter,
    /// Counts durations by their length.
    Histogram,
}

/// One series.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Sample {
    /// Names and values that tell it from the others of its family.
    pub labels: Vec<(&'static str, String)>,
    /// What was measured.
    pub value: Value,
}

/// What was measured.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Value {
    /// Of a gauge or a counter.
    Number(f64),
    /// Of a histogram, in seconds.
    Durations(Reading),
}

impl Family {
    /// One without series.
    pub(crate) fn new(name: impl Into<String>, kind: Kind, help: &'static str) -> Self {
        Self { name: name.into(), help, kind, samples: Vec::new() }
    }

    /// Appends it in Prometheus' text format.
    fn write(&self, text: &mut String) {
        let name = &self.name;
        let kind = match self.kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        };
        // Writing to a string cannot fail.
        let _ = write!(text, "# HELP {name} {}\n# TYPE {name} {kind}\n", self.help);
        for sample in &self.samples {
            let labels: Vec<_> = sample.labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
            let labels = labels.join(",");
            match &sample.value {
                Value::Number(value) => {
                    let _ = writeln!(text, "{name}{{{labels}}} {value}");
                }
                Value::Durations(reading) => {
                    for (bound, count) in &reading.buckets {
                        let bound = bound.as_secs_f64();
                        let _ = writeln!(text, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
                    }
                    let _ = writeln!(text, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", reading.count);
                    let _ = writeln!(text, "{name}_sum{{{labels}}} {}", reading.sum.as_secs_f64());
                    let _ = writeln!(text, "{name}_count{{{labels}}} {}", reading.count);
                }
            }
        }
    }
}

/// Families in Prometheus' text format, version 0.0.4, for a page of your own.
pub fn text(families: &[Family]) -> String {
    let mut text = String::with_capacity(32_768);
    families.iter().for_each(|family| family.write(&mut text));
    text
}
