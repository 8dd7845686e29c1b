//! Where the nodes' views of the cluster differ, and how bad that is.

use std::collections::{BTreeMap, BTreeSet};

use funk_rpc::pb::managepb as pb;
use serde_json::json;

use super::asked::Asked;
use super::find::MANAGEMENT;
use super::screen::Tone;
use super::table::{Table, Text};
use super::views::{View, views};
use super::{Answer, Failure};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    /// `Warn`: it works, for now. `Bad`: it does not.
    tone: Tone,
    text: String,
}

fn warn(text: impl Into<String>) -> Finding {
    Finding { tone: Tone::Warn, text: text.into() }
}

fn bad(text: impl Into<String>) -> Finding {
    Finding { tone: Tone::Bad, text: text.into() }
}

pub(super) async fn run(asked: &Asked<'_>) -> Result<Answer, Failure> {
    let views = views(asked).await?;
    let findings = findings(&views.nodes, &views.shards, &views.by_name);
    Ok(show(&views.nodes, &views.by_name, &findings))
}

/// What is wrong, the worst first.
fn findings(nodes: &[pb::NodeInfo], shards: &pb::ListShardsResponse, views: &BTreeMap<String, View>) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut leaders = BTreeSet::new();
    for node in nodes.iter().filter(|node| !node.raft_state.is_empty()) {
        let id = &node.node_id;
        if node.serf_state != "alive" {
            let state = &node.serf_state;
            found.push(warn(format!("{id} is a member, but {state} in gossip: start it, or `ctrlc node rm {id}`")));
            continue;
        }
        match views.get(id).map(|view| &view.status) {
            None => found.push(warn(format!("{id} shows no {MANAGEMENT}"))),
            Some(Err(why)) => found.push(warn(format!("{id}: {why}"))),
            Some(Ok(status)) => {
                leaders.insert(status.leader_node_id.as_str());
                if !matches!(status.local_state.as_str(), "Operational" | "Resharding" | "Draining") {
                    found.push(warn(format!("{id} is {}", status.local_state)));
                }
            }
        }
    }
    if leaders.contains("") {
        let all = leaders.len() == 1;
        found.push(if all {
            bad("no node knows a leader: no shard is served")
        } else {
            warn("some node knows no leader")
        });
    }
    if leaders.len() > 1 {
        let leaders: Vec<_> = leaders.iter().map(|&leader| if leader.is_empty() { "none" } else { leader }).collect();
        found.push(bad(format!("nodes follow different leaders: {}", leaders.join(", "))));
    }
    let owned: i64 = shards.shards.iter().map(|info| i64::from(info.shard_count)).sum();
    if owned != i64::from(shards.total_shards) {
        found.push(bad(format!("{owned} of {} shards have an owner", shards.total_shards)));
    }
    leaders.remove("");
    found.extend(foreign(nodes, views, &leaders));
    found.extend(majority(nodes, views, leaders.first().copied()));
    found.sort_by_key(|finding| std::cmp::Reverse(finding.tone));
    found
}

/// Nodes that gossip shows beside ours, and that follow none of our leaders: another cluster has this one's name.
fn foreign(nodes: &[pb::NodeInfo], views: &BTreeMap<String, View>, leaders: &BTreeSet<&str>) -> Vec<Finding> {
    let others = nodes.iter().filter(|node| node.raft_state.is_empty());
    let follows = |node: &pb::NodeInfo| {
        let status = views.get(&node.node_id)?.status.as_ref().ok()?;
        let leader = Some(&status.leader_node_id).filter(|leader| !leader.is_empty())?;
        let is_ours = leaders.is_empty() || leaders.contains(leader.as_str());
        (!is_ours).then(|| (leader.clone(), node.node_id.clone()))
    };
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (leader, node) in others.filter_map(follows) {
        found.entry(leader).or_default().push(node);
    }
    let said = |(leader, nodes): (String, Vec<String>)| {
        bad(format!("{leader} leads another cluster of this name, with {}", nodes.join(", ")))
    };
    found.into_iter().map(said).collect()
}

/// What is wrong with the number of voters. Gossip learns late of one that is gone, so those count that
/// answered; `leader` is whom they follow.
fn majority(nodes: &[pb::NodeInfo], views: &BTreeMap<String, View>, leader: Option<&str>) -> Option<Finding> {
    let voters: Vec<_> = nodes.iter().filter(|node| node.raft_state == "Voter").collect();
    let answered = |node: &&&pb::NodeInfo| views.get(&node.node_id).is_some_and(|view| view.status.is_ok());
    let (all, answer) = (voters.len(), voters.iter().filter(answered).count());
    let said = format!("{answer} of {all} voters answer");
    match leader {
        _ if all == 0 => Some(bad("the asked node knows no voters: it is in no cluster")),
        None if answer * 2 <= all => Some(bad(format!("{said}: no majority; see `ctrlc recover`"))),
        // Their word for a leader is no older than a lease: others are there that do not answer here.
        Some(leader) if answer * 2 <= all => {
            Some(warn(format!("{said}, but {leader} leads: is {MANAGEMENT} of the others open from here?")))
        }
        _ if all > 1 && (answer - 1) * 2 <= all => {
            Some(warn(format!("{said}: the loss of one more stops the cluster")))
        }
        _ => None,
    }
}

fn show(nodes: &[pb::NodeInfo], views: &BTreeMap<String, View>, findings: &[Finding]) -> Answer {
    let mut rows = Vec::new();
    let mut entries = Vec::new();
    for info in nodes {
        let view = views.get(&info.node_id);
        let status = view.and_then(|view| view.status.as_ref().ok());
        let took = view.filter(|view| view.status.is_ok()).map(|view| view.took.as_secs_f64() * 1e3);
        let (state, role, leader) = status.map_or(("-", "-", "-"), |status| {
            (status.local_state.as_str(), status.local_role.as_str(), status.leader_node_id.as_str())
        });
        let time = took.map_or_else(|| "-".to_owned(), |took| format!("{took:.1} ms"));
        let serf = info.serf_state.as_str();
        rows.push([info.node_id.as_str(), serf, state, role, leader, &time].map(str::to_owned).to_vec());
        entries.push(json!({
            "id": info.node_id,
            "serf": info.serf_state,
            "raft": info.raft_state,
            "answered": status.is_some(),
            "state": status.map(|status| &status.local_state),
            "role": status.map(|status| &status.local_role),
            "leader": status.map(|status| &status.leader_node_id),
            "took_ms": took,
        }));
    }
    let worst = findings.iter().map(|finding| finding.tone).max().unwrap_or(Tone::Good);
    let (severity, code) = match worst {
        Tone::Bad => ("red", 2),
        Tone::Warn => ("yellow", 1),
        Tone::Good | Tone::Plain | Tone::Head => ("green", 0),
    };
    let verdict = match worst {
        Tone::Bad => "RED: this does not work",
        Tone::Warn => "YELLOW: it works, and somebody should look",
        Tone::Good | Tone::Plain | Tone::Head => "GREEN: nothing is wrong",
    };
    let mut text = Text::default().toned(worst, verdict);
    for finding in findings {
        text = text.item(finding.tone, &finding.text);
    }
    let table = Table::new(&["NODE", "SERF", "STATE", "ROLE", "FOLLOWS", ">ANSWERED"]).rows(rows);
    let problems: Vec<_> = findings.iter().map(|finding| &finding.text).collect();
    let severity_of = |finding: &Finding| if finding.tone == Tone::Bad { "red" } else { "yellow" };
    let told = |finding: &Finding| json!({ "severity": severity_of(finding), "text": finding.text });
    let json = json!({
        "nodes": entries,
        "problems": problems,
        "findings": findings.iter().map(told).collect::<Vec<_>>(),
        "severity": severity,
        "good": findings.is_empty(),
    });
    Answer { json, text: text.line("").table(table), code, note: None }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ctl::screen::Screen;

    fn node(id: &str, serf: &str) -> pb::NodeInfo {
        pb::NodeInfo {
            node_id: id.into(),
            raft_state: "Voter".into(),
            serf_state: serf.into(),
            leader: id == "a",
            drained: false,
        }
    }

    fn view(leader: &str, state: &str) -> View {
        let status =
            pb::GetStatusResponse { leader_node_id: leader.into(), local_state: state.into(), ..Default::default() };
        View { status: Ok(status), took: Duration::ZERO }
    }

    fn shards(owned: i32) -> pb::ListShardsResponse {
        let shards = vec![pb::ShardInfo { node_id: "a".into(), shard_count: owned, drained: false }];
        pb::ListShardsResponse { shards, total_shards: 10, ..Default::default() }
    }

    #[test]
    fn a_healthy_cluster_has_no_problems() {
        let nodes = ["a", "b", "c"].map(|id| node(id, "alive"));
        let views = ["a", "b", "c"].map(|id| (id.to_owned(), view("a", "Operational"))).into();
        assert!(findings(&nodes, &shards(10), &views).is_empty());
        let shown = show(&nodes, &views, &[]);
        assert_eq!((shown.code, &shown.json["severity"]), (0, &json!("green")));
    }

    #[test]
    fn a_foreign_leader_in_our_gossip_is_named() {
        let ours = [node("a", "alive"), node("b", "alive")];
        let outside = |id: &str| pb::NodeInfo { raft_state: String::new(), leader: false, ..node(id, "alive") };
        let said = |others: &[(&str, &str)]| {
            let nodes: Vec<_> = ours.iter().cloned().chain(others.iter().map(|(id, _)| outside(id))).collect();
            let seen = ours.iter().map(|node| (node.node_id.clone(), view("a", "Operational")));
            let others = others.iter().map(|(id, leader)| ((*id).to_owned(), view(leader, "Operational")));
            texts(&findings(&nodes, &shards(10), &seen.chain(others).collect()))
        };
        // It leads itself; and a follower of one that gossip does not show.
        assert!(said(&[("x", "x")]).contains("x leads another cluster of this name, with x"));
        assert!(said(&[("y", "x"), ("z", "x")]).contains("x leads another cluster of this name, with y, z"));
        // Observers follow our leader, and those that wait to be let in, none.
        assert!(!said(&[("o", "a"), ("w", "")]).contains("another cluster"));
    }

    fn texts(findings: &[Finding]) -> String {
        findings.iter().map(|finding| finding.text.as_str()).collect::<Vec<_>>().join("\n")
    }

    fn silent() -> View {
        View { status: Err("no answer from 127.0.0.1:1 within 1s".into()), took: Duration::ZERO }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let nodes = [node("a", "alive"), node("b", "alive"), node("c", "failed"), node("d", "alive")];
        let views = [
            ("a".to_owned(), view("a", "Operational")),
            ("b".to_owned(), view("", "Voting")),
            ("d".to_owned(), silent()),
        ];
        let views = views.into();
        let all = findings(&nodes, &shards(9), &views);
        let found = texts(&all);
        for said in ["c is a member", "d: no answer", "b is Voting", "no leader", "a", "9 of 10", "2 of 4 voters"] {
            assert!(found.contains(said), "{said}: {found}");
        }
        let shown = show(&nodes, &views, &all);
        let text = shown.text.on(Screen { width: Some(80), colors: false });
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.starts_with("RED: this does not work\n! ") && shown.code == 2, "{text}");
        let mild: Vec<_> = all.into_iter().filter(|finding| finding.tone == Tone::Warn).collect();
        assert_eq!(show(&nodes, &views, &mild).code, 1);
    }

    #[test]
    fn a_voter_that_did_not_answer_is_not_counted_though_gossip_holds_it_for_alive() {
        let nodes = ["a", "b", "c"].map(|id| node(id, "alive"));
        let said = |views: [View; 3], leader| {
            let views = ["a", "b", "c"].map(str::to_owned).into_iter().zip(views).collect();
            majority(&nodes, &views, leader).map(|finding| finding.text).unwrap_or_default()
        };
        let fine = || view("a", "Operational");
        assert_eq!(said([fine(), fine(), fine()], Some("a")), "");
        let one_more = "2 of 3 voters answer: the loss of one more stops the cluster";
        assert_eq!(said([fine(), fine(), silent()], Some("a")), one_more);
        let lost = "1 of 3 voters answer: no majority; see `ctrlc recover`";
        assert_eq!(said([view("", "Voting"), silent(), silent()], None), lost);
        assert!(said([fine(), silent(), silent()], Some("a")).contains("but a leads"));
        assert!(majority(&[], &BTreeMap::new(), None).is_some_and(|said| said.text.contains("in no cluster")));
    }
}
