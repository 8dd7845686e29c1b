//! Plants one bug after the other and asks how soon the simulator notices: a
//! measure of the checkers, not of the code.

mod cuts;
#[cfg(funk_mutate)]
mod gate;
mod insiders;
mod leases;
mod rings;
mod rumours;
mod scenarios;
mod stage;
mod storms;
mod strangers;
mod young;

#[cfg(funk_mutate)]
pub use gate::{Found, broken_anyway, by_scenarios, by_seeds};
pub use scenarios::{SCENARIOS, STORMS, Scenario};
