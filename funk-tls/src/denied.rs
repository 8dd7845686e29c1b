//! Certificates that are not believed although an authority signed them.

use std::collections::BTreeSet;

use crate::certificate::Certificate;
use crate::identity::Identity;

/// Names and serial numbers, one a line; what follows a `#` is a remark.
///
/// A line is `ROLE/NAME` of this cluster, a whole `spiffe://...`, or `serial:` with hexadecimal digits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Denied(BTreeSet<String>);

impl Denied {
    /// Reads the text of a file; an error names the line.
    pub(crate) fn parse(text: &str, own: &Identity) -> Result<Self, String> {
        let mut entries = BTreeSet::new();
        for (number, line) in text.lines().enumerate() {
            let entry = line.split('#').next().unwrap_or_default().trim();
            if entry.is_empty() {
                continue;
            }
            let whole = entry_of(entry, own).map_err(|why| format!("line {}: {why}", number + 1))?;
            entries.insert(whole);
        }
        Ok(Self(entries))
    }

    /// The entry that denies `certificate`.
    pub(crate) fn find(&self, certificate: &Certificate) -> Option<&str> {
        if self.0.is_empty() {
            return None;
        }
        let (name, serial) = (certificate.identity.to_string(), format!("serial:{}", certificate.serial));
        self.0.get(&name).or_else(|| self.0.get(&serial)).map(String::as_str)
    }
}

fn entry_of(entry: &str, own: &Identity) -> Result<String, String> {
    if let Some(digits) = entry.strip_prefix("serial:") {
        let digits: String = digits.chars().filter(|digit| *digit != ':').collect::<String>().to_ascii_lowercase();
        if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(format!("{entry:?} is not `serial:` with hexadecimal digits"));
        }
        let digits = digits.trim_start_matches('0');
        return Ok(format!("serial:{}", if digits.is_empty() { "0" } else { digits }));
    }
    let whole = if entry.starts_with(Identity::SCHEME) {
        entry.to_owned()
    } else {
        format!("{}{}/{}/{entry}", Identity::SCHEME, own.domain, own.cluster)
    };
    let identity: Identity =
        whole.parse().map_err(|_| format!("{entry:?} is neither ROLE/NAME, nor spiffe://..., nor serial:HEX"))?;
    Ok(identity.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Identity {
        "spiffe://d/c/node/n1".parse().unwrap()
    }

    fn certificate(name: &str, serial: &str) -> Certificate {
        Certificate { identity: name.parse().unwrap(), begins: 0, ends: 1, serial: serial.into() }
    }

    #[test]
    fn names_and_serials_are_denied() {
        let text = "# those of the old machines\nnode/n2\n\nspiffe://d/c/operator/eve # left\nserial:00:AB:0c\n";
        let denied = Denied::parse(text, &own()).unwrap();
        for (name, serial, by) in [
            ("spiffe://d/c/node/n2", "1", Some("spiffe://d/c/node/n2")),
            ("spiffe://d/c/operator/eve", "1", Some("spiffe://d/c/operator/eve")),
            ("spiffe://d/c/node/n3", "ab0c", Some("serial:ab0c")),
            ("spiffe://d/c/node/n3", "1", None),
            ("spiffe://d/c/client/n2", "1", None),
        ] {
            assert_eq!(denied.find(&certificate(name, serial)), by, "{name} {serial}");
        }
    }

    #[test]
    fn a_line_that_means_nothing_is_named() {
        for text in ["\n\nn2", "\n\nserial:", "\n\nserial:xyz", "\n\nadmin/n2", "\n\nspiffe://d/c/node"] {
            let why = Denied::parse(text, &own()).unwrap_err();
            assert!(why.starts_with("line 3: "), "{why}");
        }
    }
}
