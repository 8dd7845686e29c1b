//! A process' own certificate, key and authorities.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::certificate;
use crate::denied::Denied;
use crate::identity::{Identity, Roles};
use crate::refused::Refused;
use crate::verifier::{Noted, Verifier, VerifierFor};

/// Bytes of a file at most: a bundle of some hundred authorities.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where a process' credentials are, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate, and behind it those between it and an authority.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities that are believed.
    pub ca: PathBuf,
    /// Names and serial numbers that are not believed all the same.
    pub deny: Option<PathBuf>,
}

/// Credentials that cannot be used.
#[derive(Debug)]
pub struct TlsError {
    /// The flag that names the file.
    pub flag: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, and what to do.
    pub why: String,
}

impl TlsError {
    /// Something is wrong with the certificate's file.
    pub(crate) fn cert(files: &Files, why: String) -> Self {
        failed(CERT, &files.cert, why)
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.flag, self.path.display(), self.why)
    }
}

impl std::error::Error for TlsError {}

/// One generation of a process' credentials: all that was read together. A change makes a new one.
#[derive(Clone, Debug)]
pub struct Credentials {
    identity: Identity,
    ends: i64,
    remarks: Vec<String>,
    provider: Arc<CryptoProvider>,
    verifier: Arc<Verifier>,
    own: Arc<CertifiedKey>,
}

/// The texts of the files.
#[derive(PartialEq, Eq)]
pub(crate) struct Texts {
    cert: Vec<u8>,
    key: Vec<u8>,
    ca: Vec<u8>,
    deny: String,
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Texts").finish_non_exhaustive()
    }
}

impl Texts {
    /// What never was in files.
    #[cfg(feature = "issue")]
    pub(crate) fn new(cert: &str, key: &str, ca: &str, deny: &str) -> Self {
        Self { cert: cert.into(), key: key.into(), ca: ca.into(), deny: deny.into() }
    }

    pub(crate) fn read(files: &Files) -> Result<Self, TlsError> {
        Ok(Self {
            cert: read(CERT, &files.cert)?,
            key: read(KEY, &files.key)?,
            ca: read(CA, &files.ca)?,
            deny: match &files.deny {
                Some(path) => {
                    String::from_utf8(read(DENY, path)?).map_err(|_| failed(DENY, path, "is not text in UTF-8"))?
                }
                None => String::new(),
            },
        })
    }
}

impl Credentials {
    /// Reads and checks all files.
    ///
    /// # Errors
    /// [`TlsError`]: a file cannot be read, holds something else, does not fit to the others, or the certificate is not
    /// valid now.
    pub fn load(files: &Files) -> Result<Self, TlsError> {
        Self::load_at(files, UnixTime::now())
    }

    /// The same at another time.
    ///
    /// # Errors
    /// As [`Credentials::load`].
    pub fn load_at(files: &Files, now: UnixTime) -> Result<Self, TlsError> {
        Self::of(files, &Texts::read(files)?, now)
    }

    /// The same, with what was read.
    pub(crate) fn load_texts(files: &Files) -> Result<(Texts, Self), TlsError> {
        let texts = Texts::read(files)?;
        let made = Self::of_texts(files, &texts)?;
        Ok((texts, made))
    }

    /// The same of what was read before.
    pub(crate) fn of_texts(files: &Files, texts: &Texts) -> Result<Self, TlsError> {
        Self::of(files, texts, UnixTime::now())
    }

    fn of(files: &Files, texts: &Texts, now: UnixTime) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let chain = certificates(CERT, &files.cert, &texts.cert)?;
        let [end_entity, intermediates @ ..] = chain.as_slice() else {
            return Err(failed(CERT, &files.cert, "holds no certificate in PEM"));
        };
        let mut roots = RootCertStore::empty();
        for authority in certificates(CA, &files.ca, &texts.ca)? {
            roots
                .add(authority)
                .map_err(|error| failed(CA, &files.ca, format!("holds a certificate that is none: {error}")))?;
        }
        if roots.is_empty() {
            return Err(failed(CA, &files.ca, "holds no certificate in PEM"));
        }
        let refused = |refused: Refused| failed(CERT, &files.cert, refused.to_string());
        let shown = certificate::read(end_entity).map_err(refused)?;
        check_time(shown.begins, shown.ends, now).map_err(refused)?;
        let key = PrivateKeyDer::from_pem_slice(&texts.key)
            .map_err(|error| failed(KEY, &files.key, format!("holds no private key in PEM: {error}")))?;
        let own = CertifiedKey::from_der(chain.clone(), key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                failed(KEY, &files.key, format!("is not the key of the certificate in {}", files.cert.display()))
            }
            error => failed(KEY, &files.key, format!("cannot be used: {error}")),
        })?;
        let denied = match &files.deny {
            Some(path) => Denied::parse(&texts.deny, &shown.identity).map_err(|why| failed(DENY, path, why))?,
            None => Denied::default(),
        };
        let verifier = Verifier::new(&provider, roots, shown.identity.clone(), denied)
            .map_err(|error| failed(CA, &files.ca, error.to_string()))?;
        verifier.check_chain(end_entity, intermediates, now).map_err(|error| refused(Refused::of_error(&error)))?;
        let (identity, ends, remarks) = (shown.identity, shown.ends, exposed(&files.key).into_iter().collect());
        Ok(Self { identity, ends, remarks, provider, verifier: Arc::new(verifier), own: Arc::new(own) })
    }

    /// Who this process is to others.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Seconds since 1970 at which the certificate ends.
    pub fn ends(&self) -> i64 {
        self.ends
    }

    /// What is unwise, though it works; for the log.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// Whether one who was believed at `then` is still: authorities and denials may be others since. Certificates that
    /// have expired since are believed.
    ///
    /// # Errors
    /// [`Refused`] says why not.
    pub fn check_again(&self, chain: &[CertificateDer<'_>], roles: Roles, then: UnixTime) -> Result<(), Refused> {
        let Some((end_entity, intermediates)) = chain.split_first() else { return Err(Refused::NoIdentity) };
        self.verifier.check_chain(end_entity, intermediates, then).map_err(|error| Refused::of_error(&error))?;
        self.verifier.check_identity(end_entity, roles)
    }

    /// For connections that this process opens, to somebody of `roles`, who speaks one of `protocols` (ALPN).
    pub fn connector(&self, roles: Roles, protocols: &[&[u8]]) -> Arc<ClientConfig> {
        self.connector_noting(roles, protocols, Noted::default())
    }

    /// The same for one connection: what is wrong with the other side's certificate is noted.
    pub fn connector_noting(&self, roles: Roles, protocols: &[&[u8]], noted: Noted) -> Arc<ClientConfig> {
        let verifier = VerifierFor { verifier: Arc::clone(&self.verifier), roles, noted };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])
            .expect("the provider has suites of TLS 1.3");
        let own = Arc::new(SingleCertAndKey::from(Arc::clone(&self.own)));
        let mut config =
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_client_cert_resolver(own);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        config.resumption = Resumption::disabled();
        Arc::new(config)
    }

    /// For connections that this process accepts, from somebody of `roles`.
    pub fn acceptor(&self, roles: Roles, protocols: &[&[u8]]) -> Arc<ServerConfig> {
        self.acceptor_noting(roles, protocols, Noted::default())
    }

    /// The same for one connection: what is wrong with the other side's certificate is noted.
    pub fn acceptor_noting(&self, roles: Roles, protocols: &[&[u8]], noted: Noted) -> Arc<ServerConfig> {
        let verifier = VerifierFor { verifier: Arc::clone(&self.verifier), roles, noted };
        let builder = self.server().with_client_cert_verifier(Arc::new(verifier));
        self.serving(builder, protocols)
    }

    /// For connections that this process accepts from anybody, without asking who it is: its page.
    pub fn open_acceptor(&self, protocols: &[&[u8]]) -> Arc<ServerConfig> {
        self.serving(self.server().with_no_client_auth(), protocols)
    }

    fn server(&self) -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
        ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])
            .expect("the provider has suites of TLS 1.3")
    }

    fn serving(
        &self,
        builder: rustls::ConfigBuilder<ServerConfig, rustls::server::WantsServerCert>,
        protocols: &[&[u8]],
    ) -> Arc<ServerConfig> {
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&self.own))));
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Arc::new(config)
    }
}

/// Who is on the other side of a connection whose handshake is over.
///
/// # Errors
/// [`Refused`]: it is not who is expected there, where somebody is.
pub fn peer(chain: Option<&[CertificateDer<'_>]>, expected: Option<&Identity>) -> Result<Option<Identity>, Refused> {
    let Some([end_entity, ..]) = chain else { return Ok(None) };
    let shown = certificate::read(end_entity)?.identity;
    match expected {
        Some(expected) if *expected != shown => {
            Err(Refused::Other { shown: Box::new(shown), expected: Box::new(expected.clone()) })
        }
        _ => Ok(Some(shown)),
    }
}

const CERT: &str = "--tls-cert";
const KEY: &str = "--tls-key";
const CA: &str = "--tls-ca";
const DENY: &str = "--tls-deny";

fn failed(flag: &'static str, path: &Path, why: impl Into<String>) -> TlsError {
    TlsError { flag, path: path.into(), why: why.into() }
}

fn read(flag: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    use std::io::Read;
    let file = std::fs::File::open(path).map_err(|error| failed(flag, path, error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| failed(flag, path, error.to_string()))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(flag, path, format!("is longer than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

fn certificates(flag: &'static str, path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|error| failed(flag, path, format!("is not PEM: {error}")))
}

fn check_time(begins: i64, ends: i64, now: UnixTime) -> Result<(), Refused> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < begins {
        return Err(Refused::NotYetValid { begins, now });
    }
    if now > ends {
        return Err(Refused::Expired { ended: ends, now });
    }
    Ok(())
}

/// Says that others on this machine can read the key.
fn exposed(path: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    let why = || format!("{KEY} {}: others can read it (mode {mode:04o}): chmod 600", path.display());
    (mode & 0o077 != 0).then(why)
}
