//! Certificates for development: an authority in a directory, and what it signs.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use funk_proto::id::{ClusterName, NodeName};
use funk_tls::issue::{Issued, authority, certificate, trust_domain};
use funk_tls::{Identity, Role, TrustDomain};

use super::{Failure, TlsCommand};

/// The authority's name in its directory.
const AUTHORITY: &str = "ca";

pub(super) fn run(command: &TlsCommand, cluster: &ClusterName) -> Result<String, Failure> {
    match command {
        TlsCommand::Init { dir, trust_domain, days } => init(dir, trust_domain, *days),
        TlsCommand::Issue { role, name, dir, days } => issue(dir, cluster, *role, name, *days),
    }
}

fn init(dir: &Path, domain: &TrustDomain, days: u32) -> Result<String, Failure> {
    // Others have nothing to look for beside the keys.
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| Failure::Refused(format!("{}: {error}", dir.display())))?;
    let issued = authority(domain, valid(days)).map_err(|error| Failure::Refused(error.to_string()))?;
    let ca = write(dir, AUTHORITY, &issued)?;
    Ok(format!("{ca}: the authority of {domain}, for {days} days; `ctrlc tls issue` makes certificates with it\n"))
}

fn issue(dir: &Path, cluster: &ClusterName, role: Role, name: &NodeName, days: u32) -> Result<String, Failure> {
    if name.as_str() == AUTHORITY {
        let why = format!("{name} is the authority's name in {}: give another one", dir.display());
        return Err(Failure::Usage(why));
    }
    let read = |file: String| {
        let path = dir.join(file);
        let text = std::fs::read_to_string(&path);
        text.map_err(|error| Failure::Refused(format!("{}: {error}; `ctrlc tls init` makes it", path.display())))
    };
    let ca = Issued { cert: read(format!("{AUTHORITY}.pem"))?, key: read(format!("{AUTHORITY}-key.pem"))? };
    let refused =
        |error: &dyn std::fmt::Display| Failure::Refused(format!("{}: {error}", dir.join("ca.pem").display()));
    let domain = trust_domain(&ca.cert).map_err(|error| refused(&error))?;
    let identity = Identity { domain, cluster: cluster.clone(), role, name: name.clone() };
    let issued = certificate(&ca, &identity, valid(days)).map_err(|error| refused(&error))?;
    let cert = write(dir, name.as_str(), &issued)?;
    Ok(format!("{cert}: {identity}, for {days} days\n"))
}

fn valid(days: u32) -> Duration {
    Duration::from_secs(24 * 3600) * days
}

/// Writes both files, the key for its owner only; what stands there is kept.
fn write(dir: &Path, name: &str, issued: &Issued) -> Result<String, Failure> {
    let paths = [dir.join(format!("{name}-key.pem")), dir.join(format!("{name}.pem"))];
    if let Some(there) = paths.iter().find(|path| path.exists()) {
        return Err(Failure::Refused(format!("{} is there already: remove it first", there.display())));
    }
    for (path, text, mode) in [(&paths[0], &issued.key, 0o600), (&paths[1], &issued.cert, 0o644)] {
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| Failure::Refused(format!("{}: {error}", path.display())))?;
    }
    Ok(paths[1].display().to_string())
}
