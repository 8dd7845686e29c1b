//! Clusters in the simulator that are drawn from seeds, and faults whose effect is measured.

mod certified;
mod cuts;
mod evidence;
mod faults;
mod fenced;
mod picture;
mod recovery;
mod seeds;
mod slow;
mod voters;
