//! The demo: a service of silly definitions on a funk cluster, its client,
//! and a launcher for three nodes on one machine.

pub mod client;
pub mod flags;
pub mod node;
pub mod pb;
pub mod security;
mod service;
pub mod words;

pub use service::routes;
