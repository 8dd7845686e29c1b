//! Gossip that is encrypted with Serf's keys, among nodes, agents and callers.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS, demo_command, wait_for_log};
use funk_tests::blackbox::namespaces::with_tools;
use funk_tests::blackbox::process::Process;
use funk_tests::blackbox::serf::{Agent, SERF};
use funk_tests::blackbox::{Tested, program, wait_for};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER: &str = "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";

/// What a node logs of those whom it refuses.
const REFUSED: &str = "a peer's gossip is refused";

fn client(cluster: &DemoCluster, key: &[&str]) -> Result<(Option<i32>, String), String> {
    let mut command = Command::new(program("client")?);
    let join = cluster.nodes[0].serf.to_string();
    command.env_clear().args(["--cluster-name", cluster.name(), "--zeroconf=false", "--join", &join]).args(key);
    command.args(["--repeats", "50"]);
    let output = command.output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    Ok((output.status.code(), said))
}

#[test]
fn nodes_and_agents_with_one_key_are_one_pool() -> Tested {
    with_tools("agents with a key", &[SERF], || {
        let mut cluster = DemoCluster::start_with("keys", 3, &["--encrypt", KEY])?;
        let first = Agent::start_with_key(cluster.dir(), "first", cluster.nodes[0].serf, KEY)?;
        let second = Agent::start_with_key(cluster.dir(), "second", cluster.nodes[1].serf, KEY)?;
        for agent in [&first, &second] {
            for name in ["n0", "n1", "n2", "first", "second"] {
                agent.sees(name, "alive", |seen| seen.status == "alive")?;
            }
        }
        sees_agents(&mut cluster, &["first", "second"])?;
        let (code, said) = client(&cluster, &["--encrypt", KEY])?;
        assert_eq!(code, Some(0), "{said}");
        Ok(())
    })
}

/// The keys in a node's keyring file, that which encrypts first.
fn kept(path: &Path) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let mode = std::fs::metadata(path).map_err(|error| error.to_string())?.permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

/// A cluster of three nodes with a data directory and a keyring file each, and with certificates if it has TLS.
fn with_files(label: &str, has_tls: bool) -> Result<(DemoCluster, Vec<PathBuf>), String> {
    let mut cluster = DemoCluster::empty(label, &[])?;
    cluster.set_durable();
    if has_tls {
        cluster.certify()?;
    }
    let files: Vec<_> = (0..3).map(|node| cluster.dir().join(format!("keyring-n{node}.json"))).collect();
    for (node, file) in files.iter().enumerate() {
        std::fs::write(file, format!("[\"{KEY}\"]")).map_err(|error| error.to_string())?;
        std::fs::set_permissions(file, PermissionsExt::from_mode(0o600)).map_err(|error| error.to_string())?;
        keep_in(&mut cluster, file);
        if node == 0 {
            cluster.bootstrap()?
        } else {
            cluster.join()?
        };
    }
    cluster.converged(GENEROUS)?;
    cluster.all_voters(GENEROUS)?;
    Ok((cluster, files))
}

/// Nodes that start from now on keep their keys in this file.
fn keep_in(cluster: &mut DemoCluster, file: &Path) {
    let plain_page = cluster.pki.iter().map(|_| "--http-tls=false");
    let file = file.to_string_lossy();
    let extra: Vec<_> = plain_page.chain(["--keyring-file", &file]).collect();
    cluster.set_extra(&extra);
}

#[test]
fn an_agent_rotates_the_key_of_nodes_which_keep_it() -> Tested {
    with_tools("agents with a key", &[SERF], || {
        let (mut cluster, files) = with_files("keys-rotated", false)?;
        let first = Agent::start_with_key(cluster.dir(), "first", cluster.nodes[0].serf, KEY)?;
        let second = Agent::start_with_key(cluster.dir(), "second", cluster.nodes[1].serf, KEY)?;
        for agent in [&first, &second] {
            for name in ["n0", "n1", "n2", "first", "second"] {
                agent.sees(name, "alive", |seen| seen.status == "alive")?;
            }
        }
        // An agent fails if one of the five does not say that it is done.
        for (change, key, after) in
            [("-install", OTHER, &[KEY, OTHER][..]), ("-use", OTHER, &[OTHER, KEY]), ("-remove", KEY, &[OTHER])]
        {
            agent_keys(&first, &[change, key])?;
            for file in &files {
                assert_eq!(kept(file)?, after, "after {change}");
            }
        }
        let listed = agent_keys(&second, &["-list"])?;
        assert!(listed.contains(OTHER) && listed.contains("[5/5]") && !listed.contains(KEY), "{listed}");
        assert!(first.ask(&["keys", "-use", KEY]).is_err(), "nobody has it any more");
        assert!(!first.said().contains("EventMemberFailed"), "{}", first.said());
        // A restart finds the new key.
        cluster.nodes[2].process.signal(rustix::process::Signal::TERM);
        cluster.nodes[2].process.wait(GENEROUS)?;
        keep_in(&mut cluster, &files[2]);
        cluster.start_again(2)?;
        cluster.converged(GENEROUS)?;
        first.sees("n2", "alive", |seen| seen.status == "alive")?;
        for node in 0..3 {
            let log = std::fs::read_to_string(cluster.nodes[node].process.log()).map_err(|error| error.to_string())?;
            assert!(!log.contains(REFUSED) && !log.contains(KEY) && !log.contains(OTHER), "{log}");
        }
        Ok(())
    })
}

/// `serf keys` of an agent, until all members have answered it: it asks by gossip, and once.
fn agent_keys(agent: &Agent<'_>, words: &[&str]) -> Result<String, String> {
    let mut said = Vec::new();
    wait_for("all to answer the agent", GENEROUS, || {
        said = agent.ask(&[&["keys"], words].concat())?;
        Ok::<_, String>(())
    })?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// Waits until every node sees these agents.
fn sees_agents(cluster: &mut DemoCluster, agents: &[&str]) -> Tested {
    for node in cluster.live() {
        wait_for("the agents to be seen", GENEROUS, || {
            let members = cluster.status(node)?.members;
            let alive = |name: &&str| members.get(*name).is_some_and(|seen| seen.serf == "alive");
            if agents.iter().all(alive) { Ok(()) } else { Err(format!("{members:?}")) }
        })?;
    }
    Ok(())
}

/// `ctrlc keys` through a node: its exit code, and what it said.
fn keys(cluster: &mut DemoCluster, node: usize, words: &[&str]) -> Result<(Option<i32>, String), String> {
    let status = cluster.status(node)?;
    let own = status.members.get(&status.node_id).and_then(|own| own.endpoints.get("ep.clusterfunk.management"));
    let mut command = Command::new(program("ctrlc")?);
    command
        .env_clear()
        .args(cluster.caller("operator")?)
        .arg("--endpoint")
        .arg(own.ok_or("it is not served")?.to_string());
    command.args(["--timeout", "4s", "keys"]).args(words);
    let output = command.output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    Ok((output.status.code(), said))
}

fn follower(cluster: &mut DemoCluster) -> Result<usize, String> {
    let leader = cluster.leader()?;
    Ok((0..3).find(|node| *node != leader).unwrap_or_default())
}

#[test]
fn an_operator_rotates_the_key_of_nodes_and_agents() -> Tested {
    with_tools("agents with a key", &[SERF], || {
        let (mut cluster, files) = with_files("keys-operator", false)?;
        let first = Agent::start_with_key(cluster.dir(), "first", cluster.nodes[0].serf, KEY)?;
        let second = Agent::start_with_key(cluster.dir(), "second", cluster.nodes[1].serf, KEY)?;
        for agent in [&first, &second] {
            for name in ["n0", "n1", "n2", "first", "second"] {
                agent.sees(name, "alive", |seen| seen.status == "alive")?;
            }
        }
        let node = follower(&mut cluster)?;
        sees_agents(&mut cluster, &["first", "second"])?;
        let (code, said) = keys(&mut cluster, node, &["rotate", OTHER])?;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("used by all 5 members"), "{said}");
        for file in &files {
            assert_eq!(kept(file)?, [OTHER]);
        }
        let listed = agent_keys(&second, &["-list"])?;
        assert!(listed.contains(OTHER) && listed.contains("[5/5]"), "{listed}");
        // One that the leader draws, so that no caller knows it.
        let (code, said) = keys(&mut cluster, node, &["rotate", "--output", "json"])?;
        assert_eq!(code, Some(0), "{said}");
        let drawn = kept(&files[0])?;
        assert!(drawn.len() == 1 && drawn[0] != OTHER && files.iter().all(|file| kept(file).as_ref() == Ok(&drawn)));
        let (code, said) = keys(&mut cluster, node, &["list", "--output", "json"])?;
        let listed: serde_json::Value = serde_json::from_str(&said).map_err(|error| format!("{error}: {said}"))?;
        let rings: Vec<_> = listed["nodes"].as_array().into_iter().flatten().map(|node| &node["keys"]).collect();
        assert!(code == Some(0) && rings.len() == 5 && rings.iter().all(|ring| *ring == rings[0]), "{said}");
        let mut audited = false;
        for node in 0..3 {
            let log = std::fs::read_to_string(cluster.nodes[node].process.log()).map_err(|error| error.to_string())?;
            assert!(![KEY, OTHER, &drawn[0]].iter().any(|key| log.contains(*key)), "{log}");
            audited |= log.contains("funk::audit") && log.contains("install gossip key");
        }
        assert!(audited && !said.contains(&drawn[0]));
        Ok(())
    })
}

#[test]
fn a_rotation_names_who_does_not_answer_and_changes_nothing() -> Tested {
    with_tools("agents with a key", &[SERF], || {
        let (mut cluster, files) = with_files("keys-missing", false)?;
        let agent = Agent::start_with_key(cluster.dir(), "agent", cluster.nodes[0].serf, KEY)?;
        sees_agents(&mut cluster, &["agent"])?;
        agent.process.signal(rustix::process::Signal::STOP);
        let (code, said) = keys(&mut cluster, 0, &["rotate", OTHER])?;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("no answer from agent") && !said.contains(OTHER), "{said}");
        for file in &files {
            assert_eq!(std::fs::read_to_string(file).map_err(|error| error.to_string())?, format!("[\"{KEY}\"]"));
        }
        agent.process.signal(rustix::process::Signal::CONT);
        wait_for("the rotation", GENEROUS, || {
            let (code, said) = keys(&mut cluster, 1, &["rotate", OTHER])?;
            if code == Some(0) { Ok(()) } else { Err(said) }
        })?;
        for (words, exit) in [(&["use", "zz"][..], 1), (&["install", "secret!"], 2), (&["remove", ""], 1)] {
            let (code, said) = keys(&mut cluster, 2, words)?;
            assert_eq!(code, Some(exit), "{said}");
            assert!(!said.contains("secret!"), "{said}");
        }
        Ok(())
    })
}

/// A tenth of all datagrams to a node is lost.
fn lose(cluster: &DemoCluster, node: usize) -> Tested {
    let chain = "add chain inet t c { type filter hook input priority 0; }";
    for words in ["add table inet t", chain, "add rule inet t c meta l4proto udp numgen random mod 100 lt 10 drop"] {
        cluster.run_on(node, &["nft", words])?;
    }
    Ok(())
}

#[test]
fn rotations_under_loss_are_whole_and_nobody_fails() -> Tested {
    with_tools("agents with a key and loss", &["ip", "unshare", "nsenter", "nft", SERF], || {
        let mut cluster = DemoCluster::start_on_hosts("keys-loss", 3, &["--encrypt", KEY])?;
        // The agent is where this test is.
        let addresses = (SocketAddr::from(([10, 77, 0, 254], 7946)), SocketAddr::from(([127, 0, 0, 1], 7373)));
        let agent = Agent::start_with_key_at(addresses, cluster.dir(), "agent", cluster.nodes[0].serf, KEY)?;
        for name in ["n0", "n1", "n2"] {
            agent.sees(name, "alive", |seen| seen.status == "alive")?;
        }
        sees_agents(&mut cluster, &["agent"])?;
        (0..3).try_for_each(|node| lose(&cluster, node))?;
        for round in 0..5 {
            let (code, said) = keys(&mut cluster, round % 3, &["rotate"])?;
            assert_eq!(code, Some(0), "round {round}: {said}");
            assert!(said.contains("used by all 4 members"), "{said}");
        }
        for node in 0..3 {
            let log = std::fs::read_to_string(cluster.nodes[node].process.log()).map_err(|error| error.to_string())?;
            assert!(!log.contains("was declared dead"), "{log}");
        }
        assert!(!agent.said().contains("EventMemberFailed"), "{}", agent.said());
        Ok(())
    })
}

/// The last node is down while the key is rotated twice, then starts with what it had.
fn miss_two_rotations(cluster: &mut DemoCluster, files: &[PathBuf]) -> Result<(), String> {
    cluster.nodes[2].process.signal(rustix::process::Signal::KILL);
    cluster.nodes[2].process.wait(GENEROUS)?;
    for _ in 0..2 {
        wait_for("the rotation", GENEROUS, || {
            let (code, said) = keys(cluster, 0, &["rotate"])?;
            if code == Some(0) { Ok(()) } else { Err(said) }
        })?;
    }
    assert_eq!(kept(&files[2])?, [KEY]);
    assert_ne!(kept(&files[0])?, [KEY]);
    keep_in(cluster, &files[2]);
    cluster.start_again(2)
}

#[test]
fn a_node_that_was_down_through_two_rotations_gets_the_key_over_tls() -> Tested {
    let (mut cluster, files) = with_files("keys-away", true)?;
    miss_two_rotations(&mut cluster, &files)?;
    wait_for_log(cluster.nodes[2].process.log(), "the gossip keyring comes from a member")?;
    wait_for("the keys to be kept", GENEROUS, || {
        let (own, others) = (kept(&files[2])?, kept(&files[0])?);
        if own == others { Ok(()) } else { Err("they are others".into()) }
    })?;
    cluster.converged(GENEROUS)?;
    let (code, said) = keys(&mut cluster, 2, &["list", "--output", "json"])?;
    let listed: serde_json::Value = serde_json::from_str(&said).map_err(|error| format!("{error}: {said}"))?;
    assert!(code == Some(0) && listed["nodes"].as_array().is_some_and(|nodes| nodes.len() == 3), "{said}");
    let key = &kept(&files[2])?[0];
    for node in 0..3 {
        let log = std::fs::read_to_string(cluster.nodes[node].process.log()).map_err(|error| error.to_string())?;
        assert!(!log.contains(key.as_str()) && !log.contains(KEY), "{log}");
    }
    Ok(())
}

#[test]
fn without_tls_no_node_sends_keys_and_one_that_lacks_them_says_so() -> Tested {
    let (mut cluster, files) = with_files("keys-lacking", false)?;
    if cluster.pki.is_some() {
        // The whole run is with TLS.
        return Ok(());
    }
    miss_two_rotations(&mut cluster, &files)?;
    wait_for_log(cluster.nodes[2].process.log(), "lacks the gossip key that the cluster uses")?;
    // It serves all the same.
    wait_for("it to serve", GENEROUS, || {
        let status = cluster.status(2)?;
        if status.state == "Operational" { Ok(()) } else { Err(status.state) }
    })?;
    assert_eq!(kept(&files[2])?, [KEY]);
    Ok(())
}

#[test]
fn whoever_has_no_key_or_another_one_stays_outside_and_learns_why() -> Tested {
    let mut cluster = DemoCluster::start_with("keys-none", 1, &["--encrypt", KEY])?;
    let join = cluster.nodes[0].serf.to_string();
    for (name, key) in [("plain", &[][..]), ("other", &["--encrypt", OTHER])] {
        let mut command = demo_command(cluster.name())?;
        command.args(["--node-id", name, "--join", &join]).args(key);
        let stranger = Process::start(name, command, cluster.dir())?;
        wait_for_log(stranger.log(), "gossip is encrypted")?;
        let members = cluster.status(0)?.members;
        assert!(!members.contains_key(name), "{members:?}");
    }
    wait_for_log(cluster.nodes[0].process.log(), REFUSED)?;
    Ok(())
}

#[test]
fn a_running_cluster_goes_over_to_a_key_node_by_node() -> Tested {
    let mut cluster = DemoCluster::empty("keys-later", &[])?;
    cluster.set_durable();
    cluster.fill(3)?;
    cluster.all_voters(GENEROUS)?;
    let steps: [&[&str]; 3] = [
        &["--encrypt", KEY, "--gossip-verify-incoming=false", "--gossip-verify-outgoing=false"],
        &["--encrypt", KEY, "--gossip-verify-incoming=false"],
        &["--encrypt", KEY],
    ];
    for step in steps {
        cluster.set_extra(step);
        for node in 0..3 {
            cluster.nodes[node].process.signal(rustix::process::Signal::TERM);
            cluster.nodes[node].process.wait(GENEROUS)?;
            cluster.start_again(node)?;
            cluster.converged(GENEROUS)?;
        }
    }
    for node in 0..3 {
        let log = std::fs::read_to_string(cluster.nodes[node].process.log())?;
        assert!(!log.contains(REFUSED), "{log}");
    }
    Ok(())
}
