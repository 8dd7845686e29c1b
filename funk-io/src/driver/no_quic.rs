//! Stands for QUIC where the crate is built without it: nothing of this can exist.

#![allow(
    dead_code,
    clippy::extra_unused_type_parameters,
    clippy::needless_pass_by_value,
    reason = "it has the names and signatures of what it stands for"
)]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Ready;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::task::{Context, Waker};

use bytes::Bytes;
use funk_proto::{CloseReason, PeerIdentity, Timestamp};
use funk_tls::Current;

use super::hub::Hub;
use super::queue::Queue;
use super::tls::failure::Failure;
use super::tls::trust::Trust;
use crate::runtime::Runtime;

pub(super) struct Opened(Infallible);

pub(super) enum Knock {
    Opened(SocketAddr, Box<Opened>),
    Refused(SocketAddr, Failure),
}

pub(super) type Dialling = Ready<Result<Box<Opened>, Failure>>;

pub(crate) struct Quic(Infallible);

impl Quic {
    pub(crate) fn start<R: Runtime>(_: &str, _: UdpSocket, _: Current, _: &Arc<Hub>) -> io::Result<Self> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this program is built without QUIC: enable the feature `quic`"))
    }

    pub(super) fn dial(&self, _: SocketAddr) -> Dialling {
        match self.0 {}
    }

    pub(super) fn knocks(&self) -> VecDeque<Knock> {
        match self.0 {}
    }
}

pub(super) struct Link(Infallible);

impl Link {
    pub(super) fn new(opened: Opened, _: SocketAddr, _: Queue, _: &Waker, _: &Trust) -> Self {
        match opened.0 {}
    }

    pub(super) fn take_peer(&mut self) -> Option<PeerIdentity> {
        match self.0 {}
    }

    pub(super) fn check_again(&self, _: &Trust) {
        match self.0 {}
    }

    pub(super) fn held(&self) -> usize {
        match self.0 {}
    }

    pub(super) fn ends(&self) -> Option<Timestamp> {
        match self.0 {}
    }

    pub(super) fn retry(&mut self) {
        match self.0 {}
    }

    pub(super) fn is_flushed(&self) -> bool {
        match self.0 {}
    }

    pub(super) fn receive(
        &mut self,
        _: Timestamp,
        _: &mut Context<'_>,
        _: (&mut [u8], usize),
        _: impl FnMut(Bytes) -> bool,
    ) -> Result<bool, (CloseReason, Option<Failure>)> {
        match self.0 {}
    }

    pub(super) fn send(&mut self, _: &Bytes) -> Result<(), CloseReason> {
        match self.0 {}
    }

    pub(super) fn flush(&mut self, _: &Waker) -> Result<(), (CloseReason, Option<Failure>)> {
        match self.0 {}
    }

    pub(super) fn finish(self) {
        match self.0 {}
    }
}
