//! What the tools share that measure real clusters, or put them under load and
//! count what is lost.

mod clients;
pub mod embedded;
pub mod flow;
pub mod history;
pub mod ledger;
mod lines;
pub mod meter;
pub mod neighbours;
pub mod operator;
pub mod ownership;
pub mod report;
pub mod startup;
pub mod statistics;
