//! What commands have in common when they read a node's answer and give their own.

use funk_rpc::pb::managepb as pb;
use serde_json::Value;

use super::asked::Asked;
use super::table::{Table, Text};
use super::{Answer, Failure, node};

/// An error in an answer is a refusal.
pub(super) fn no_error(what: &str, error: Option<&pb::Error>) -> Result<(), Failure> {
    match error {
        Some(error) if error.error_code() != pb::error::Code::Ok => Err(node::refused(what, error)),
        _ => Ok(()),
    }
}

/// An answer with nothing to remark.
pub(super) fn good(json: Value, text: Text) -> Answer {
    Answer { json, text, code: 0, note: None }
}

/// Every endpoint by node: (node, name, address), sorted.
pub(super) async fn all_endpoints(asked: &Asked<'_>) -> Result<Vec<(String, String, String)>, Failure> {
    let all = pb::ListEndpointsRequest { filter: String::new() };
    let (_, list) = asked.call(all, async |node, request| node.list_endpoints(request).await).await?;
    no_error("endpoints", list.error.as_ref())?;
    let mut all: Vec<_> =
        list.endpoints.into_iter().map(|endpoint| (endpoint.node_id, endpoint.name, endpoint.address)).collect();
    all.sort();
    Ok(all)
}

/// A table of nodes with a column more if any is drained.
pub(super) fn marked(heads: &[&'static str], mut rows: Vec<Vec<String>>, drained: impl Iterator<Item = bool>) -> Table {
    let drained: Vec<bool> = drained.collect();
    let mut heads = heads.to_vec();
    if drained.contains(&true) {
        heads.push("MARK");
        for (at, row) in rows.iter_mut().enumerate() {
            let is = drained.get(at).copied().unwrap_or_default();
            row.push(if is { "drained".into() } else { String::new() });
        }
    }
    Table::new(&heads).rows(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::screen::Screen;

    #[test]
    fn a_drained_node_is_marked_and_others_cost_no_column() {
        let rows = || vec![vec!["a".to_owned()], vec!["b".to_owned()]];
        let shown = |drained: [bool; 2]| {
            Text::default().table(marked(&["NODE"], rows(), drained.into_iter())).on(Screen::PLAIN)
        };
        let text = shown([false, true]);
        assert!(text.lines().any(|line| line.starts_with('b') && line.ends_with("drained")), "{text}");
        assert!(!text.lines().any(|line| line.starts_with('a') && line.contains("drained")), "{text}");
        assert_eq!(shown([false, false]), "NODE\na\nb\n");
    }
}
