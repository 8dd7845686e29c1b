//! The flags of TLS, and new credentials when their files change.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use funk_tls::{Current, Files, Reload};

/// Time between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Where the credentials are.
#[derive(Clone, Debug, Default, Args)]
pub struct TlsFlags {
    /// TLS: this program's certificate, and those between it and an authority
    #[arg(long, env = "FUNK_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// TLS: its private key
    #[arg(long, env = "FUNK_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// TLS: the authorities that are believed
    #[arg(long, env = "FUNK_TLS_CA", value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
}

impl TlsFlags {
    /// The files that the flags name; `None` without TLS.
    ///
    /// # Errors
    /// One line that names the flag that is missing.
    pub fn files(&self) -> Result<Option<Files>, String> {
        match (&self.tls_cert, &self.tls_key, &self.tls_ca) {
            (None, None, None) => Ok(None),
            (Some(cert), Some(key), Some(ca)) => {
                Ok(Some(Files { cert: cert.clone(), key: key.clone(), ca: ca.clone(), deny: None }))
            }
            (cert, key, _) => {
                let missing = match (cert, key) {
                    (None, _) => "--tls-cert",
                    (_, None) => "--tls-key",
                    _ => "--tls-ca",
                };
                Err(format!("{missing} is missing: TLS needs --tls-cert, --tls-key and --tls-ca"))
            }
        }
    }

    /// The credentials that the flags name, for a program that does not run for long.
    ///
    /// # Errors
    /// One line that names the flag.
    pub fn load(&self) -> Result<Option<Current>, String> {
        let Some(files) = self.files()? else { return Ok(None) };
        let reload = Reload::begin(files).map_err(|error| error.to_string())?;
        Ok(Some(reload.current().clone()))
    }
}

/// Looks at the files every 30 s and at every SIGHUP, on a thread of its own.
///
/// # Errors
/// The signal cannot be caught, or there is no thread.
pub fn keep_up_to_date(mut reload: Reload) -> std::io::Result<()> {
    let (mut rung, bell) = UnixStream::pair()?;
    rung.set_read_timeout(Some(LOOK_EVERY))?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGHUP, bell)?;
    remark(reload.current());
    let watch = move || loop {
        let asked = rung.read(&mut [0; 64]).is_ok();
        match reload.look(asked) {
            None => {}
            Some(Ok(())) => {
                tracing::info!(generation = reload.current().generation(), "new TLS credentials");
                remark(reload.current());
            }
            Some(Err(error)) => tracing::error!(%error, "new TLS credentials cannot be used, the old ones stay"),
        }
    };
    std::thread::Builder::new().name("tls-files".into()).spawn(watch)?;
    Ok(())
}

fn remark(current: &Current) {
    for remark in current.get().remarks() {
        tracing::warn!(remark, "the TLS credentials are unwise");
    }
}
