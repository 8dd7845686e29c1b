//! What operators measure with: the metrics are as Prometheus wants them and as
//! docs/metrics.md lists them, and a real Prometheus gets data for every panel
//! of the dashboard and every alert in deploy/.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS};
use funk_tests::blackbox::load::Load;
use funk_tests::blackbox::prometheus::{Prometheus, check, test_rules, with_prometheus};
use funk_tests::blackbox::{Tested, http, wait_for, workspace};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Names that the contract fixes against the customs of Prometheus.
const FIXED: &str = "cf_cluster_";

/// In docs/metrics.md, what follows this line is written by the test.
const TABLE: &str = "| name | type | unit | labels | meaning |\n|---|---|---|---|---|\n";

fn metrics_of(cluster: &mut DemoCluster, node: usize) -> Result<SocketAddr, String> {
    let status = cluster.status(node)?;
    let own = status.members.get(&status.node_id).and_then(|own| own.endpoints.get("ep.metrics").copied());
    own.ok_or_else(|| "the node has no ep.metrics".into())
}

fn scrape(address: SocketAddr) -> Result<String, String> {
    let answer = http::get(address, "/metrics", Duration::from_secs(5)).map_err(|error| error.to_string())?;
    Ok(answer.text())
}

/// The rows of the table in docs/metrics.md, from a page of metrics.
fn rows(page: &str) -> BTreeSet<String> {
    let mut help: BTreeMap<&str, &str> = BTreeMap::new();
    let mut rows = BTreeSet::new();
    for line in page.lines() {
        if let Some((name, text)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            help.insert(name, text);
        }
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let text = help.get(name).copied().unwrap_or("(none)");
            rows.insert(format!("| `{name}` | {kind} | {} | {} | {text} |", unit(name), labels(page, name)));
        }
    }
    rows
}

fn unit(name: &str) -> &'static str {
    let name = name.trim_end_matches("_total");
    match () {
        () if name == "cf_cluster_uptime" => "ns",
        () if name.ends_with("_seconds") => "s",
        () if name.ends_with("_bytes") => "bytes",
        () => "",
    }
}

/// The labels of a metric's first series, but for those that every one has.
fn labels(page: &str, name: &str) -> String {
    let series = page.lines().find_map(|line| {
        let rest = line.strip_prefix(name)?;
        ["{", "_bucket{"].iter().find_map(|start| rest.strip_prefix(start))
    });
    let names = series.unwrap_or_default().split(',').filter_map(|label| label.split_once("=\"")).map(|(name, _)| name);
    names.filter(|name| !["node", "le"].contains(name)).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The sum over all series of `name` that have `label`.
fn sum(page: &str, name: &str, label: &str) -> f64 {
    let start = format!("{name}{{");
    let lines = page.lines().filter(|line| line.starts_with(&start) && line.contains(label));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[test]
fn metrics_are_as_prometheus_wants_them_and_as_the_docs_list_them() -> Tested {
    let mut cluster = DemoCluster::start("metrics-docs", 2)?;
    let load = Load::start(&mut cluster, Duration::from_secs(2))?;
    load.running(&mut cluster)?;
    let metrics = metrics_of(&mut cluster, 0)?;
    let page = wait_for("a request that came in at the node", GENEROUS, || {
        let page = scrape(metrics)?;
        if page.contains("\ncf_cluster_requests{") { Ok(page) } else { Err("none".into()) }
    })?;
    load.finish()?;

    let file = workspace().join("docs/metrics.md");
    let text = std::fs::read_to_string(&file)?;
    let (head, table) = text.split_once(TABLE).ok_or("docs/metrics.md has no table")?;
    let rows = rows(&page);
    if std::env::var_os("FUNK_REWRITE").is_some() {
        let rows: String = rows.iter().map(|row| format!("{row}\n")).collect();
        std::fs::write(&file, format!("{head}{TABLE}{rows}"))?;
    } else {
        let listed: BTreeSet<String> = table.lines().map(str::to_owned).collect();
        let missing: Vec<_> = rows.difference(&listed).collect();
        let gone: Vec<_> = listed.difference(&rows).collect();
        let hint = "FUNK_REWRITE=1 cargo test -p funk-tests --test blackbox metrics writes the table";
        assert!(
            missing.is_empty() && gone.is_empty(),
            "docs/metrics.md lacks {missing:#?}\nand lists in vain {gone:#?}\n{hint}"
        );
    }

    with_prometheus("metrics_are_as_prometheus_wants_them_and_as_the_docs_list_them", || {
        let found = check(&["metrics"], &page).err().unwrap_or_default();
        let wrong: Vec<_> = found.lines().filter(|line| !line.is_empty() && !line.starts_with(FIXED)).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        Ok(())
    })
}

#[test]
fn promtool_accepts_the_rules_and_the_configurations() -> Tested {
    with_prometheus("promtool_accepts_the_rules_and_the_configurations", || {
        let deploy = workspace().join("deploy/prometheus");
        for (kind, file) in [
            ("rules", "funk.rules.yml"),
            ("config", "prometheus.yml"),
            ("config", "prometheus.dns.yml"),
            ("config", "prometheus.http.yml"),
        ] {
            check(&[kind, &deploy.join(file).display().to_string()], "")?;
        }
        Ok(())
    })
}

#[test]
fn a_node_s_metrics_tell_the_part_that_it_plays() -> Tested {
    let mut cluster = DemoCluster::start("metrics-role", 1)?;
    cluster.set_extra(&["--non-member"]);
    cluster.join()?;
    for (node, role) in [(0, "Leader"), (1, "NonMember")] {
        let metrics = metrics_of(&mut cluster, node)?;
        wait_for("its role", GENEROUS, || {
            let page = scrape(metrics)?;
            let played = page.lines().filter(|line| line.starts_with("funk_role{") && line.ends_with(" 1"));
            let played: Vec<_> = played.collect();
            let expected = format!("funk_role{{node=\"n{node}\",role=\"{role}\"}} 1");
            if played == [expected] { Ok(()) } else { Err(format!("{played:?}")) }
        })?;
    }
    Ok(())
}

#[test]
fn any_node_lists_the_metrics_of_all_and_a_prometheus_follows() -> Tested {
    let mut cluster = DemoCluster::start("metrics-sd", 2)?;
    let mut metrics = Vec::new();
    for node in cluster.live() {
        metrics.push((cluster.nodes[node].id.clone(), metrics_of(&mut cluster, node)?));
    }
    let groups = metrics.iter().map(|(id, at)| {
        let labels = json!({ "__meta_funk_cluster": cluster.name(), "__meta_funk_node": id });
        json!({ "targets": [at.to_string()], "labels": labels })
    });
    let groups = Value::Array(groups.collect());
    for at in [cluster.page(0)?, cluster.page(1)?, metrics[0].1] {
        let answer = http::get(at, "/sd", Duration::from_secs(5))?;
        assert_eq!((answer.code, serde_json::from_slice::<Value>(&answer.body)?), (200, groups.clone()));
    }
    with_prometheus("any_node_lists_the_metrics_of_all_and_a_prometheus_follows", || {
        let page = cluster.page(0)?;
        let prometheus = Prometheus::asking(cluster.dir(), page)?;
        let scraped = |count: usize| {
            wait_for(&format!("{count} nodes to be scraped"), GENEROUS, || {
                let up = prometheus.query("up{job=\"funk\"} == 1")?.len();
                if up == count { Ok(()) } else { Err(format!("{up} are")) }
            })
        };
        scraped(2)?;
        cluster.join()?;
        Ok(scraped(3)?)
    })
}

#[test]
fn the_alerts_fire_when_they_must_and_are_silent_otherwise() -> Tested {
    with_prometheus("the_alerts_fire_when_they_must_and_are_silent_otherwise", || {
        Ok(test_rules(&workspace().join("deploy/prometheus/funk.rules.test.yml"))?)
    })
}

fn dashboard() -> Result<Value, String> {
    let text = std::fs::read_to_string(workspace().join("deploy/grafana/funk.json")).map_err(|e| e.to_string())?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

/// The panels of the dashboard, those in collapsed rows too.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    let top = dashboard["panels"].as_array().into_iter().flatten();
    top.flat_map(|panel| std::iter::once(panel).chain(panel["panels"].as_array().into_iter().flatten()))
}

/// A query without variables, which Grafana replaces, longest names first.
fn replaced(query: &str) -> Result<String, String> {
    let variables = [("$__rate_interval", "10s"), ("$__range", "60s"), ("$job", "funk"), ("$node", ".*")];
    let query = variables.iter().fold(query.to_owned(), |query, (variable, value)| query.replace(variable, value));
    if query.contains('$') { Err(format!("nobody replaces the variable in {query}")) } else { Ok(query) }
}

/// What the dashboard asks, with who asks it: the queries of its panels, and the series of its annotations, which are
/// events that need not have happened.
fn dashboard_queries() -> Result<Vec<(String, String)>, String> {
    let dashboard = dashboard()?;
    let mut queries = Vec::new();
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().ok_or("a panel has no title")?;
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().ok_or_else(|| format!("`{title}` has a target without a query"))?;
            queries.push((title.to_owned(), replaced(query)?));
        }
    }
    for annotation in dashboard["annotations"]["list"].as_array().into_iter().flatten() {
        let name = annotation["name"].as_str().ok_or("an annotation has no name")?;
        let query = replaced(annotation["expr"].as_str().ok_or("an annotation has no query")?)?;
        queries.extend(selectors(&query).into_iter().map(|selector| (name.to_owned(), selector)));
    }
    Ok(queries)
}

#[test]
fn the_dashboard_can_be_imported_beside_others_and_explains_itself() -> Tested {
    let dashboard = dashboard()?;
    assert!(dashboard["uid"].is_null(), "Grafana makes one up: a fixed one replaces whatever has it");
    let mut ids = BTreeSet::new();
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().ok_or("a panel has no title")?;
        assert!(ids.insert(panel["id"].as_u64().ok_or("no id")?), "`{title}` has the id of another panel");
        assert!(panel["type"] == "row" || panel["description"].is_string(), "`{title}` has no description");
        // Only series that keep the label lead to a node's page.
        let link = panel["fieldConfig"]["defaults"]["links"][0]["url"].as_str();
        assert!(link.is_none_or(|url| url == "http://${__field.labels.instance}/"), "`{title}` leads to {link:?}");
    }
    let annotations = dashboard["annotations"]["list"].as_array().map(Vec::len);
    assert!(ids.len() > 50 && annotations == Some(2), "{ids:?} {annotations:?}");
    Ok(())
}

/// The series that an expression looks at: names of metrics with their label matchers.
fn selectors(expression: &str) -> Vec<String> {
    let mut selectors = Vec::new();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = expression;
    while let Some(start) = rest.find(is_name) {
        let word_end = rest[start..].find(|c| !is_name(c)).map_or(rest.len(), |end| start + end);
        let word = &rest[start..word_end];
        let mut end = word_end;
        if word == "up" || word.starts_with("funk_") || word.starts_with("cf_") {
            if rest[word_end..].starts_with('{') {
                end = rest[word_end..].find('}').map_or(rest.len(), |close| word_end + close + 1);
            }
            selectors.push(rest[start..end].to_owned());
        }
        rest = &rest[end..];
    }
    selectors
}

#[test]
fn the_series_of_an_expression_are_found() {
    let found = selectors(r#"max by (job) (funk_members{status="failed"} - funk_voters) > 0 and up{job=~"funk.*"}"#);
    assert_eq!(found, [r#"funk_members{status="failed"}"#, "funk_voters", r#"up{job=~"funk.*"}"#]);
}

#[test]
fn a_prometheus_gets_data_for_every_panel_and_every_alert() -> Tested {
    with_prometheus("a_prometheus_gets_data_for_every_panel_and_every_alert", || {
        let mut cluster = DemoCluster::empty("metrics-prometheus", &[])?;
        cluster.set_durable();
        cluster.fill(3)?;
        let mut targets = Vec::new();
        for node in cluster.live() {
            targets.push(metrics_of(&mut cluster, node)?);
        }
        let rules = workspace().join("deploy/prometheus/funk.rules.yml");
        let prometheus = Prometheus::start(cluster.dir(), &targets, &rules)?;
        let load = Load::start(&mut cluster, Duration::from_secs(20))?;
        load.running(&mut cluster)?;

        let alerts = prometheus.alerts()?;
        assert!(alerts.len() >= 17, "{alerts:?}");
        let mut wanted = dashboard_queries()?;
        for (alert, expression) in alerts {
            let selectors = selectors(&expression);
            assert!(!selectors.is_empty(), "{alert} looks at nothing: {expression}");
            wanted.extend(selectors.into_iter().map(|selector| (alert.clone(), selector)));
        }
        for (who, query) in wanted {
            wait_for(&format!("data for `{who}`: {query}"), GENEROUS, || {
                if prometheus.query(&query)?.is_empty() { Err("no data".into()) } else { Ok(()) }
            })?;
        }
        load.finish()?;
        a_failover_is_measured(&mut cluster, &prometheus)
    })
}

/// Kills the leader: the survivors tell each part of it, and Prometheus that the node is gone.
fn a_failover_is_measured(cluster: &mut DemoCluster, prometheus: &Prometheus) -> Tested {
    let leader = cluster.leader()?;
    let survivors: Vec<_> = cluster.live().into_iter().filter(|node| *node != leader).collect();
    let mut metrics = Vec::new();
    for node in &survivors {
        metrics.push(metrics_of(cluster, *node)?);
    }
    cluster.nodes[leader].process.signal(Signal::KILL);
    cluster.converged_among(&survivors, GENEROUS)?;
    let pages: Vec<_> = metrics.iter().map(|at| scrape(*at)).collect::<Result<_, _>>()?;
    for phase in ["detect", "elect", "map", "serve"] {
        let label = format!("phase=\"{phase}\"");
        let counted: f64 = pages.iter().map(|page| sum(page, "funk_failover_seconds_count", &label)).sum();
        let seen: Vec<_> = pages[0].lines().filter(|line| line.contains("_seconds_count{")).collect();
        assert!(counted >= 1.0, "nobody saw the phase {phase}: {seen:#?}");
    }
    let moving: f64 = pages.iter().map(|page| sum(page, "funk_shards_moving", "")).sum();
    assert!(moving.abs() < f64::EPSILON, "all shards have owners again");
    wait_for("Prometheus to miss the node", GENEROUS, || {
        let missing = prometheus.query("up{job=\"funk\"} == 0")?.len();
        if missing == 1 { Ok(()) } else { Err(format!("it misses {missing}")) }
    })?;
    Ok(())
}
