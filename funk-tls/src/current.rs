//! The credentials of now, shared by all that use them, and where they come from.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_listener::{Event, EventListener};

use crate::credentials::{Credentials, Files, Texts, TlsError};

/// The credentials of now. Clones share them: a new generation reaches all that use them at once.
#[derive(Clone)]
pub struct Current(Arc<Shared>);

struct Shared {
    now: Mutex<Arc<Credentials>>,
    generation: AtomicU64,
    failures: AtomicU64,
    changed: Event,
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = self.get();
        f.debug_struct("Current")
            .field("identity", now.identity())
            .field("generation", &self.generation())
            .finish_non_exhaustive()
    }
}

impl From<Credentials> for Current {
    fn from(credentials: Credentials) -> Self {
        Self(Arc::new(Shared {
            now: Mutex::new(Arc::new(credentials)),
            generation: AtomicU64::new(1),
            failures: AtomicU64::new(0),
            changed: Event::new(),
        }))
    }
}

/// New credentials that name somebody else: a process stays who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherIdentity(String);

impl fmt::Display for OtherIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OtherIdentity {}

impl Current {
    fn lock(&self) -> MutexGuard<'_, Arc<Credentials>> {
        self.0.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The credentials of now.
    pub fn get(&self) -> Arc<Credentials> {
        Arc::clone(&self.lock())
    }

    /// The number of the generation, from 1 on; it grows with each that replaces another.
    pub fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    /// Rings at the next generation. Listen first, then look.
    pub fn changed(&self) -> EventListener {
        self.0.changed.listen()
    }

    /// Makes `next` the credentials of now.
    ///
    /// # Errors
    /// [`OtherIdentity`]: nothing changed.
    pub fn replace(&self, next: Credentials) -> Result<(), OtherIdentity> {
        let mut now = self.lock();
        if next.identity() != now.identity() {
            let (next, now) = (next.identity(), now.identity());
            let why = format!("the certificate is {next}, and this process is {now}: restart it to make it another");
            return Err(OtherIdentity(why));
        }
        *now = Arc::new(next);
        self.0.generation.fetch_add(1, Ordering::AcqRel);
        drop(now);
        self.0.changed.notify(usize::MAX);
        Ok(())
    }

    /// Times that new files could not be used.
    pub fn failures(&self) -> u64 {
        self.0.failures.load(Ordering::Relaxed)
    }
}

/// Keeps [`Current`] at what the files hold. It reads files when it is asked to, and blocks for that.
#[derive(Debug)]
pub struct Reload {
    files: Files,
    current: Current,
    /// What was tried last, and what came of it.
    seen: Result<Texts, String>,
}

impl Reload {
    /// Loads credentials from `files`, and keeps an eye on them from then on.
    ///
    /// # Errors
    /// As [`Credentials::load`].
    pub fn begin(files: Files) -> Result<Self, TlsError> {
        let (texts, credentials) = Credentials::load_texts(&files)?;
        Ok(Self { files, current: credentials.into(), seen: Ok(texts) })
    }

    /// The credentials that it keeps.
    pub fn current(&self) -> &Current {
        &self.current
    }

    /// Looks whether the files hold anything else than when it looked last; `again` takes them for new in any case.
    /// `None`: nothing is new.
    ///
    /// # Errors
    /// [`TlsError`]: what is new cannot be used. The credentials stay as they are.
    pub fn look(&mut self, again: bool) -> Option<Result<(), TlsError>> {
        let texts = match Texts::read(&self.files) {
            Ok(texts) => texts,
            Err(error) => return self.failed(Err(error.to_string()), error, again),
        };
        if !again && self.seen.as_ref() == Ok(&texts) {
            return None;
        }
        let loaded = Credentials::of_texts(&self.files, &texts).and_then(|next| {
            let why = |other: OtherIdentity| TlsError::cert(&self.files, other.to_string());
            self.current.replace(next).map_err(why)
        });
        match loaded {
            Ok(()) => {
                self.seen = Ok(texts);
                Some(Ok(()))
            }
            Err(error) => self.failed(Ok(texts), error, again),
        }
    }

    /// The same failure is told once.
    fn failed(&mut self, seen: Result<Texts, String>, error: TlsError, again: bool) -> Option<Result<(), TlsError>> {
        if !again && self.seen == seen {
            return None;
        }
        self.seen = seen;
        self.current.0.failures.fetch_add(1, Ordering::Relaxed);
        Some(Err(error))
    }
}
