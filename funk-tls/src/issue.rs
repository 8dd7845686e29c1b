//! An authority for development: one key signs the certificates of one cluster's nodes, operators and clients.

use std::fmt;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};

use crate::credentials::{Credentials, Files, Texts, TlsError};
use crate::identity::{Identity, TrustDomain};

/// Validity before now, for clocks that are behind.
const CLOCKS_BEHIND: Duration = Duration::from_secs(3600);

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub cert: String,
    /// The private key. Keep it to its owner.
    pub key: String,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("cert", &self.cert).finish_non_exhaustive()
    }
}

/// Why nothing was issued.
#[derive(Debug)]
pub struct IssueError(String);

impl fmt::Display for IssueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for IssueError {}

impl From<rcgen::Error> for IssueError {
    fn from(error: rcgen::Error) -> Self {
        Self(error.to_string())
    }
}

/// A new authority under this trust domain, valid for `valid` from now on.
///
/// # Errors
/// No key can be made.
pub fn authority(domain: &TrustDomain, valid: Duration) -> Result<Issued, IssueError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("funk authority of {domain}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.subject_alt_names = vec![SanType::URI(format!("{}{domain}", Identity::SCHEME).try_into()?)];
    set_time(&mut params, UnixTime::now(), valid)?;
    let key = KeyPair::generate()?;
    let cert = params.self_signed(&key)?;
    Ok(Issued { cert: cert.pem(), key: key.serialize_pem() })
}

/// The trust domain of an authority that [`authority`] made.
///
/// # Errors
/// Its certificate cannot be read, or names none.
pub fn trust_domain(cert: &str) -> Result<TrustDomain, IssueError> {
    let der = CertificateDer::from_pem_slice(cert.as_bytes()).map_err(|error| IssueError(error.to_string()))?;
    let uri = crate::certificate::uri(&der).map_err(|refused| IssueError(refused.to_string()))?;
    let domain = uri.strip_prefix(Identity::SCHEME).unwrap_or_default();
    domain
        .parse()
        .map_err(|_| IssueError(format!("the authority's certificate names {uri:?}, which is no trust domain")))
}

/// A certificate of `authority` for `identity`, valid for `valid` from now on.
///
/// # Errors
/// The authority's certificate or key cannot be used, or no key can be made.
pub fn certificate(authority: &Issued, identity: &Identity, valid: Duration) -> Result<Issued, IssueError> {
    certificate_at(authority, &identity.to_string(), UnixTime::now(), valid)
}

/// Credentials that never were in files: a certificate with its key, the authorities that its owner believes, and whom
/// it denies.
///
/// # Errors
/// [`TlsError`]: they do not fit to each other.
pub fn credentials(own: &Issued, authorities: &[&Issued], denied: &str) -> Result<Credentials, TlsError> {
    let at = |name: &str| std::path::PathBuf::from(name);
    let files = Files { cert: at("own.pem"), key: at("own-key.pem"), ca: at("ca.pem"), deny: Some(at("deny")) };
    let bundle: String = authorities.iter().map(|authority| authority.cert.as_str()).collect();
    Credentials::of_texts(&files, &Texts::new(&own.cert, &own.key, &bundle, denied))
}

/// Several authorities of one trust domain, and credentials of any of them: for tests.
#[derive(Debug)]
pub struct Authorities {
    domain: TrustDomain,
    authorities: Vec<Issued>,
    valid: Duration,
}

impl Authorities {
    /// So many authorities, valid for an hour.
    ///
    /// # Errors
    /// No key can be made.
    pub fn new(domain: &TrustDomain, count: usize) -> Result<Self, IssueError> {
        let valid = Duration::from_secs(3600);
        let authorities = (0..count).map(|_| authority(domain, valid)).collect::<Result<_, _>>()?;
        Ok(Self { domain: domain.clone(), authorities, valid })
    }

    /// Credentials for `CLUSTER/ROLE/NAME` that the authority of this number signs, that believe the authorities of these
    /// numbers and deny whom this text of a deny list names.
    ///
    /// # Panics
    /// If there is no such authority, or the path names nobody.
    pub fn credentials(&self, path: &str, by: usize, believed: &[usize], denied: &str) -> Credentials {
        let identity = format!("{}{}/{path}", Identity::SCHEME, self.domain).parse().expect("the path names somebody");
        let own = certificate(&self.authorities[by], &identity, self.valid).expect("the authority is sound");
        let believed: Vec<&Issued> = believed.iter().map(|&number| &self.authorities[number]).collect();
        credentials(&own, &believed, denied).expect("they fit to each other")
    }
}

/// The same with any URI, from another time on: for tests.
///
/// # Errors
/// As [`certificate`].
pub fn certificate_at(authority: &Issued, uri: &str, now: UnixTime, valid: Duration) -> Result<Issued, IssueError> {
    let signer =
        KeyPair::from_pem(&authority.key).map_err(|error| IssueError(format!("the authority's key: {error}")))?;
    let issuer = Issuer::from_ca_cert_pem(&authority.cert, signer)
        .map_err(|error| IssueError(format!("the authority's certificate: {error}")))?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
    set_time(&mut params, now, valid)?;
    let key = KeyPair::generate()?;
    let cert = params.signed_by(&key, &issuer)?;
    Ok(Issued { cert: cert.pem(), key: key.serialize_pem() })
}

fn set_time(params: &mut CertificateParams, now: UnixTime, valid: Duration) -> Result<(), IssueError> {
    let at = |seconds: u64| {
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        time::OffsetDateTime::from_unix_timestamp(seconds)
            .map_err(|_| IssueError("so long a validity ends after the year 9999".into()))
    };
    params.not_before = at(now.as_secs().saturating_sub(CLOCKS_BEHIND.as_secs()))?;
    params.not_after = at(now.as_secs().saturating_add(valid.as_secs()))?;
    Ok(())
}
