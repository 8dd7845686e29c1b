//! The servers of a node.

use std::collections::BTreeMap;
use std::net::TcpListener;

use funk_io::{Runtime, StartError};

use crate::console::Console;
use crate::server::{Protocol, Server, serve_over};
use crate::services::GrpcService;
use crate::tls::ServerTls;

/// The servers that run, each on the listener of its endpoint.
pub(super) struct Servers<'a> {
    pub(super) listeners: &'a mut BTreeMap<String, TcpListener>,
    pub(super) console: &'a Console,
    pub(super) servers: Vec<Server>,
}

impl Servers<'_> {
    /// Serves `name`, if it has a listener of its own.
    pub(super) fn serve<R: Runtime, S>(
        &mut self,
        name: &str,
        protocol: Protocol,
        service: S,
        tls: Option<&ServerTls>,
    ) -> Result<(), StartError>
    where
        S: GrpcService,
        S::Future: Send + 'static,
    {
        let Some(listener) = self.listeners.remove(name) else { return Ok(()) };
        let failed = |source| StartError::Io { what: format!("serving {name}"), source };
        let server = serve_over::<R, _>(listener, protocol, service, tls.cloned()).map_err(failed)?;
        self.console.watch(name, &server);
        self.servers.push(server);
        Ok(())
    }
}
