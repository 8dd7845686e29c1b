//! What the flags say of TLS and of who may see the page.

use funk_cli::{Failure, keep_up_to_date};
use funk_rpc::console::PageToken;
use funk_tls::{Current, Reload};

use crate::flags::NodeFlags;

/// Credentials and token, as their files have them.
#[derive(Debug)]
pub struct Security {
    reload: Option<Reload>,
    token: Option<PageToken>,
}

/// The same, with credentials that follow their files.
#[derive(Debug)]
pub struct Kept {
    /// The credentials; `None` without TLS.
    pub tls: Option<Current>,
    /// What whoever sees the page must show.
    pub token: Option<PageToken>,
}

impl Security {
    /// Reads the files.
    ///
    /// # Errors
    /// One line that names the flag.
    pub fn load(flags: &NodeFlags) -> Result<Self, String> {
        let reload = flags.files()?.map(Reload::begin).transpose().map_err(|error| error.to_string())?;
        let read = |path: &std::path::PathBuf| {
            PageToken::read(path).map_err(|why| format!("--http-auth {}: {why}", path.display()))
        };
        Ok(Self { reload, token: flags.http_auth.as_ref().map(read).transpose()? })
    }

    /// Follows the files from now on.
    ///
    /// # Errors
    /// A line for stderr.
    pub fn keep_up_to_date(self) -> Result<Kept, Failure> {
        let tls = self.reload.as_ref().map(|reload| reload.current().clone());
        if let Some(reload) = self.reload {
            keep_up_to_date(reload).map_err(|error| Failure(format!("SIGHUP cannot be caught: {error}")))?;
        }
        Ok(Kept { tls, token: self.token })
    }
}
