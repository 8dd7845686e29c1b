//! Tests of funk as a whole.

pub mod harness;
