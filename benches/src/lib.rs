//! What the tools share that measure a cluster under load through the client library.

pub mod flow;
pub mod history;
pub mod operator;
pub mod report;
