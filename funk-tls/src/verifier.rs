//! The checks of a peer's certificate, as rustls asks for them.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, VerifierBuilderError};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use crate::certificate::{self, Certificate};
use crate::denied::Denied;
use crate::identity::{Identity, Roles};
use crate::refused::Refused;

/// Believes those whom the authorities vouch for, if they are of this cluster and of a role that may be there.
#[derive(Debug)]
pub(crate) struct Verifier {
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    clients: Arc<dyn ClientCertVerifier>,
    own: Identity,
    denied: Denied,
}

impl Verifier {
    pub(crate) fn new(
        provider: &Arc<CryptoProvider>,
        roots: RootCertStore,
        own: Identity,
        denied: Denied,
    ) -> Result<Self, VerifierBuilderError> {
        let roots = Arc::new(roots);
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider)).build()?;
        Ok(Self { provider: Arc::clone(provider), roots, clients, own, denied })
    }

    /// Whether the chain leads to one of the authorities, for one who answers connections.
    pub(crate) fn check_chain(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let algorithms = self.provider.signature_verification_algorithms.all;
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)
    }

    /// Whether whoever shows this certificate may be here. Its chain is another question.
    pub(crate) fn check_identity(&self, end_entity: &CertificateDer<'_>, roles: Roles) -> Result<(), Refused> {
        let shown = certificate::read(end_entity)?;
        if let Some(entry) = self.denied.find(&shown) {
            return Err(Refused::Denied(entry.into()));
        }
        let Certificate { identity, .. } = shown;
        if identity.domain != self.own.domain {
            return Err(Refused::Domain(Box::new(identity), self.own.domain.clone()));
        }
        if identity.cluster != self.own.cluster {
            return Err(Refused::Cluster(Box::new(identity), self.own.cluster.clone()));
        }
        if !roles.contains(identity.role) {
            return Err(Refused::Role(Box::new(identity), roles));
        }
        Ok(())
    }
}

/// What this side found wrong with the other's certificate, for transports that lose rustls's error on its way.
#[derive(Clone, Debug, Default)]
pub struct Noted(Arc<OnceLock<Refused>>);

impl Noted {
    /// The first thing that was wrong.
    pub fn get(&self) -> Option<&Refused> {
        self.0.get()
    }

    fn note<T>(&self, checked: Result<T, Error>) -> Result<T, Error> {
        if let Err(Error::InvalidCertificate(error)) = &checked {
            self.0.get_or_init(|| Refused::of_tls(error));
        }
        checked
    }
}

/// A verifier for connections where these roles may be.
#[derive(Clone, Debug)]
pub(crate) struct VerifierFor {
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) roles: Roles,
    pub(crate) noted: Noted,
}

/// What both sides ask for alike: whether a signature in the handshake is that of the certificate's key.
macro_rules! signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, cert, dss, &self.verifier.provider.signature_verification_algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, cert, dss, &self.verifier.provider.signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.verifier.provider.signature_verification_algorithms.supported_schemes()
        }
    };
}

impl ServerCertVerifier for VerifierFor {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.noted.note(self.verifier.check_chain(end_entity, intermediates, now))?;
        self.noted.note(self.verifier.check_identity(end_entity, self.roles).map_err(Refused::into_tls))?;
        Ok(ServerCertVerified::assertion())
    }

    signatures!();
}

impl ClientCertVerifier for VerifierFor {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.clients.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.noted.note(self.verifier.clients.verify_client_cert(end_entity, intermediates, now))?;
        self.noted.note(self.verifier.check_identity(end_entity, self.roles).map_err(Refused::into_tls))?;
        Ok(verified)
    }

    signatures!();
}
