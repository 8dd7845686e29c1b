//! Whoever was believed once, and whether it still is.

use std::sync::Arc;
#[cfg(feature = "quic")]
use std::task::Waker;

use funk_tls::rustls::pki_types::{CertificateDer, UnixTime};

use super::failure::Failure;
use super::trust::Trust;
use super::worker::{Done, Slot, Whose, Work};

/// Whoever was believed once, and whether it still is.
#[derive(Debug)]
pub(crate) struct Believed {
    chain: Vec<CertificateDer<'static>>,
    /// When that was checked.
    then: UnixTime,
    slot: Arc<Slot>,
}

impl Believed {
    #[cfg(feature = "quic")]
    pub(crate) fn new(chain: Vec<CertificateDer<'static>>, then: UnixTime, waker: &Waker) -> Self {
        Self::woken_by(Slot::new(waker.clone()), chain, then)
    }

    /// The same with a slot that there is already.
    pub(super) fn woken_by(slot: Arc<Slot>, chain: Vec<CertificateDer<'static>>, then: UnixTime) -> Self {
        Self { chain, then, slot }
    }

    /// Asks whether the other side is believed now. The answer wakes the stream.
    pub(crate) fn check_again(&self, trust: &Trust) {
        let work = Work::Check { credentials: trust.credentials(), chain: self.chain.clone(), then: self.then };
        trust.worker.submit(Whose::Own, work, &self.slot);
    }

    /// Whether the other side is still believed, as far as is known.
    pub(crate) fn checked(&self) -> Result<(), Failure> {
        match self.slot.take() {
            Some(Done::Checked(Err(refused))) => Err(Failure::Refused(refused)),
            _ => Ok(()),
        }
    }
}
