//! Several cores on a virtual network with a virtual clock, in one thread.

mod chaos;
mod cluster;
mod determinism;
mod discovery;
mod goodbye;
mod lease_arithmetic;
mod operations;
mod recovery;
mod restart;
mod restart_storm;
mod shares;
mod transcripts;
mod workers;
