//! What a node measures, in a registry of the crate `prometheus-client`.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use funk_io::meters::Reading;
use funk_io::{Runtime, Stopped};
use funk_rpc::Node;
use funk_rpc::families::{Family, Kind, Value};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

/// What a node had measured at the last [`Measured::update`]. Clones are one.
///
/// The registry asks without waiting, and a node is asked by a message to its thread: update it before each encoding.
///
/// ```no_run
/// # #[cfg(feature = "tokio")]
/// # async fn example(node: &funk::tokio::Node) -> Result<String, Box<dyn std::error::Error>> {
/// use prometheus_client::{encoding::text::encode, registry::Registry};
///
/// let mut registry = Registry::default();
/// let measured = funk::metrics::Measured::register(&mut registry);
/// // At each scrape:
/// measured.update(node).await?;
/// let mut text = String::new();
/// encode(&mut text, &registry)?;
/// # Ok(text) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Measured(Arc<Mutex<Vec<Family>>>);

impl Measured {
    /// One in `registry`, empty until it is updated.
    pub fn register(registry: &mut Registry) -> Self {
        let measured = Self::default();
        registry.register_collector(Box::new(measured.clone()));
        measured
    }

    /// Takes what `node` measures now.
    ///
    /// # Errors
    /// [`Stopped`] if the node has stopped; what was measured last stays.
    pub async fn update<R: Runtime>(&self, node: &Node<R>) -> Result<(), Stopped> {
        let families = node.metrics().await?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = families;
        Ok(())
    }
}

impl Collector for Measured {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for family in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let kind = match family.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Histogram => MetricType::Histogram,
                _ => MetricType::Gauge,
            };
            // The encoder appends it to counters, and a dot to what is explained.
            let name = family.name.strip_suffix("_total").unwrap_or(&family.name);
            let mut metric = encoder.encode_descriptor(name, family.help.trim_end_matches('.'), None, kind)?;
            for sample in &family.samples {
                let mut series = metric.encode_family(&sample.labels)?;
                match &sample.value {
                    Value::Number(value) if family.kind == Kind::Counter => {
                        series.encode_counter::<NoLabelSet, f64, f64>(value, None)?;
                    }
                    Value::Number(value) => series.encode_gauge(value)?,
                    Value::Durations(reading) => {
                        let (sum, count) = (reading.sum.as_secs_f64(), reading.count);
                        series.encode_histogram::<NoLabelSet>(sum, count, &buckets(reading), None)?;
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// The counts of each bucket alone, as the encoder takes them; the last has no bound.
fn buckets(reading: &Reading) -> Vec<(f64, u64)> {
    let mut below = 0;
    let bounded = reading.buckets.iter().map(|(bound, count)| (bound.as_secs_f64(), *count));
    let all = bounded.chain([(f64::MAX, reading.count)]);
    all.map(|(bound, count)| (bound, count.saturating_sub(std::mem::replace(&mut below, count)))).collect()
}
