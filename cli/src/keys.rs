//! The flags of gossip encryption, and keyring files.

use std::convert::Infallible;
use std::path::{Path, PathBuf};

use clap::Args;
use funk_proto::{BadKey, GossipKey, GossipKeys, Keyring};

use crate::parse::boolean;

/// The keys that a pool encrypts its gossip with.
#[derive(Clone, Debug, Args)]
pub struct KeyFlags {
    /// Gossip key, 16, 24 or 32 bytes in base64, as `serf keygen` prints it [default: gossip is not encrypted]
    #[arg(long, env = "FUNK_ENCRYPT", value_name = "KEY", hide_env_values = true, value_parser = given_key,
        conflicts_with = "keyring_file")]
    pub encrypt: Option<Given>,
    /// File with the gossip keys, a JSON array as Serf has it: the first encrypts, all decrypt
    #[arg(long, env = "FUNK_KEYRING_FILE", value_name = "FILE")]
    pub keyring_file: Option<PathBuf>,
    /// Refuse gossip that is not encrypted; off while a pool goes over to keys
    #[arg(long, env = "FUNK_GOSSIP_VERIFY_INCOMING", value_name = "BOOL", num_args = 0..=1,
        default_missing_value = "true", default_value = "true", action = clap::ArgAction::Set, value_parser = boolean())]
    pub gossip_verify_incoming: bool,
    /// Encrypt gossip; off while a pool goes over to keys
    #[arg(long, env = "FUNK_GOSSIP_VERIFY_OUTGOING", value_name = "BOOL", num_args = 0..=1,
        default_missing_value = "true", default_value = "true", action = clap::ArgAction::Set, value_parser = boolean())]
    pub gossip_verify_outgoing: bool,
}

/// What was given as a key. That it is none is said later, in words that do not repeat it.
#[derive(Clone, Debug)]
pub struct Given(Result<GossipKey, BadKey>);

/// Takes what is given as a key.
///
/// # Errors
/// None: [`KeyFlags::load`] judges.
#[allow(clippy::unnecessary_wraps, reason = "this is how clap wants it")]
pub fn given_key(text: &str) -> Result<Given, Infallible> {
    Ok(Given(text.parse()))
}

impl KeyFlags {
    /// The keys that the flags name; `None`: gossip is not encrypted.
    ///
    /// # Errors
    /// One line that names the flag.
    pub fn load(&self) -> Result<Option<GossipKeys>, String> {
        let ring = match (&self.encrypt, &self.keyring_file) {
            (Some(Given(key)), _) => Keyring::new(key.clone().map_err(|bad| format!("--encrypt: {bad}"))?),
            (None, Some(path)) => read(path).map_err(|why| format!("--keyring-file {}: {why}", path.display()))?,
            (None, None) => {
                let given = [
                    ("--gossip-verify-incoming=false", self.gossip_verify_incoming),
                    ("--gossip-verify-outgoing=false", self.gossip_verify_outgoing),
                ];
                return match given.iter().find(|(_, verify)| !verify) {
                    Some((flag, _)) => Err(format!("{flag} needs a key: give --encrypt or --keyring-file")),
                    None => Ok(None),
                };
            }
        };
        let (verify_incoming, verify_outgoing) = (self.gossip_verify_incoming, self.gossip_verify_outgoing);
        Ok(Some(GossipKeys { ring, verify_incoming, verify_outgoing }))
    }
}

/// Reads a keyring as Serf's agents write it.
fn read(path: &Path) -> Result<Keyring, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    remark_on_readers(path);
    let keys: Vec<String> =
        serde_json::from_str(&text).map_err(|_| "it is no JSON array of keys in base64".to_owned())?;
    let keys: Result<Vec<GossipKey>, BadKey> = keys.iter().map(|key| key.parse()).collect();
    Keyring::of(keys.map_err(|bad| bad.to_string())?).map_err(|why| why.to_string())
}

/// Others on this machine should not be able to read keys.
#[cfg(unix)]
fn remark_on_readers(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let Ok(about) = std::fs::metadata(path) else { return };
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let (file, mode) = (path.display(), format!("{mode:o}"));
        tracing::warn!(%file, mode, "others on this machine can read the keyring file: chmod 600 it");
    }
}

#[cfg(not(unix))]
fn remark_on_readers(_: &Path) {}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        keys: KeyFlags,
    }

    fn parse(words: &[&str]) -> Result<Option<GossipKeys>, String> {
        let words = std::iter::once(&"x").chain(words);
        Flags::try_parse_from(words).map_err(|error| crate::usage_line(&error))?.keys.load()
    }

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODw==";

    #[test]
    fn a_key_is_taken_and_a_bad_one_is_refused_without_repeating_it() {
        assert_eq!(parse(&[]), Ok(None));
        let keys = parse(&["--encrypt", KEY, "--gossip-verify-incoming=false"]).unwrap().unwrap();
        assert_eq!((keys.ring.primary().to_base64().as_str(), keys.ring.keys().len()), (KEY, 1));
        assert_eq!((keys.verify_incoming, keys.verify_outgoing), (false, true));
        for bad in ["c2VjcmV0", "secret!", ""] {
            let why = parse(&["--encrypt", bad]).unwrap_err();
            assert!(why.starts_with("--encrypt: ") && why.contains("16, 24 or 32"), "{why}");
            assert!(bad.is_empty() || !why.contains(bad), "{why}");
        }
        let why = parse(&["--gossip-verify-outgoing=false"]).unwrap_err();
        assert!(why.contains("--gossip-verify-outgoing") && why.contains("--encrypt"), "{why}");
        assert!(parse(&["--encrypt", KEY, "--keyring-file", "x"]).is_err());
    }

    #[test]
    fn a_keyring_file_is_read_as_serf_writes_it() {
        let path = std::env::temp_dir().join(format!("funk-keyring-{}", std::process::id()));
        let file = path.to_str().unwrap();
        std::fs::write(&path, format!("[\n  \"{KEY}\",\n  \"EBESExQVFhcYGRobHB0eHyAhIiMkJSYnKCkqKywtLi8=\"\n]"))
            .unwrap();
        let keys = parse(&["--keyring-file", file]).unwrap().unwrap();
        assert_eq!((keys.ring.primary().to_base64().as_str(), keys.ring.keys().len()), (KEY, 2));
        for (text, said) in [("[]", "at least one"), ("{}", "JSON array"), ("[\"AAEC\"]", "16, 24 or 32")] {
            std::fs::write(&path, text).unwrap();
            let why = parse(&["--keyring-file", file]).unwrap_err();
            assert!(why.contains("--keyring-file") && why.contains(said), "{why}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(parse(&["--keyring-file", file]).unwrap_err().contains("--keyring-file"));
    }
}
