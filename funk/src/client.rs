//! A client that is no member: it follows a cluster and calls the owner of each key directly.
//!
//! Say the runtime once: `funk::tokio::Client`, `funk::smol::Client`.

pub use funk_rpc::client::{Channel, Client, ClientOptions, ClusterView, Idempotent, NotFound, Seed, Stats, Target};
