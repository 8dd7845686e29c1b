//! The pages for readers, and the files for containers: what they say is so.

mod deploy;
mod examples;
mod fencing;
mod figures;
mod pages;
