//! Whole clusters in the simulator, every property at every step.

mod cuts;
mod evidence;
mod faults;
mod fenced;
mod recovery;
mod seeds;
mod voters;
