//! The demo client: sends requests round robin, checks every answer, counts.

mod call;
mod check;
mod flags;
mod report;
mod run;

pub use check::Epochs;
pub use flags::ClientFlags;
pub use report::{Report, Sample};
pub use run::run;
