//! Tests of funk as a whole: scenarios on a virtual network, black-box tests
//! of the programs, checks of the structure.

pub mod blackbox;
pub mod clients;
pub mod cuts;
pub mod deploy;
pub mod embedded;
pub mod fuzz;
pub mod leases;
pub mod ledger;
pub mod lines;
pub mod mutants;
pub mod ownership;
pub mod pages;
pub mod transcript;
pub mod world;
