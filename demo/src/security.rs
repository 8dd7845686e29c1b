//! What the flags say of TLS, of the keys of gossip, and of who may see the page.

use funk::GossipKeys;
use funk_cli::{Failure, keep_up_to_date};
use funk_rpc::console::PageToken;
use funk_tls::{Current, Identity, Reload, Role};

use crate::flags::NodeFlags;

/// Credentials and token, as their files have them.
#[derive(Debug)]
pub struct Security {
    reload: Option<Reload>,
    gossip: Option<GossipKeys>,
    token: Option<PageToken>,
    /// The token is shown over plain HTTP.
    is_bare: bool,
}

/// The same, with credentials that follow their files.
#[derive(Debug)]
pub struct Kept {
    /// The credentials; `None` without TLS.
    pub tls: Option<Current>,
    /// The keys of gossip; `None`: it is not encrypted.
    pub gossip: Option<GossipKeys>,
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
        if let Some(reload) = &reload {
            check_own(flags, reload.current().get().identity())?;
        }
        let read = |path: &std::path::PathBuf| {
            PageToken::read(path).map_err(|why| format!("--http-auth {}: {why}", path.display()))
        };
        let is_bare = flags.http_auth.is_some() && (reload.is_none() || !flags.http_tls);
        let gossip = flags.gossip.load()?;
        let token = flags.http_auth.as_ref().map(read).transpose()?;
        Ok(Self { reload, gossip, token, is_bare })
    }

    /// Follows the files from now on.
    ///
    /// # Errors
    /// A line for stderr.
    pub fn keep_up_to_date(self) -> Result<Kept, Failure> {
        if self.is_bare {
            tracing::warn!("--http-auth without HTTPS: whoever is on the way can read the token");
        }
        let tls = self.reload.as_ref().map(|reload| reload.current().clone());
        if let Some(reload) = self.reload {
            keep_up_to_date(reload).map_err(|error| Failure(format!("SIGHUP cannot be caught: {error}")))?;
        }
        Ok(Kept { tls, gossip: self.gossip, token: self.token })
    }
}

/// Refuses the certificate of another node, or of somebody who is none.
fn check_own(flags: &NodeFlags, shown: &Identity) -> Result<(), String> {
    let name = flags.node_id.as_ref().unwrap_or(&shown.name);
    let own = Identity { cluster: flags.cluster_name.clone(), role: Role::Node, name: name.clone(), ..shown.clone() };
    if own == *shown {
        return Ok(());
    }
    Err(format!("--tls-cert: the certificate is {shown}, and this node is {own}: give it a certificate of its own"))
}
