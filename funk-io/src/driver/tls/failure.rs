//! Why there is no TLS on a stream.

use std::fmt;
use std::io;

use funk_tls::{Refused, rustls};

/// Why there is no TLS on a stream, or no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// This side does not believe the other's certificate.
    Refused(Refused),
    /// The other side has none.
    NoCertificate,
    /// The other side ends it, with this alert: most likely it does not believe this side's certificate.
    Alert(String),
    /// The other side carries such streams by another transport: TCP here and QUIC there.
    OtherTransport,
    /// Who was dialled does not speak TLS.
    NotTls,
    /// Who dialled does not speak TLS.
    Plaintext,
    /// The handshake takes too long.
    TimedOut,
    /// The handshake takes too many bytes.
    Oversized,
    /// The other side is gone before the handshake was over.
    Ended,
    /// Too many handshakes are under way: this one made way for another.
    Crowded,
    /// Anything else that breaks the protocol.
    Tls(String),
}

impl Failure {
    /// What rustls found wrong.
    pub(super) fn of(error: rustls::Error) -> Self {
        match error {
            rustls::Error::AlertReceived(alert) => Self::alert(alert),
            rustls::Error::NoApplicationProtocol => Self::OtherTransport,
            rustls::Error::NoCertificatesPresented => Self::NoCertificate,
            error => {
                let told = error.to_string();
                let refused = funk_tls::why(&io::Error::new(io::ErrorKind::InvalidData, error));
                refused.map_or(Self::Tls(told), Self::Refused)
            }
        }
    }

    /// What the other side says of the end.
    pub(crate) fn alert(alert: rustls::AlertDescription) -> Self {
        match alert {
            rustls::AlertDescription::NoApplicationProtocol => Self::OtherTransport,
            alert => Self::Alert(format!("{alert:?}")),
        }
    }

    /// A word for counters, of [`TLS_REASONS`](crate::meters::TLS_REASONS).
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Refused(refused) => refused.reason(),
            Self::NoCertificate => "no_certificate",
            Self::Alert(_) => "alert",
            Self::OtherTransport => "transport",
            Self::NotTls => "not_tls",
            Self::Plaintext => "plaintext",
            Self::TimedOut => "timed_out",
            Self::Oversized => "oversized",
            Self::Ended => "ended",
            Self::Crowded => "crowded",
            Self::Tls(_) => "tls",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::NoCertificate => f.write_str("it shows no certificate: give it one of this cluster"),
            Self::Alert(alert) => write!(f, "it refuses this node, with the alert {alert}: its own log says why"),
            Self::OtherTransport => f.write_str("it uses another transport: start all nodes with the same --transport"),
            Self::NotTls => f.write_str("the peer does not speak TLS: give it --tls-cert, --tls-key and --tls-ca"),
            Self::Plaintext => {
                f.write_str("it does not speak TLS, which this node asks for: give it a certificate of this cluster")
            }
            Self::TimedOut => f.write_str("the handshake took too long"),
            Self::Oversized => f.write_str("the handshake takes more bytes than certificates need"),
            Self::Ended => f.write_str("it hung up before the handshake was over"),
            Self::Crowded => f.write_str("too many handshakes are under way"),
            Self::Tls(why) => write!(f, "TLS fails: {why}"),
        }
    }
}
