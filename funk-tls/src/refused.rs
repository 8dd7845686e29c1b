//! Why a peer's certificate is not believed.

use std::fmt;
use std::io;
use std::sync::Arc;

use funk_proto::id::ClusterName;
use rustls::{CertificateError, OtherError};
use x509_parser::time::ASN1Time;

use crate::identity::{Identity, InvalidIdentity, Roles, TrustDomain};

/// Why a peer's certificate is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// It cannot be read.
    Malformed(String),
    /// It is not valid any more, or not yet: the seconds since 1970 at which it ends or begins to be valid, and those of
    /// this machine's clock.
    Expired {
        /// Its end.
        ended: i64,
        /// This clock.
        now: i64,
    },
    /// As [`Refused::Expired`].
    NotYetValid {
        /// Its beginning.
        begins: i64,
        /// This clock.
        now: i64,
    },
    /// None of this side's authorities has signed it.
    Authority,
    /// It has no URI among its names.
    NoIdentity,
    /// It has several, so that it is open who it is.
    Identities(String, String),
    /// The URI is no identity of funk.
    Identity(InvalidIdentity),
    /// It names somebody under another trust domain.
    Domain(Box<Identity>, TrustDomain),
    /// It names somebody of another cluster.
    Cluster(Box<Identity>, ClusterName),
    /// It names a role that has no business here.
    Role(Box<Identity>, Roles),
    /// It names another one than is expected there.
    Other {
        /// Who it names.
        shown: Box<Identity>,
        /// Who is expected.
        expected: Box<Identity>,
    },
    /// This side denies the name or the serial number in it.
    Denied(String),
    /// Anything else that TLS finds wrong with it.
    Tls(String),
}

impl Refused {
    /// A word for counters.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "not_yet_valid",
            Self::Authority => "authority",
            Self::NoIdentity | Self::Identities(..) | Self::Identity(_) => "no_identity",
            Self::Domain(..) => "trust_domain",
            Self::Cluster(..) => "cluster",
            Self::Role(..) => "role",
            Self::Other { .. } => "impersonation",
            Self::Denied(_) => "denied",
            Self::Tls(_) => "tls",
        }
    }

    pub(crate) fn into_tls(self) -> rustls::Error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(self))))
    }

    /// What rustls found wrong, in our words.
    pub(crate) fn of_tls(error: &CertificateError) -> Self {
        let seconds = |time: &rustls::pki_types::UnixTime| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        match error {
            CertificateError::Other(other) => match other.0.downcast_ref::<Self>() {
                Some(refused) => refused.clone(),
                None => Self::Tls(error.to_string()),
            },
            CertificateError::ExpiredContext { time, not_after } => {
                Self::Expired { ended: seconds(not_after), now: seconds(time) }
            }
            CertificateError::NotValidYetContext { time, not_before } => {
                Self::NotYetValid { begins: seconds(not_before), now: seconds(time) }
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::Authority,
            CertificateError::BadEncoding => Self::Malformed(error.to_string()),
            _ => Self::Tls(error.to_string()),
        }
    }
}

impl Refused {
    /// The same of any error.
    pub(crate) fn of_error(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(error) => Self::of_tls(error),
            error => Self::Tls(error.to_string()),
        }
    }
}

/// Why a handshake failed, if it was this side that did not believe the certificate.
pub fn why(error: &io::Error) -> Option<Refused> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(error) => Some(Refused::of_tls(error)),
        _ => None,
    }
}

/// A time in seconds since 1970, for people.
pub(crate) fn date(seconds: i64) -> String {
    match ASN1Time::from_timestamp(seconds)
        .and_then(|time| time.to_rfc2822().ok().ok_or(x509_parser::error::X509Error::InvalidDate))
    {
        Ok(text) => text,
        Err(_) => format!("{seconds} s since 1970"),
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => write!(f, "the certificate cannot be read: {why}"),
            Self::Expired { ended, now } => {
                write!(f, "the certificate expired on {}; this clock says {}", date(*ended), date(*now))
            }
            Self::NotYetValid { begins, now } => {
                write!(f, "the certificate is valid from {} on; this clock says {}", date(*begins), date(*now))
            }
            Self::Authority => write!(f, "none of the authorities in --tls-ca has signed the certificate"),
            Self::NoIdentity => {
                write!(f, "the certificate names no spiffe://TRUST-DOMAIN/CLUSTER/ROLE/NAME among its URIs")
            }
            Self::Identities(one, other) => write!(f, "the certificate names two: {one} and {other}"),
            Self::Identity(error) => write!(f, "the certificate names nobody of a cluster: {error}"),
            Self::Domain(shown, own) => write!(f, "the certificate is {shown}; this side's trust domain is {own}"),
            Self::Cluster(shown, own) => write!(f, "the certificate is {shown}; this side's cluster is {own}"),
            Self::Role(shown, wanted) => write!(f, "the certificate is {shown}; here the role must be {wanted}"),
            Self::Other { shown, expected } => {
                write!(f, "the certificate is {shown}, and {expected} is expected there")
            }
            Self::Denied(entry) => write!(f, "the certificate is denied by the entry {entry:?} of --tls-deny"),
            Self::Tls(why) => write!(f, "the certificate is not valid: {why}"),
        }
    }
}

impl std::error::Error for Refused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Identity(error) => Some(error),
            _ => None,
        }
    }
}
