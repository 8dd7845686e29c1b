//! `make demo`: the launcher shows a cluster and takes it away again.

use std::process::Command;
use std::time::Duration;

use funk_tests::blackbox::Tested;
use funk_tests::blackbox::cluster::GENEROUS;
use funk_tests::blackbox::process::Process;
use funk_tests::blackbox::status::Status;
use funk_tests::blackbox::{http, program, scratch, wait_for};
use rustix::process::Signal;

#[test]
fn the_launcher_prints_a_url_that_answers_and_ctrl_c_ends_everything() -> Tested {
    let dir = scratch("launcher")?;
    let mut command = Command::new(program("demo-cluster")?);
    // Others on this machine may have a cluster of the usual name.
    command.env("FUNK_CLUSTER_NAME", format!("launcher-{}", std::process::id()));
    let mut launcher = Process::start("demo-cluster", command, &dir)?;
    let page = wait_for("a URL", GENEROUS, || {
        let lines = launcher.lines();
        let urls =
            lines.iter().flat_map(|line| line.text.split_whitespace()).filter_map(|word| word.strip_prefix("http://"));
        let mut pages = urls.filter_map(|rest| rest.split('/').next()?.parse().ok());
        pages.next().ok_or_else(|| format!("only {lines:?}\n{}", launcher.tail()))
    })?;
    let said: Vec<_> = launcher.lines().into_iter().map(|line| line.text).collect();
    assert!(said[0].contains("by mDNS") || said[0].contains("by its address"), "it says how they find it: {said:?}");
    let answer = http::get(page, "/api/v1/status", Duration::from_secs(5))?;
    let status = Status::parse(&answer.body)?;
    assert_eq!(status.members.len(), 3, "{}", status.brief());
    assert!(status.serves(), "{}", status.brief());
    assert!(status.members.values().all(|member| member.shards > 0), "all own shards: {}", status.brief());

    let children = children_of(launcher.pid());
    assert!(children.len() >= 3, "three nodes run: {children:?}");
    launcher.signal(Signal::INT);
    let ended = launcher.wait(GENEROUS)?;
    assert_eq!(ended.code(), Some(0), "{}", launcher.tail());
    for child in children {
        let left = std::path::Path::new("/proc").join(child.to_string());
        wait_for("the nodes to be gone", Duration::from_secs(1), || {
            if left.exists() { Err(format!("process {child} is left")) } else { Ok(()) }
        })?;
    }
    Ok(())
}

#[test]
fn the_launcher_starts_nothing_when_it_is_asked_for_help_or_given_arguments() -> Tested {
    let help = Command::new(program("demo-cluster")?).arg("--help").output()?;
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("Usage"), "{help:?}");
    let wrong = Command::new(program("demo-cluster")?).arg("--nodes").output()?;
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("`--nodes`"), "{wrong:?}");
    Ok(())
}

/// The processes whose parent is this one.
fn children_of(parent: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("there is a process list");
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in the second field may hold spaces and brackets; the fields after its last bracket do not.
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(1)?.parse().ok()
}
