//! Whole clusters of [`Consensus`] values on a virtual clock.

mod elections;
mod hostile;
mod network;
mod replication;
mod writes;
