//! Who a certificate names.

use std::fmt;
use std::str::FromStr;

use funk_proto::id::{ClusterName, NodeName};

/// Bytes of a trust domain at most (SPIFFE-ID, section 2.1).
const TRUST_DOMAIN_BYTES_MAX: usize = 255;

/// What the bearer of a certificate may be in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A node: everything between nodes.
    Node,
    /// All of management.
    Operator,
    /// Reads: status, lists, streams of changes, metrics.
    Observer,
    /// Watches the map, lists endpoints, calls the services.
    Client,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::Node, Self::Operator, Self::Observer, Self::Client];

    /// Its name in a certificate.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Operator => "operator",
            Self::Observer => "observer",
            Self::Client => "client",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<Self, InvalidIdentity> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| InvalidIdentity::Role(text.into()))
    }
}

/// A set of roles: who is let in somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles(u8);

impl Roles {
    /// Only nodes.
    pub const NODES: Self = Self::NONE.and(Role::Node);
    /// Everybody who has a certificate of this cluster.
    pub const ANY: Self = Self::NODES.and(Role::Operator).and(Role::Observer).and(Role::Client);
    /// Nobody.
    pub const NONE: Self = Self(0);

    /// The same with `role`.
    #[must_use]
    pub const fn and(self, role: Role) -> Self {
        Self(self.0 | 1 << role as u8)
    }

    /// Whether `role` is among them.
    pub const fn contains(self, role: Role) -> bool {
        self.0 & 1 << role as u8 != 0
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for role in Role::ALL.into_iter().filter(|role| self.contains(*role)) {
            write!(f, "{between}{role}")?;
            between = " or ";
        }
        Ok(())
    }
}

/// The part of an identity under which one authority gives names: lower-case letters, digits, `.`, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(String);

impl TrustDomain {
    /// The domain as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for TrustDomain {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<Self, InvalidIdentity> {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
        if text.is_empty() || text.len() > TRUST_DOMAIN_BYTES_MAX || !text.bytes().all(legal) {
            return Err(InvalidIdentity::TrustDomain(text.into()));
        }
        Ok(Self(text.into()))
    }
}

/// Who a certificate names: `spiffe://TRUST-DOMAIN/CLUSTER/ROLE/NAME`
/// ([SPIFFE-ID](https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md)).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Under which names are given.
    pub domain: TrustDomain,
    /// The cluster.
    pub cluster: ClusterName,
    /// What the bearer may be there.
    pub role: Role,
    /// The node's name, or that of a person or program.
    pub name: NodeName,
}

impl Identity {
    /// The scheme of the URI.
    pub const SCHEME: &'static str = "spiffe://";
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}/{}/{}/{}", Self::SCHEME, self.domain, self.cluster, self.role, self.name)
    }
}

impl FromStr for Identity {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<Self, InvalidIdentity> {
        let rest = text.strip_prefix(Self::SCHEME).ok_or_else(|| InvalidIdentity::Form(text.into()))?;
        let parts: Vec<&str> = rest.split('/').collect();
        let &[domain, cluster, role, name] = parts.as_slice() else { return Err(InvalidIdentity::Form(text.into())) };
        let named = |error: funk_proto::id::InvalidName| InvalidIdentity::Name(error.to_string());
        Ok(Self {
            domain: domain.parse()?,
            cluster: cluster.parse().map_err(named)?,
            role: role.parse()?,
            name: name.parse().map_err(named)?,
        })
    }
}

/// A text that is no identity.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidIdentity {
    /// It has another form.
    Form(String),
    /// What stands for the trust domain.
    TrustDomain(String),
    /// What stands for the role.
    Role(String),
    /// The cluster or the name, with what is wrong.
    Name(String),
}

impl fmt::Display for InvalidIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form(text) => write!(f, "{text:?} is not spiffe://TRUST-DOMAIN/CLUSTER/ROLE/NAME"),
            Self::TrustDomain(text) => write!(
                f,
                "trust domain {text:?} is not 1 to {TRUST_DOMAIN_BYTES_MAX} lower-case letters, digits, `.`, `-` and `_`"
            ),
            Self::Role(text) => write!(f, "role {text:?} is not node, operator, observer or client"),
            Self::Name(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for InvalidIdentity {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_as_it_is_written() {
        for role in Role::ALL {
            let text = format!("spiffe://example.org/orders-1/{role}/n1.eu-West");
            let identity: Identity = text.parse().unwrap();
            assert_eq!((identity.to_string(), identity.role), (text, role));
        }
    }

    #[test]
    fn whatever_else_a_uri_says_is_refused_by_the_part_that_is_wrong() {
        let form = |text: &str| InvalidIdentity::Form(text.into());
        for text in [
            "",
            "spiffe:/d/c/node/n",
            "https://d/c/node/n",
            "SPIFFE://d/c/node/n",
            "spiffe://d/c/node",
            "spiffe://d/c/node/n/",
            "spiffe://d/ns/c/node/n",
        ] {
            assert_eq!(text.parse::<Identity>(), Err(form(text)));
        }
        for (text, word) in [
            ("spiffe://D/c/node/n", "trust domain"),
            ("spiffe:///c/node/n", "trust domain"),
            ("spiffe://d:1/c/node/n", "trust domain"),
            ("spiffe://u@d/c/node/n", "trust domain"),
            ("spiffe://d//node/n", "cluster name"),
            ("spiffe://d/%63/node/n", "cluster name"),
            ("spiffe://d/c/Node/n", "role"),
            ("spiffe://d/c/admin/n", "role"),
            ("spiffe://d/c/node/n?x", "node id"),
            ("spiffe://d/c/node/n#x", "node id"),
            ("spiffe://d/c/node/ä", "node id"),
        ] {
            let error = text.parse::<Identity>().unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
        let long = format!("spiffe://{}/c/node/n", "d".repeat(256));
        assert!(long.parse::<Identity>().is_err());
    }

    #[test]
    fn a_set_has_the_roles_that_were_put_in() {
        let set = Roles::NODES.and(Role::Client);
        let inside: Vec<Role> = Role::ALL.into_iter().filter(|role| set.contains(*role)).collect();
        assert_eq!(inside, [Role::Node, Role::Client]);
        assert_eq!(set.to_string(), "node or client");
        assert!(Role::ALL.into_iter().all(|role| Roles::ANY.contains(role)));
    }
}
