//! The checks with real processes, a short run of each: one test at a time.

mod ledger;
mod ownership;
