//! A node that is only in gossip: others join through it, it never is a
//! member of a cluster and stores nothing but where it last saw others.
//!
//! | file | what |
//! |---|---|
//! | `flags` | the flags |
//! | `namesake` | another live node of its name |
//! | `members` | who is there, as lines and as a table |
//! | `snapshot` | the file that outlasts a restart |
//! | `run` | start, watch, end |

mod flags;
mod members;
mod namesake;
mod run;
mod snapshot;

pub use flags::{Advertised, SeedFlags};
pub use run::run;
