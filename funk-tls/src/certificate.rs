//! What funk reads in a certificate.

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::identity::Identity;
use crate::refused::Refused;

/// The parts of a certificate that funk looks at.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) identity: Identity,
    /// Seconds since 1970 when it begins and ends to be valid.
    pub(crate) begins: i64,
    pub(crate) ends: i64,
    /// Its serial number, in lower-case hexadecimal digits.
    pub(crate) serial: String,
}

/// Reads a certificate. Nothing in it is believed by that.
pub(crate) fn read(der: &CertificateDer<'_>) -> Result<Certificate, Refused> {
    let parsed = parse(der)?;
    let validity = parsed.validity();
    Ok(Certificate {
        identity: identity(&parsed)?,
        begins: validity.not_before.timestamp(),
        ends: validity.not_after.timestamp(),
        serial: serial(&parsed),
    })
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Refused> {
    match X509Certificate::from_der(der) {
        Ok(([], parsed)) => Ok(parsed),
        Ok(_) => Err(Refused::Malformed("bytes follow the certificate".into())),
        Err(error) => Err(Refused::Malformed(error.to_string())),
    }
}

/// The one URI among a certificate's names.
#[cfg(feature = "issue")]
pub(crate) fn uri(der: &CertificateDer<'_>) -> Result<String, Refused> {
    one_uri(&parse(der)?).map(str::to_owned)
}

/// Two would leave open who it is (SPIFFE X.509-SVID, section 2).
fn one_uri<'a>(parsed: &'a X509Certificate<'_>) -> Result<&'a str, Refused> {
    let names = parsed.subject_alternative_name().map_err(|error| Refused::Malformed(error.to_string()))?;
    let names = names.map_or(&[][..], |extension| &extension.value.general_names);
    let mut uris = names.iter().filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None });
    match (uris.next(), uris.next()) {
        (None, _) => Err(Refused::NoIdentity),
        (Some(uri), None) => Ok(uri),
        (Some(first), Some(second)) => Err(Refused::Identities(first.into(), second.into())),
    }
}

fn identity(parsed: &X509Certificate<'_>) -> Result<Identity, Refused> {
    one_uri(parsed)?.parse().map_err(Refused::Identity)
}

fn serial(parsed: &X509Certificate<'_>) -> String {
    let bytes = parsed.raw_serial();
    let digits = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() { "0".into() } else { digits.into() }
}
