//! What the driver is made of, but for what needs its runtime.

use std::sync::Arc;

use funk_proto::Node;

use super::hub::{Hub, Source};
use super::quic::Quic;
use super::tls::trust::Trust;
use crate::application::Application;
use crate::clock::Clock;
use crate::keyring::KeyringThread;
use crate::shared::{Inbox, Shared};
use crate::store::Store;

/// What the driver is made of, but for what needs its runtime.
pub(crate) struct Parts {
    pub(crate) clock: Clock,
    pub(crate) node: Node,
    pub(crate) store: Store,
    pub(crate) application: Application,
    pub(crate) keyring: Option<KeyringThread>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) inbox: Inbox,
    pub(crate) hub: Arc<Hub>,
    pub(crate) inbox_source: Arc<Source>,
    pub(crate) drain_source: Arc<Source>,
    pub(crate) store_source: Arc<Source>,
    pub(crate) trust: Option<Trust>,
    pub(crate) quic: Option<Quic>,
}
