//! `ctrlc`, against clusters of one, three and five nodes.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS, demo_command};
use funk_tests::blackbox::load::Load;
use funk_tests::blackbox::process::Process;
use funk_tests::blackbox::{Tested, ports, program, wait_for};
use rustix::process::Signal;
use serde_json::Value;

fn ctrlc(arguments: &[&str]) -> Result<Output, String> {
    let mut command = Command::new(program("ctrlc")?);
    command.env_clear().args(arguments).output().map_err(|error| error.to_string())
}

/// The arguments that lead to a node of the cluster.
fn at<'a>(cluster: &'a DemoCluster, join: &'a str) -> [&'a str; 4] {
    ["-n", cluster.name(), "--join", join]
}

/// What a command that works says, as text and as JSON.
fn both(cluster: &DemoCluster, arguments: &[&str]) -> Result<(String, Value), String> {
    let join = cluster.nodes[0].serf.to_string();
    let text = ctrlc(&[arguments, &at(cluster, &join)].concat())?;
    let json = ctrlc(&[arguments, &at(cluster, &join), &["--output", "json"]].concat())?;
    for output in [&text, &json] {
        let error = String::from_utf8_lossy(&output.stderr);
        if output.status.code() != Some(0) || !error.is_empty() {
            return Err(format!("{arguments:?}: {:?} {error}", output.status));
        }
    }
    let shown = String::from_utf8(text.stdout).map_err(|error| error.to_string())?;
    let json = serde_json::from_slice(&json.stdout).map_err(|error| format!("{arguments:?}: {error}"))?;
    Ok((shown, json))
}

/// The one line that a command says which fails with this code.
fn refused(arguments: &[&str], code: i32) -> Result<String, String> {
    let output = ctrlc(arguments)?;
    let error = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    if output.status.code() != Some(code) || error.lines().count() != 1 || !output.stdout.is_empty() {
        return Err(format!("{arguments:?}: {:?}, not {code}: {error}", output.status));
    }
    Ok(error)
}

#[test]
fn every_view_of_a_cluster_is_shown_as_text_and_as_json() -> Tested {
    for nodes in [1_usize, 3, 5] {
        let mut cluster = DemoCluster::start(&format!("ctrlc-{nodes}"), nodes)?;
        let leader = cluster.leader()?;
        let leader = cluster.nodes[leader].id.clone();

        let (text, json) = both(&cluster, &["status"])?;
        assert_eq!((json["leader"].as_str(), json["cluster"].as_str()), (Some(leader.as_str()), Some(cluster.name())));
        assert_eq!((json["raft_nodes"].as_u64(), json["shards"].as_u64()), (Some(nodes as u64), Some(10_000)));
        assert_eq!(json["your_ip"].as_str(), Some("127.0.0.1"), "{text}");
        assert!(json["created_ns"].as_i64().is_some_and(|created| created > 0), "{text}");

        let (text, json) = both(&cluster, &["nodes"])?;
        let listed = json["nodes"].as_array().ok_or("no list of nodes")?;
        assert_eq!(listed.len(), nodes, "{text}");
        assert!(listed.iter().all(|node| node["raft"] == "Voter" && node["serf"] == "alive"), "{text}");

        let (text, json) = both(&cluster, &["shards"])?;
        let owned =
            json["nodes"].as_array().ok_or("no list of shards")?.iter().filter_map(|node| node["shards"].as_u64());
        assert_eq!(owned.sum::<u64>(), 10_000, "{text}");

        let (text, json) = both(&cluster, &["endpoints", "ep.demo"])?;
        assert_eq!(json["endpoints"].as_array().map(Vec::len), Some(nodes), "{text}");
        assert!(both(&cluster, &["endpoints"])?.0.lines().count() > 5 * nodes);
        let managed = both(&cluster, &["endpoints", "management"])?.1;
        let endpoint = managed["endpoints"][0]["address"].as_str().ok_or("no management endpoint")?.to_owned();
        assert_eq!(ctrlc(&["status", "-e", &endpoint])?.status.code(), Some(0));

        let survives = ["does not survive", "survives the loss of 1 more voter", "survives the loss of 2 more voters"];
        let (text, json) = both(&cluster, &["status"])?;
        assert!(text.starts_with("Healthy: ") && text.contains(survives[nodes / 2]), "{text}");
        assert_eq!(json["serves"], Value::Bool(true), "{text}");

        for name in ["doctor", "diag"] {
            let (text, json) = both(&cluster, &[name])?;
            assert_eq!((&json["good"], &json["severity"]), (&Value::Bool(true), &Value::from("green")), "{text}");
        }
    }
    Ok(())
}

#[test]
fn every_change_is_told_as_text_and_as_json() -> Tested {
    for nodes in [1_usize, 3, 5] {
        let mut cluster = DemoCluster::start(&format!("ctrlc-changes-{nodes}"), nodes)?;
        let leader = cluster.leader()?;
        let (own, away) = (cluster.nodes[leader].id.clone(), cluster.nodes[(leader + 1) % nodes].id.clone());
        for (change, moves) in [("none", false), ("pin=0-99,", true)] {
            let change = if moves { format!("{change}{own}") } else { change.to_owned() };
            let (text, _) = both(&cluster, &["shards", "--plan", &change])?;
            assert!(text.contains(&own), "{text}");
        }
        assert_eq!(
            both(&cluster, &["plan", &format!("pin=0-99,{own}")])?.0,
            both(&cluster, &["shards", "--plan", &format!("pin=0-99,{own}")])?.0
        );
        both(&cluster, &["shards", "--pin", &format!("0-9,{own}")])?;
        both(&cluster, &["shards", "--unpin", "0-9"])?;
        let (text, _) = both(&cluster, &["pin", "0-9", &own])?;
        assert_eq!(text, format!("shards 0 to 9 pinned to {own}\n"));
        assert_eq!(both(&cluster, &["unpin", "0-9"])?.0, "shards 0 to 9 free\n");
        let (text, json) = both(&cluster, &["node", "add", &own])?;
        assert_eq!((text.as_str(), json["done"].as_str()), (format!("{own} added\n").as_str(), Some("added")));
        if nodes == 1 {
            // Nobody is there to take over, and both outputs say so alike.
            let join = cluster.nodes[0].serf.to_string();
            for change in
                [&["step-down"][..], &["node", "drain", &own], &["node", "rm", &own], &["recover", "--from", &own]]
            {
                let text = refused(&[change, &at(&cluster, &join)].concat(), 1)?;
                assert_eq!(text, refused(&[change, &at(&cluster, &join), &["--output", "json"]].concat(), 1)?);
            }
            continue;
        }
        let (_, json) = both(&cluster, &["step-down"])?;
        assert_eq!(json["done"], "stepped down");
        let leads = wait_for("one leader", GENEROUS, || cluster.leader());
        let gone = if cluster.nodes[leads?].id == away { own } else { away };
        let (text, json) = both(&cluster, &["node", "drain", &gone])?;
        assert_eq!((text.as_str(), json["done"].as_str()), (format!("{gone} drained\n").as_str(), Some("drained")));
        let join = cluster.nodes.iter().find(|node| node.id != gone).ok_or("others are there")?.serf.to_string();
        let removed = ctrlc(&[&["node", "rm", &gone], &at(&cluster, &join)[..], &["--output", "json"]].concat())?;
        let error = String::from_utf8_lossy(&removed.stderr);
        let json: Value = serde_json::from_slice(&removed.stdout).map_err(|why| format!("{why}: {error}"))?;
        assert_eq!((json["done"].as_str(), json["node"].as_str()), (Some("removed"), Some(gone.as_str())));
        let error = refused(&[&["node", "rm", &gone], &at(&cluster, &join)[..]].concat(), 1)?;
        assert!(error.contains("no such node"), "{error}");
    }
    Ok(())
}

#[test]
fn a_node_that_is_asked_to_take_itself_out_tells_that_it_did() -> Tested {
    let mut cluster = DemoCluster::start("ctrlc-own-end", 3)?;
    let gone = cluster.follower()?;
    let id = cluster.nodes[gone].id.clone();
    let (_, json) = both(&cluster, &["endpoints", "management"])?;
    let all = json["endpoints"].as_array().ok_or("no management endpoints")?;
    let own = all.iter().find(|endpoint| endpoint["node"] == id.as_str()).ok_or("it has none")?;
    let own = own["address"].as_str().ok_or("no address")?;
    let output = ctrlc(&["node", "rm", &id, "-e", own])?;
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{id} removed\n"));
    Ok(())
}

#[test]
fn step_down_moves_leadership_and_loses_no_request() -> Tested {
    let mut cluster = DemoCluster::start("ctrlc-step-down", 3)?;
    let before = cluster.leader()?;
    let load = Load::start(&mut cluster, Duration::from_secs(4))?;
    load.running(&mut cluster)?;
    // The node that is asked need not be the one that leads.
    let asked = cluster.follower()?;
    let join = cluster.nodes[asked].serf.to_string();
    let output = ctrlc(&[&["step-down"], &at(&cluster, &join)[..]].concat())?;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    wait_for("another leader", GENEROUS, || match cluster.leader()? {
        now if now == before => Err("the same one leads".into()),
        _ => Ok(()),
    })?;
    load.finish()?;
    Ok(())
}

#[test]
fn a_node_is_emptied_and_taken_out_without_a_lost_request() -> Tested {
    let mut cluster = DemoCluster::start("ctrlc-change", 3)?;
    let leader = cluster.leader()?;
    let gone = (0..3).find(|&node| node != leader).ok_or("three nodes have a follower")?;
    let id = cluster.nodes[gone].id.clone();
    let load = Load::start(&mut cluster, Duration::from_secs(4))?;
    load.running(&mut cluster)?;
    // The node that is asked need not be the one that leads, or the one that goes.
    let asked = (0..3).find(|&node| node != leader && node != gone).ok_or("three nodes have two followers")?;
    let join = cluster.nodes[asked].serf.to_string();
    let done = |arguments: &[&str]| -> Result<String, String> {
        let output = ctrlc(&[arguments, &at(&cluster, &join)].concat())?;
        let error = String::from_utf8_lossy(&output.stderr);
        if output.status.code() != Some(0) {
            return Err(format!("{arguments:?}: {error}"));
        }
        String::from_utf8(output.stdout).map_err(|error| error.to_string())
    };
    let listed = |what: &str| -> Result<Vec<Value>, String> {
        let json: Value =
            serde_json::from_str(&done(&[what, "--output", "json"])?).map_err(|error| error.to_string())?;
        Ok(json["nodes"].as_array().cloned().unwrap_or_default())
    };
    done(&["node", "drain", &id])?;
    // Whoever was asked and passed it on knows of it when it answers.
    let owns = listed("shards")?.into_iter().find(|node| node["node"] == *id && node["shards"] != 0);
    assert_eq!(owns, None);
    let raft = |id: &str| -> Result<Option<Value>, String> {
        Ok(listed("nodes")?.into_iter().find(|node| node["id"] == *id).map(|node| node["raft"].clone()))
    };
    assert!(raft(&id)?.is_some_and(|raft| raft != ""), "a drained node stays a member");

    done(&["node", "rm", &id])?;
    wait_for("Raft to be without it", GENEROUS, || match raft(&id)? {
        Some(raft) if raft != "" => Err(format!("it is a {raft}")),
        _ => Ok(()),
    })?;
    load.finish()?;
    let status = cluster.nodes[gone].process.wait(GENEROUS)?;
    assert_eq!(
        status.code(),
        Some(0),
        "the process of a removed node says so and ends: no supervisor must bring it back"
    );
    Ok(())
}

#[test]
fn a_drain_follows_the_leader_that_comes_after_a_killed_one() -> Tested {
    let mut cluster = DemoCluster::start("ctrlc-drain-follows", 5)?;
    let leader = cluster.leader()?;
    let followers: Vec<_> = (0..5).filter(|&node| node != leader).collect();
    let [asked, drained, ..] = followers[..] else { return Err("five nodes have four followers".into()) };
    let status = cluster.status(asked)?;
    let endpoints = status.members.get(&cluster.nodes[asked].id).map(|member| &member.endpoints);
    let endpoint = endpoints.and_then(|all| all.get("ep.clusterfunk.management")).ok_or("no management endpoint")?;
    let endpoint = endpoint.to_string();

    // The node that is asked still takes the dead one for its leader.
    cluster.nodes[leader].process.signal(Signal::KILL);
    let id = cluster.nodes[drained].id.clone();
    let output = ctrlc(&["node", "drain", &id, "-n", cluster.name(), "--endpoint", &endpoint])?;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let owned = cluster.status(asked)?.members.get(&id).map(|member| member.shards);
    assert_eq!(owned, Some(0), "whoever was asked and passed it on knows of it when it answers");
    Ok(())
}

#[test]
fn what_cannot_be_done_is_said_in_one_line() -> Tested {
    let cluster = DemoCluster::start("ctrlc-refused", 1)?;
    let join = cluster.nodes[0].serf.to_string();
    let with = |arguments: &[&'static str]| refused(&[arguments, &at(&cluster, &join)].concat(), 1);
    let error = with(&["node", "rm", "nobody"])?;
    assert!(error.contains("no such node") && error.contains("nobody"), "{error}");
    assert!(with(&["node", "drain", "nobody"])?.contains("no such node"));
    assert!(with(&["step-down"])?.contains("no other voter"));

    let began = Instant::now();
    let error = refused(&["status", "--zeroconf=false", "--join", "127.0.0.1:1", "--timeout", "300ms"], 1)?;
    assert!(error.contains("--join 127.0.0.1:1") && began.elapsed() < GENEROUS, "{error}");
    assert!(refused(&["status", "-e", "127.0.0.1:1"], 1)?.contains("127.0.0.1:1"));
    assert!(refused(&["doctor", "-e", "127.0.0.1:1"], 3)?.contains("127.0.0.1:1"), "it cannot tell");
    let error = refused(&["status", "-n", "other", "--join", &join, "--timeout", "300ms"], 1)?;
    assert!(error.contains("cluster other"), "{error}");
    assert!(refused(&["status", "--tls"], 2)?.contains("--tls needs --tls-cert"));
    assert!(refused(&["nonsense"], 2)?.contains("nonsense"));
    Ok(())
}

/// A node beside a cluster, whose id comes before those of all others, and its gossip address.
fn beside(cluster: &DemoCluster, id: &str, arguments: &[&str]) -> Result<(Process, String), String> {
    let serf = ports::free()?.to_string();
    let mut command = demo_command(cluster.name())?;
    command.args(["--node-id", id, "--serf-endpoint", &serf]).args(arguments);
    let process = Process::start(id, command, cluster.dir())?;
    process.line("status ", GENEROUS)?;
    Ok((process, serf))
}

/// The management endpoint of a node.
fn managed(cluster: &mut DemoCluster, node: usize) -> Result<String, String> {
    let status = cluster.status(node)?;
    let own = status.members.get(&status.node_id).and_then(|own| own.endpoints.get("ep.clusterfunk.management"));
    Ok(own.ok_or("no management endpoint")?.to_string())
}

#[test]
fn an_observer_is_not_taken_for_the_cluster() -> Tested {
    let mut cluster = DemoCluster::start("ctrlc-observer", 3)?;
    let leader = cluster.leader()?;
    let leader = cluster.nodes[leader].id.clone();
    let join = cluster.nodes[0].serf.to_string();
    let (_observer, serf) = beside(&cluster, "a-observer", &["--non-member", "--join", &join])?;
    wait_for("all to see the observer", GENEROUS, || {
        let seen = cluster.status(0)?.members.contains_key("a-observer");
        if seen { Ok(()) } else { Err("it is not there".into()) }
    })?;
    for at in [join, serf] {
        let asked = |what: &str| ctrlc(&[what, "-n", cluster.name(), "--join", &at, "--output", "json"]);
        let output = asked("status")?;
        let json: Value = serde_json::from_slice(&output.stdout)?;
        assert_eq!((json["leader"].as_str(), json["raft_nodes"].as_u64()), (Some(leader.as_str()), Some(3)), "{json}");
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
        let output = asked("diag")?;
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    }
    Ok(())
}

#[test]
fn a_joiner_that_waits_is_let_in_and_is_not_asked_to_do_it() -> Tested {
    let mut cluster = DemoCluster::start_with("ctrlc-waits", 1, &["--auto-join=false"])?;
    let join = cluster.nodes[0].serf.to_string();
    let (joiner, serf) = beside(&cluster, "a-joiner", &["--join", &join])?;
    wait_for("the cluster to see the joiner", GENEROUS, || {
        let seen = cluster.status(0)?.members.contains_key("a-joiner");
        if seen { Ok(()) } else { Err("it is not there".into()) }
    })?;
    let output = ctrlc(&["node", "add", "a-joiner", "-n", cluster.name(), "--join", &serf])?;
    let (said, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!((said.as_ref(), error.as_ref()), ("a-joiner added\n", ""));
    joiner.line("operational", GENEROUS)?;
    Ok(())
}

#[test]
fn nodes_that_all_wait_are_shown_and_said_to_be_no_cluster() -> Tested {
    let cluster = DemoCluster::empty("ctrlc-nobody", &[])?;
    let (_joiner, serf) = beside(&cluster, "a-joiner", &[])?;
    let at = ["-n", cluster.name(), "--join", &serf];
    let output = ctrlc(&[&["status"], &at[..]].concat())?;
    let (said, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("0 in Raft") && output.status.code() == Some(0), "{said}");
    let note = format!("no node that is in cluster {} was found, only a-joiner", cluster.name());
    assert!(error.contains(&note) && error.trim_end().lines().count() == 1, "{error}");
    let error = refused(&[&["node", "add", "a-joiner"], &at[..]].concat(), 1)?;
    assert!(error.contains(&note), "{error}");
    let output = ctrlc(&[&["endpoints", "management", "--output", "json"], &at[..]].concat())?;
    let json: Value = serde_json::from_slice(&output.stdout)?;
    let endpoint = json["endpoints"][0]["address"].as_str().ok_or("no management endpoint")?;
    let output = ctrlc(&["status", "-e", endpoint])?;
    assert!(String::from_utf8_lossy(&output.stderr).contains("a-joiner is in no cluster"), "{output:?}");
    let output = ctrlc(&[&["doctor"], &at[..]].concat())?;
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

#[test]
fn a_cluster_name_that_was_given_has_to_be_that_of_the_endpoint() -> Tested {
    let mut cluster = DemoCluster::start("ctrlc-name", 1)?;
    let endpoint = managed(&mut cluster, 0)?;
    assert_eq!(ctrlc(&["status", "-e", &endpoint])?.status.code(), Some(0), "a default is no word for a cluster");
    assert_eq!(ctrlc(&["status", "-e", &endpoint, "-n", cluster.name()])?.status.code(), Some(0));
    for command in [&["status"][..], &["shards"], &["node", "drain", "n0"]] {
        let error = refused(&[command, &["-e", &endpoint, "-n", "prod"]].concat(), 1)?;
        assert!(error.contains("--cluster-name prod") && error.contains(cluster.name()), "{error}");
    }
    Ok(())
}

#[test]
fn a_change_whose_answer_did_not_come_is_said_to_be_in_doubt() -> Tested {
    let mut cluster = DemoCluster::start("ctrlc-doubt", 1)?;
    let endpoint = managed(&mut cluster, 0)?;
    cluster.nodes[0].process.signal(Signal::STOP);
    let at = ["-e", &endpoint, "--timeout", "300ms"];
    for (change, look) in [
        (&["node", "add", "n1"][..], "`ctrlc nodes`"),
        (&["node", "rm", "n1"], "`ctrlc nodes`"),
        (&["node", "drain", "n0"], "`ctrlc shards`"),
        (&["step-down"], "`ctrlc status`"),
    ] {
        let error = refused(&[change, &at].concat(), 1)?;
        assert!(error.contains("may have been made") && error.contains(look), "{error}");
    }
    let error = refused(&[&["status"], &at[..]].concat(), 1)?;
    assert!(error.contains("does not answer within 300ms") && !error.contains("may have been"), "{error}");
    Ok(())
}

#[test]
fn help_that_needs_no_cluster_works_without_one() -> Tested {
    let output = ctrlc(&["recover"])?;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("--from"));
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    for shell in ["bash", "zsh", "fish"] {
        let output = ctrlc(&["completions", shell])?;
        assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("step-down"));
    }
    Ok(())
}
