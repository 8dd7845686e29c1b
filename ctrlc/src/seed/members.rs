//! Who is there.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;

use funk_proto::Status;
use funk_proto::status::GossipStatus;

/// The other members in gossip, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Members(BTreeMap<String, (GossipStatus, SocketAddr)>);

impl Members {
    /// All but the node itself.
    pub(super) fn of(status: &Status) -> Self {
        let others = status.members.iter().filter(|member| member.name != status.name.as_str());
        let seen = others.filter_map(|member| Some((member.name.clone(), (member.gossip, member.gossip_address?))));
        Self(seen.collect())
    }

    /// Where those are that may be joined again: a failed one may come back, one that left does not.
    pub(super) fn addresses(&self) -> Vec<(SocketAddr, &str)> {
        let there = self.0.iter().filter(|(_, (status, _))| *status != GossipStatus::Left);
        there.map(|(name, (_, address))| (*address, name.as_str())).collect()
    }

    /// A line for each member that changed since `before`: status, name, address.
    pub(super) fn changes_since(&self, before: &Self) -> Vec<String> {
        let line = |name: &str, status: &str, address: SocketAddr| format!("{status} {name} {address}");
        let changed = self.0.iter().filter(|(name, now)| before.0.get(*name) != Some(*now));
        let changed = changed.map(|(name, (status, address))| line(name, status.as_str(), *address));
        let gone = before.0.iter().filter(|(name, _)| !self.0.contains_key(*name));
        changed.chain(gone.map(|(name, (_, address))| line(name, "forgotten", *address))).collect()
    }

    /// The members as a table, at most `rows` of them.
    pub(super) fn table(&self, rows: usize) -> String {
        let mut text = format!("{:<28}  {:<7}  {}\n", "NODE", "STATUS", "ADDRESS");
        for (name, (status, address)) in self.0.iter().take(rows) {
            let _ = writeln!(text, "{name:<28}  {:<7}  {address}", status.as_str());
        }
        if self.0.len() > rows {
            let _ = writeln!(text, "and {} more", self.0.len() - rows);
        }
        text
    }

    /// How many are alive.
    pub(super) fn alive(&self) -> usize {
        self.0.values().filter(|(status, _)| *status == GossipStatus::Alive).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(all: &[(&str, GossipStatus, u16)]) -> Members {
        let member = |&(name, status, port): &(&str, GossipStatus, u16)| {
            (name.to_owned(), (status, SocketAddr::from(([127, 0, 0, 1], port))))
        };
        Members(all.iter().map(member).collect())
    }

    #[test]
    fn every_change_is_a_line() {
        let before =
            members(&[("a", GossipStatus::Alive, 1), ("b", GossipStatus::Alive, 2), ("c", GossipStatus::Left, 3)]);
        let now =
            members(&[("a", GossipStatus::Alive, 1), ("b", GossipStatus::Failed, 2), ("d", GossipStatus::Alive, 4)]);
        let lines = now.changes_since(&before);
        assert_eq!(lines, ["failed b 127.0.0.1:2", "alive d 127.0.0.1:4", "forgotten c 127.0.0.1:3"]);
        assert!(now.changes_since(&now).is_empty());
    }

    #[test]
    fn those_who_left_are_not_joined_again() {
        let now = members(&[("a", GossipStatus::Left, 1), ("b", GossipStatus::Failed, 2)]);
        assert_eq!(now.addresses(), [("127.0.0.1:2".parse().unwrap(), "b")]);
        assert_eq!(now.alive(), 0);
    }

    #[test]
    fn a_table_fits_a_terminal() {
        let long = "n".repeat(28);
        let table = members(&[(&long, GossipStatus::Leaving, 65_535), ("z", GossipStatus::Alive, 1)]).table(1);
        assert!(table.lines().all(|line| line.len() <= 80), "{table}");
        assert!(table.ends_with("and 1 more\n"), "{table}");
    }
}
