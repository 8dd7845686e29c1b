//! Calls to one node.

use std::net::SocketAddr;

use funk_rpc::pb::managepb::cluster_management_client::ClusterManagementClient;
use funk_rpc::pb::managepb::{Error, error::Code as Why};
use funk_rpc::pool::{Destination, SendError};
use funk_rpc::{OneNode, Pool};
use funk_tls::Current;
use funk_tokio::Tokio;
use tonic::{Code, Status};

use super::Failure;
use super::stage::doubt;

/// The management service of one node.
pub(super) type Management = ClusterManagementClient<OneNode<Tokio>>;

/// How nodes are called.
#[derive(Clone, Debug, Default)]
pub(super) struct Dial {
    /// Over TLS, with these credentials.
    pub(super) tls: Option<Current>,
    /// The node that must be there.
    pub(super) node: Option<String>,
}

impl Dial {
    /// The management service at `address`.
    pub(super) fn at(&self, address: SocketAddr) -> Management {
        let pool = Pool::new().over(self.tls.clone());
        ClusterManagementClient::new(match &self.node {
            Some(node) => pool.at(Destination::member(address, node)),
            None => pool.at(address),
        })
    }

    /// The same for the node named `node`.
    pub(super) fn to(&self, node: &str) -> Self {
        Self { tls: self.tls.clone(), node: Some(node.into()) }
    }
}

/// Whether a call surely never reached the node: another one may be asked.
pub(super) fn not_sent(status: &Status) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(status);
    while let Some(error) = cause {
        if let Some(
            SendError::NoConnection(_) | SendError::NotSent(_) | SendError::Untrusted(_) | SendError::Unwelcome(_),
        ) = error.downcast_ref::<SendError>()
        {
            return true;
        }
        cause = error.source();
    }
    false
}

/// What to say of a call that failed; if it changes something, `look` is the command that shows what became of it.
pub(super) fn failed(address: SocketAddr, status: &Status, look: Option<&str>) -> Failure {
    let message = status.message();
    let what = match (status.code(), look) {
        (Code::Unimplemented, _) => {
            return Failure::Refused(format!("{address} does not know this call: its node is of another version"));
        }
        // Nothing was done.
        (Code::PermissionDenied, _) => return Failure::Refused(format!("{address} refuses: {message}")),
        (Code::Unknown | Code::Unavailable, None) => {
            return Failure::Refused(format!("{address} does not answer: {message}; check the address"));
        }
        (Code::Unknown | Code::Unavailable, Some(_)) => format!("{address} does not answer: {message}"),
        (code, _) => format!("{address} says {code:?}: {message}"),
    };
    Failure::Refused(look.map_or(what.clone(), |look| format!("{what}; {}", doubt(look))))
}

/// What to say of a call that the cluster refused.
pub(super) fn refused(what: &str, error: &Error) -> Failure {
    let (word, hint) = match error.error_code() {
        Why::UnknownId => ("no such node", "`ctrlc nodes` lists them"),
        Why::NoLeader => (
            "no leader was found",
            "try again in a moment, at a node that is in the cluster; `ctrlc recover` says what to do if it stays so",
        ),
        Why::Invalid => ("this cannot be done", "see `ctrlc nodes`"),
        Why::Generic | Why::Unspecified | Why::Ok => ("the cluster said no", "see `ctrlc status`"),
    };
    let message = if error.message.is_empty() { String::new() } else { format!(" ({})", error.message) };
    Failure::Refused(format!("{what}: {word}{message}; {hint}"))
}
