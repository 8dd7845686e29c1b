//! Whole funk clusters in one thread, on one seed.
//!
//! A [`World`] holds hosts with a [`Clock`] and a [`Disk`] each, a [`Network`]
//! between them and a [`Client`] that asks. Its nodes are real
//! [`funk_proto::Node`]s, and its services are real [`Service`]s: values that
//! are handed what happened and say what is to be done. Time jumps from event
//! to event, and each [`Checker`] looks at every step. The same seed gives the
//! same bytes.

pub mod check;
pub mod checker;
pub mod client;
pub mod clock;
pub mod disk;
pub mod fault;
mod happening;
pub mod host;
pub mod network;
pub mod picture;
pub mod plan;
mod queue;
pub mod run;
pub mod service;
pub mod shrink;
pub mod story;
pub mod tally;
pub mod world;

pub use checker::{Checker, Scene, Verdict, Violation};
pub use client::Client;
pub use clock::Clock;
pub use disk::Disk;
pub use funk_proto::service::{Right, Service, ServiceInput, ServiceOutput};
pub use host::{Facts, Host};
pub use network::Network;
pub use picture::Picture;
pub use plan::Plan;
pub use run::{Outcome, run};
pub use service::Worker;
pub use story::{Story, Topic};
pub use tally::Tally;
pub use world::World;
pub use world::record::Said;
