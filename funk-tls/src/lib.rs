//! TLS 1.3 between the nodes, clients and operators of a funk cluster.
//!
//! A certificate names who shows it, in one URI of its subject alternative names:
//! `spiffe://TRUST-DOMAIN/CLUSTER/ROLE/NAME` ([`Identity`]). Both sides of a connection check the other's chain against
//! the same authorities, then its identity: trust domain and cluster must be their own, and the role one that may be
//! there. DNS names and IP addresses in certificates mean nothing.
//!
//! | module | what it is about |
//! |---|---|
//! | `identity` | who a certificate names |
//! | `refused` | why a peer's certificate is not believed |
//! | `verifier` | the checks, as rustls asks for them |
//! | `credentials` | a process' own certificate, key and authorities, from files |
//! | `current` | the credentials of now, and new ones when the files change |
//! | `issue` | an authority for development |
//!
//! Nothing is resumed and nothing is sent early: each connection is a full handshake, so that it stands on the
//! certificates of now.

mod certificate;
mod credentials;
mod current;
mod denied;
mod identity;
#[cfg(feature = "issue")]
pub mod issue;
mod refused;
#[cfg(test)]
mod tests;
mod verifier;

pub use credentials::{Credentials, Files, TlsError, peer};
pub use current::{Current, OtherIdentity, Reload};
pub use identity::{Identity, InvalidIdentity, Role, Roles, TrustDomain};
pub use refused::{Refused, why};
pub use rustls;
pub use verifier::Noted;
