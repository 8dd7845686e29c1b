//! Stories of a few nodes in the simulator, every property at every step.

mod chaos;
mod cluster;
mod determinism;
mod discovery;
mod goodbye;
mod identity;
mod keys;
mod lease_arithmetic;
mod operations;
mod recovery;
mod restart;
mod restart_storm;
mod shares;
mod transcripts;
mod workers;
