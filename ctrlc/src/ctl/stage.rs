//! What is being waited for, in case that time runs out.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Shared by whoever waits and whoever counts the time.
#[derive(Debug, Default)]
pub(super) struct Stage(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    /// Who is silent, as the begin of a sentence.
    who: String,
    /// How to look what became of a change that was sent.
    look: Option<&'static str>,
}

impl Stage {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for somebody, as the begin of a sentence; nothing is changed there.
    pub(super) fn set(&self, who: String) {
        *self.waiting() = Waiting { who, look: None };
    }

    /// Waits for a node that was sent a change; `look` is the command that shows what became of it.
    pub(super) fn set_changing(&self, who: String, look: Option<&'static str>) {
        *self.waiting() = Waiting { who, look };
    }

    /// Who was silent, as the begin of a sentence.
    pub(super) fn silent(&self) -> String {
        self.waiting().who.clone()
    }

    /// What to say of a change whose answer did not come.
    pub(super) fn doubt(&self) -> Option<String> {
        self.waiting().look.map(doubt)
    }
}

/// What to say of a change whose answer did not come.
pub(super) fn doubt(look: &str) -> String {
    format!("the change may have been made, or may be made yet: look with `ctrlc {look}` before you ask again")
}
