//! What a node measures, as values: `Node::metrics` gives them, for whichever registry or exporter you have.
//!
//! ```
//! use funk::metrics::{Family, Value};
//!
//! /// The numbers of one family, as `name{labels} value`.
//! fn lines(family: &Family) -> Vec<String> {
//!     let numbers = family.samples.iter().filter_map(|sample| match &sample.value {
//!         Value::Number(value) => Some(format!("{}{:?} {value}", family.name, sample.labels)),
//!         _ => None,
//!     });
//!     numbers.collect()
//! }
//! ```

#[cfg(feature = "prometheus-client")]
mod prometheus;

#[cfg(feature = "prometheus-client")]
pub use self::prometheus::Measured;
pub use funk_io::meters::Reading;
pub use funk_rpc::families::{Family, Kind, Sample, Value, text};
pub use funk_rpc::{RequestMetrics, Way};
