//! Authorities and certificates for the nodes and callers of a cluster, as `ctrlc tls` makes them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use funk_tls::issue::{Issued, certificate_at};
use funk_tls::rustls::pki_types::UnixTime;

use super::program;

/// The program that speaks TLS to a node in ways in which no program of ours does.
pub const OPENSSL: &str = "openssl";

/// The files of all that take part in one cluster: a directory for each, with `cert.pem`, `key.pem` and `ca.pem`.
#[derive(Debug)]
pub struct Pki {
    dir: PathBuf,
    cluster: String,
    /// Who is believed by those that get their files from now on.
    believed: Vec<Authority>,
}

/// An authority.
#[derive(Clone, Debug)]
pub struct Authority(PathBuf);

impl Pki {
    /// An authority for `cluster`, with all files in `dir`.
    ///
    /// # Errors
    /// When `ctrlc` cannot make it.
    pub fn new(dir: &Path, cluster: &str) -> Result<Self, String> {
        let mut pki = Self { dir: dir.join("pki"), cluster: cluster.into(), believed: Vec::new() };
        pki.believed.push(pki.authority("first")?);
        Ok(pki)
    }

    /// One more authority, of the same trust domain.
    ///
    /// # Errors
    /// When `ctrlc` cannot make it.
    pub fn authority(&self, name: &str) -> Result<Authority, String> {
        let dir = self.dir.join("authorities").join(name);
        fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
        ctrlc(&["tls", "init", &dir.to_string_lossy()])?;
        Ok(Authority(dir))
    }

    /// The authority that all believe at first.
    pub fn first(&self) -> &Authority {
        &self.believed[0]
    }

    /// Where the files of `name` are.
    pub fn of(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Gives `name` all its files, unless it has them.
    ///
    /// # Errors
    /// When `ctrlc` cannot make them.
    pub fn provide(&self, role: &str, name: &str) -> Result<(), String> {
        if self.of(name).join("cert.pem").exists() {
            return Ok(());
        }
        let believed: Vec<_> = self.believed.iter().collect();
        self.certify(self.first(), role, name)?;
        self.believe(name, &believed)
    }

    /// Gives `name` a new certificate and key of `authority`.
    ///
    /// # Errors
    /// When `ctrlc` cannot make them.
    pub fn certify(&self, authority: &Authority, role: &str, name: &str) -> Result<(), String> {
        self.certify_as(authority, &self.cluster, role, name, name)
    }

    /// Gives `owner` a new certificate and key, for that name in that cluster.
    ///
    /// # Errors
    /// When `ctrlc` cannot make them.
    pub fn certify_as(
        &self,
        authority: &Authority,
        cluster: &str,
        role: &str,
        name: &str,
        owner: &str,
    ) -> Result<(), String> {
        let made = &authority.0;
        ctrlc(&["-n", cluster, "tls", "issue", role, name, "--dir", &made.to_string_lossy()])?;
        fs::create_dir_all(self.of(owner)).map_err(|error| error.to_string())?;
        for (from, to) in [(format!("{name}.pem"), "cert.pem"), (format!("{name}-key.pem"), "key.pem")] {
            fs::rename(made.join(from), self.of(owner).join(to)).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Gives `name` a certificate of the first authority that is valid for a day, from `begin` on.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn certify_at(&self, role: &str, name: &str, begin: UnixTime) -> Result<(), String> {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        let read = |file: &str| fs::read_to_string(self.first().0.join(file)).map_err(|error| error.to_string());
        let authority = Issued { cert: read("ca.pem")?, key: read("ca-key.pem")? };
        let uri = format!("spiffe://funk.local/{}/{role}/{name}", self.cluster);
        let made = certificate_at(&authority, &uri, begin, DAY).map_err(|error| error.to_string())?;
        self.write(name, "cert.pem", &made.cert)?;
        self.write(name, "key.pem", &made.key)
    }

    /// Makes one of the files of `name` anew.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, file: &str, text: &str) -> Result<(), String> {
        fs::create_dir_all(self.of(name)).map_err(|error| error.to_string())?;
        fs::write(self.of(name).join(file), text).map_err(|error| error.to_string())
    }

    /// Lets `name` believe these authorities and no other.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn believe(&self, name: &str, authorities: &[&Authority]) -> Result<(), String> {
        let mut bundle = String::new();
        for authority in authorities {
            bundle += &fs::read_to_string(authority.0.join("ca.pem")).map_err(|error| error.to_string())?;
        }
        self.write(name, "ca.pem", &bundle)
    }

    /// The flags that give a caller a certificate of this role.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn caller(&self, role: &str) -> Result<Vec<String>, String> {
        let name = format!("the-{role}");
        self.provide(role, &name)?;
        Ok(self.flags(&name))
    }

    /// The flags that give a program the files of `name`.
    pub fn flags(&self, name: &str) -> Vec<String> {
        let files = [("--tls-cert", "cert.pem"), ("--tls-key", "key.pem"), ("--tls-ca", "ca.pem")];
        let path = |file| self.of(name).join(file).to_string_lossy().into_owned();
        files.into_iter().flat_map(|(flag, file)| [flag.to_owned(), path(file)]).collect()
    }
}

impl Authority {
    /// The file with its certificate, and the one with its key.
    pub fn files(&self) -> (PathBuf, PathBuf) {
        (self.0.join("ca.pem"), self.0.join("ca-key.pem"))
    }
}

fn ctrlc(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program("ctrlc")?).env_clear().args(arguments).output();
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ctrlc {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
