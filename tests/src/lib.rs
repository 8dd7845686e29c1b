//! Tests of funk as a whole: scenarios on a virtual network, black-box tests
//! of the programs, checks of the structure.

pub mod blackbox;
pub mod cuts;
pub mod deploy;
pub mod fuzz;
pub mod keys;
pub mod leases;
pub mod mutants;
pub mod pages;
pub mod slow;
pub mod transcript;
pub mod world;
