//! The files of `deploy/`: they can be read, and what they name is there.

use std::collections::BTreeSet;
use std::process::Command;

use funk_tests::blackbox::namespaces::skip;
use funk_tests::blackbox::{Tested, scratch, workspace};
use funk_tests::deploy::{pod_container, pod_environment, yaml, yaml_can_be_read};
use funk_tests::pages::{anchors, files, from_root, has_extension, read};
use serde_json::Value;

const COMPOSE: &str = "deploy/docker/compose.yaml";
const DOCKERFILE: &str = "deploy/docker/Dockerfile";
const KUBERNETES: &str = "deploy/kubernetes/base/funk.yaml";
const RULES: &str = "deploy/prometheus/funk.rules.yml";
const RULE_TESTS: &str = "deploy/prometheus/funk.rules.test.yml";

fn with_yaml(name: &str, test: impl FnOnce() -> Tested) -> Tested {
    if yaml_can_be_read() { test() } else { skip(name, "Python's module yaml is missing") }
}

#[test]
fn every_yaml_file_can_be_read() -> Tested {
    with_yaml("every_yaml_file_can_be_read", || {
        let mut found = Vec::new();
        files(&workspace().join("deploy"), &|path| has_extension(path, &["yaml", "yml"]), &mut found);
        assert!(found.len() >= 4, "{found:?}");
        for file in found {
            let documents = yaml(&file)?;
            assert!(documents.iter().all(Value::is_object), "{}", file.display());
        }
        Ok(())
    })
}

/// The values that a command gives to a flag.
fn values<'a>(command: &'a str, flag: &str) -> Vec<&'a str> {
    let words: Vec<_> = command.split_whitespace().collect();
    words.windows(2).filter(|pair| pair[0] == flag).map(|pair| pair[1]).collect()
}

#[test]
fn the_nodes_of_the_compose_file_join_each_other_at_their_own_addresses() -> Tested {
    with_yaml("the_nodes_of_the_compose_file_join_each_other_at_their_own_addresses", || {
        let compose = yaml(COMPOSE)?.remove(0);
        let services = compose["services"].as_object().ok_or("no services")?;
        let (mut doors, mut bootstraps) = (BTreeSet::new(), 0);
        for (name, service) in services {
            let command = service["command"].as_str().ok_or("no command")?;
            let ip = service["networks"]["funk"]["ipv4_address"].as_str().ok_or("no address")?;
            assert_eq!(values(command, "--node-id"), [name], "{command}");
            assert_eq!(values(command, "--interface"), [ip], "{command}");
            assert_eq!(values(command, "--serf-endpoint"), [format!("{ip}:7946")], "{command}");
            assert_eq!(service["environment"]["FUNK_HTTP_ENDPOINT"], format!("{ip}:8080"), "where health is asked");
            assert_eq!(service["image"], "funk");
            let build = &service["build"];
            let place = workspace().join("deploy/docker").join(build["context"].as_str().ok_or("no context")?);
            assert!(
                place.join("Makefile").is_file()
                    && place.join(build["dockerfile"].as_str().ok_or("no file")?).is_file()
            );
            doors.insert(format!("{ip}:7946"));
            bootstraps += usize::from(command.split_whitespace().any(|word| word == "--bootstrap"));
        }
        assert_eq!((services.len(), doors.len(), bootstraps), (3, 3, 1));
        for service in services.values() {
            let command = service["command"].as_str().ok_or("no command")?;
            let own: BTreeSet<_> = values(command, "--serf-endpoint").into_iter().map(str::to_owned).collect();
            let joined: BTreeSet<_> = values(command, "--join").into_iter().map(str::to_owned).collect();
            assert_eq!(joined, &doors - &own, "{command}");
        }
        Ok(())
    })
}

/// The lines of the Dockerfile that begin with this word.
fn instructions<'a>(dockerfile: &'a str, word: &str) -> Vec<&'a str> {
    dockerfile.lines().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' ')).collect()
}

#[test]
fn the_image_copies_what_is_there_and_runs_what_make_builds() {
    let root = workspace();
    let dockerfile = read(&root.join(DOCKERFILE));
    let ignored = read(&root.join(".dockerignore"));
    assert!(!ignored.lines().any(|line| line == "deploy"), "the script that the image is made by is ignored");
    assert_eq!(instructions(&dockerfile, "RUN"), ["make", "deploy/docker/root bin /image"]);
    let script = read(&root.join("deploy/docker/root"));
    let expected =
        [". .", "--from=build --chown=10001:10001 /image/data /var/lib/funk", "--from=build /image/files/ /"];
    assert_eq!(instructions(&dockerfile, "COPY"), expected);
    assert!(script.contains("$2/files") && script.contains("$2/data"));
    // What the image runs, it holds.
    let makefile = read(&root.join("Makefile"));
    let programs = makefile.lines().find_map(|line| line.strip_prefix("PROGRAMS := ")).expect("make has programs");
    for program in ["demo", "ctrlc"] {
        assert!(programs.split(' ').any(|made| made == program), "make builds no {program}: {programs}");
    }
    assert!(script.contains("for program in demo ctrlc; do"));
    assert_eq!(instructions(&dockerfile, "ENTRYPOINT"), [r#"["demo"]"#]);
    assert!(dockerfile.contains(r#"CMD ["ctrlc", "health"]"#));
    assert_eq!(instructions(&dockerfile, "STOPSIGNAL"), ["SIGTERM"]);
    // The image is made in two ways, from the same last stage.
    assert!(read(&root.join("deploy/docker/build")).contains("/^FROM scratch/,$p"));
    assert!(dockerfile.contains("\nFROM scratch\n"));
}

#[test]
fn the_pods_are_found_before_they_are_ready_and_own_their_volumes() -> Tested {
    with_yaml("the_pods_are_found_before_they_are_ready_and_own_their_volumes", || {
        let documents = yaml(KUBERNETES)?;
        let set = documents.iter().find(|document| document["kind"] == "StatefulSet").ok_or("no set")?;
        let (spec, pod) = (&set["spec"], &set["spec"]["template"]);
        let name = spec["serviceName"].as_str().ok_or("no name")?;
        let service = documents.iter().find(|document| document["metadata"]["name"] == name).ok_or("no service")?;
        assert_eq!(service["spec"]["clusterIP"], "None", "headless");
        assert_eq!(service["spec"]["publishNotReadyAddresses"], true);
        assert_eq!(spec["selector"]["matchLabels"], pod["metadata"]["labels"]);
        assert_eq!(service["spec"]["selector"], pod["metadata"]["labels"]);
        let container = pod_container(&documents)?;
        let environment = pod_environment(container, "funk-1", "10.0.0.9")?;
        let value = |name: &str| environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!(value("FUNK_JOIN"), Some(format!("{name}:7946").as_str()));
        let first = format!("{}-0", set["metadata"]["name"].as_str().ok_or("no name")?);
        assert_eq!(value("FUNK_BOOTSTRAP_NODE"), Some(first.as_str()));
        assert_eq!(container["image"], "funk");
        let ports = container["ports"].as_array().ok_or("no ports")?;
        for (variable, value) in environment.iter().filter(|(name, _)| name.ends_with("_ENDPOINT")) {
            let port = variable.trim_start_matches("FUNK_").trim_end_matches("_ENDPOINT").to_lowercase();
            // Where ctrlc asks, which is the pod's own management.
            let port = if port == "endpoint" || variable == "FUNK_ENDPOINT" { "management" } else { &port };
            let number: u64 = value.strip_prefix("10.0.0.9:").ok_or("another address")?.parse()?;
            let there = ports.iter().any(|one| one["name"] == port && one["containerPort"] == number);
            assert!(there, "{variable} is not the port {port}");
        }
        // A service makes variables of its name, and funk's flags begin alike.
        assert_eq!(pod["spec"]["enableServiceLinks"], false);
        let grace = pod["spec"]["terminationGracePeriodSeconds"].as_u64().ok_or("no grace period")?;
        let hook = &container["lifecycle"]["preStop"]["exec"]["command"];
        assert_eq!(hook, &serde_json::json!(["ctrlc", "node", "drain", "--timeout", "5s", "--linger", "3s"]));
        assert!(grace > 5 + 3 + (funk_proto::limits::DRAIN_TIMEOUT + funk_io::limits::LEAVE_MARGIN).as_secs());
        let dockerfile = read(&workspace().join(DOCKERFILE));
        let user = instructions(&dockerfile, "USER")[0].split(':').next().unwrap_or_default().to_owned();
        let rights = &pod["spec"]["securityContext"];
        for of in ["runAsUser", "runAsGroup", "fsGroup"] {
            assert_eq!(rights[of].to_string(), user, "{of}");
        }
        let claims = spec["volumeClaimTemplates"][0]["metadata"]["name"].as_str();
        assert_eq!(container["volumeMounts"][0]["name"].as_str(), claims);
        Ok(())
    })
}

#[test]
fn the_unit_starts_a_program_of_ours_with_variables_that_it_reads() {
    let root = workspace();
    let unit = read(&root.join("deploy/systemd/funk@.service"));
    let command =
        unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/")).expect("it starts something");
    let mut words = command.split_whitespace();
    assert_eq!(words.next(), Some("demo"));
    let flags = read(&root.join("docs/interfaces.md"));
    for flag in words.filter(|word| word.starts_with("--")) {
        assert!(flags.contains(&format!("| `{flag} ")), "bin/demo has no {flag}");
    }
    let environment = read(&root.join("deploy/systemd/funk.env"));
    let variables = environment.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('=').next());
    for name in variables.flatten().chain(["FUNK_INTERFACE", "FUNK_BOOTSTRAP"]) {
        let flag = name.trim_start_matches("FUNK_").to_lowercase().replace('_', "-");
        let there = [' ', '`'].iter().any(|end| flags.contains(&format!("| `--{flag}{end}")));
        assert!(there && environment.contains(name), "bin/demo does not read {name}");
    }
    // It has the time that a node takes to leave.
    let stop = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).expect("a time to stop");
    assert!(
        stop.parse::<u64>().expect("seconds")
            > (funk_proto::limits::DRAIN_TIMEOUT + funk_io::limits::LEAVE_MARGIN).as_secs()
    );
}

/// It says nothing of a unit that it can run, and names whatever it does not know.
#[test]
fn systemd_finds_nothing_wrong_with_the_unit() -> Tested {
    const NAME: &str = "systemd_finds_nothing_wrong_with_the_unit";
    let unit = read(&workspace().join("deploy/systemd/funk@.service"));
    // The program must be there; on this machine it is not installed.
    let unit = unit.replace("/usr/local/bin/demo", "/bin/true");
    let path = scratch("unit")?.join("funk@node-1.service");
    for (text, is_right) in [(unit.clone(), true), (unit.replace("Restart=on-failure", "Restart=sometimes"), false)] {
        std::fs::write(&path, text)?;
        let Ok(output) = Command::new("systemd-analyze").arg("verify").arg(&path).output() else {
            return skip(NAME, "the program systemd-analyze is missing");
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success() && said.is_empty(), is_right, "{said}");
    }
    Ok(())
}

/// What a unit may do that it need not, by systemd's count: 0 is nothing, 100 everything.
#[test]
fn the_unit_may_do_little_more_than_it_must() -> Tested {
    const NAME: &str = "the_unit_may_do_little_more_than_it_must";
    const EXPOSURE_MAX: &str = "--threshold=20";
    let unit = read(&workspace().join("deploy/systemd/funk@.service")).replace("/usr/local/bin/demo", "/bin/true");
    let path = scratch("exposure")?.join("funk@node-1.service");
    let bare = unit.lines().filter(|line| !line.starts_with("Protect")).collect::<Vec<_>>().join("\n");
    for (text, is_right) in [(unit, true), (bare, false)] {
        std::fs::write(&path, text)?;
        let arguments = ["security", "--offline=true", "--no-pager", EXPOSURE_MAX];
        let Ok(output) = Command::new("systemd-analyze").args(arguments).arg(&path).output() else {
            return skip(NAME, "the program systemd-analyze is missing");
        };
        let said = String::from_utf8_lossy(&output.stdout);
        if said.is_empty() {
            return skip(NAME, "this systemd-analyze cannot look at a unit that is not installed");
        }
        assert_eq!(output.status.success(), is_right, "{said}");
    }
    Ok(())
}

/// The values of a setting in a unit of systemd.
fn settings<'a>(unit: &'a str, name: &str) -> Vec<&'a str> {
    let values = unit.lines().filter_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='));
    values.map(str::trim).collect()
}

/// A removed node exits with 0, and one that failed with something else: whoever starts nodes has to tell them apart.
#[test]
fn nodes_that_were_removed_stay_away_and_those_that_failed_are_started_again() -> Tested {
    let root = workspace();
    let unit = read(&root.join("deploy/systemd/funk@.service"));
    assert_eq!(settings(&unit, "Restart"), ["on-failure"]);
    for name in ["RestartForceExitStatus", "RestartPreventExitStatus", "SuccessExitStatus"] {
        assert!(settings(&unit, name).is_empty(), "{name} changes which ends are failures");
    }
    assert_eq!(settings(&unit, "StartLimitIntervalSec"), ["0"], "a node that fails often is started all the same");
    // The exit code is the node's: nothing stands between it and who waits for it.
    assert!(settings(&unit, "ExecStart").iter().all(|command| command.starts_with("/usr/local/bin/demo ")));
    assert!(read(&root.join(DOCKERFILE)).contains("\nENTRYPOINT [\"demo\"]\n"));
    with_yaml("nodes_that_were_removed_stay_away_and_those_that_failed_are_started_again", || {
        let compose = yaml(COMPOSE)?.remove(0);
        for (name, service) in compose["services"].as_object().ok_or("no services")? {
            assert_eq!(service["restart"], "on-failure", "{name}");
            assert!(service["deploy"].is_null() && service["entrypoint"].is_null(), "{name}");
        }
        let documents = yaml(KUBERNETES)?;
        let container = pod_container(&documents)?;
        assert!(container["command"].is_null() && container["args"].is_null(), "the image's own entry point");
        // The pods of a set are always started again: the page says what to do instead.
        let set = documents.iter().find(|document| document["kind"] == "StatefulSet").ok_or("no set")?;
        assert!(set["spec"]["template"]["spec"]["restartPolicy"].is_null());
        let page = read(&root.join("docs/operations.md"));
        assert!(page.contains("exits 0 too") && page.contains("Kubernetes restarts it whatever its exit code"));
        Ok(())
    })
}

/// The alerts that a question to the rules' tests expects to fire.
fn firing(question: &Value) -> Vec<&str> {
    let labels =
        question["exp_samples"].as_array().into_iter().flatten().filter_map(|sample| sample["labels"].as_str());
    labels.filter_map(|labels| labels.split_once("alertname=\"")?.1.split('"').next()).collect()
}

#[test]
fn every_alert_is_tested_and_says_what_to_do_and_where_to_read_on() -> Tested {
    with_yaml("every_alert_is_tested_and_says_what_to_do_and_where_to_read_on", || {
        let (rules, tests) = (yaml(RULES)?.remove(0), yaml(RULE_TESTS)?.remove(0));
        let tests = tests["tests"].as_array().ok_or("no tests")?;
        let runbook = anchors(&read(&workspace().join("docs/troubleshooting.md")));
        let groups = rules["groups"].as_array().ok_or("no groups")?;
        let rules: Vec<_> = groups.iter().filter_map(|group| group["rules"].as_array()).flatten().collect();
        assert!(rules.len() >= 17, "{rules:?}");
        for rule in rules {
            let alert = rule["alert"].as_str().ok_or("a rule without a name")?;
            for annotation in ["summary", "description", "action", "runbook_url"] {
                assert!(rule["annotations"][annotation].is_string(), "{alert} has no {annotation}");
            }
            let url = rule["annotations"]["runbook_url"].as_str().unwrap_or_default();
            let (page, anchor) = url.rsplit_once('#').ok_or_else(|| format!("{alert} leads to {url}"))?;
            assert!(page.ends_with("/docs/troubleshooting.md") && runbook.contains(anchor), "{alert} leads to {url}");
            // Silent first, then firing.
            let covered = tests.iter().any(|test| {
                let questions = test["promql_expr_test"].as_array().into_iter().flatten();
                let fires: Vec<_> = questions.map(|question| firing(question).contains(&alert)).collect();
                fires.windows(2).any(|pair| pair == [false, true])
            });
            assert!(covered, "{RULE_TESTS} does not ask when {alert} fires");
        }
        Ok(())
    })
}

#[test]
fn the_pages_point_to_every_file_of_the_deployments() {
    let mut found = Vec::new();
    files(&workspace().join("deploy"), &|_| true, &mut found);
    let pages: String = [
        "docs/deployment.md",
        "docs/without-zeroconf.md",
        "docs/operations.md",
        "docs/metrics.md",
        "docs/production.md",
    ]
    .map(|page| read(&workspace().join(page)))
    .concat();
    for file in found {
        let (path, name) = (from_root(&file), file.file_name().unwrap_or_default().to_string_lossy().into_owned());
        assert!(pages.contains(&path) || pages.contains(&format!("`{name}`")), "no page names {path}");
    }
}
