//! Prometheus and its checking tool, as Debian packages them.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::cluster::GENEROUS;
use super::namespaces::skip;
use super::process::Process;
use super::{Tested, http, ports, wait_for};

/// Programs of the package.
const TOOLS: [&str; 2] = ["prometheus", "promtool"];

/// Runs `test` if Prometheus is installed; else says that it is left out.
///
/// # Errors
/// The test's; in continuous integration also when Prometheus is missing.
pub fn with_prometheus(name: &str, test: impl FnOnce() -> Tested) -> Tested {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let missing = TOOLS.iter().find(|tool| !std::env::split_paths(&path).any(|dir| dir.join(tool).is_file()));
    match missing {
        None => test(),
        Some(tool) => skip(name, &format!("the program {tool} is missing (Debian: prometheus)")),
    }
}

/// Runs `promtool check` with these arguments and this input.
///
/// # Errors
/// What it found, when it found something, one complaint a line.
pub fn check(arguments: &[&str], input: &str) -> Result<(), String> {
    promtool(&[&["check"], arguments].concat(), input)
}

/// Runs `promtool test rules` on a file of series and of what the rules make of them.
///
/// # Errors
/// What is not as the file says.
pub fn test_rules(file: &Path) -> Result<(), String> {
    promtool(&["test", "rules", &file.display().to_string()], "")
}

fn promtool(arguments: &[&str], input: &str) -> Result<(), String> {
    let told = |error: std::io::Error| format!("promtool: {error}");
    let mut command = Command::new("promtool");
    command.args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(told)?;
    // Dropped at once: promtool reads until the end.
    child.stdin.take().ok_or("promtool has no standard input")?.write_all(input.as_bytes()).map_err(told)?;
    let output = child.wait_with_output().map_err(told)?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

/// A running Prometheus that scrapes every second.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    address: SocketAddr,
    dir: PathBuf,
}

impl Prometheus {
    /// Starts one that scrapes `targets` as the job `funk` and evaluates `rules`; its files go to `dir`.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(dir: &Path, targets: &[SocketAddr], rules: &Path) -> Result<Self, String> {
        let targets: Vec<_> = targets.iter().map(|target| format!("'{target}'")).collect();
        let found = format!("static_configs: [{{targets: [{}]}}]", targets.join(", "));
        Self::run(dir, &found, &format!("rule_files: ['{}']", rules.display()))
    }

    /// Starts one that asks the node whose page is at `page` what to scrape as the job `funk`.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn asking(dir: &Path, page: SocketAddr) -> Result<Self, String> {
        Self::run(dir, &format!("http_sd_configs: [{{url: 'http://{page}/sd', refresh_interval: 1s}}]"), "")
    }

    fn run(dir: &Path, found: &str, rules: &str) -> Result<Self, String> {
        let dir = dir.join("prometheus");
        std::fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let times = "global: {scrape_interval: 1s, evaluation_interval: 1s}";
        let text = format!("{times}\n{rules}\nscrape_configs:\n- job_name: funk\n  {found}\n");
        let file = dir.join("prometheus.yml");
        std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        let address = ports::free()?;
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", dir.join("data").display()));
        command.arg(format!("--web.listen-address={address}")).arg("--log.level=warn");
        let process = Process::start("prometheus", command, &dir)?;
        let prometheus = Self { process, address, dir };
        wait_for("Prometheus", GENEROUS, || {
            let answer = http::get(address, "/-/ready", Duration::from_secs(2)).map_err(|error| error.to_string())?;
            if answer.code == 200 { Ok(()) } else { Err(format!("it answers {}", answer.code)) }
        })
        .map_err(|error| format!("{error}\n{}", prometheus.process.tail()))?;
        Ok(prometheus)
    }

    /// The result of a query at this moment.
    ///
    /// # Errors
    /// When Prometheus refuses it or does not answer.
    pub fn query(&self, query: &str) -> Result<Vec<Value>, String> {
        let path = format!("/api/v1/query?query={}", encode(query));
        let answer = http::get(self.address, &path, Duration::from_secs(5)).map_err(|error| error.to_string())?;
        let answer: Value = serde_json::from_str(&answer.text()).map_err(|error| error.to_string())?;
        let result = answer["data"]["result"].as_array();
        result.cloned().ok_or_else(|| format!("{query}: {answer}"))
    }

    /// The rules as Prometheus loaded them: names and expressions.
    ///
    /// # Errors
    /// When it does not tell.
    pub fn alerts(&self) -> Result<Vec<(String, String)>, String> {
        let answer = http::get(self.address, "/api/v1/rules", Duration::from_secs(5));
        let text = answer.map_err(|error| error.to_string())?.text();
        let answer: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let groups = answer["data"]["groups"].as_array().ok_or("no rules are loaded")?;
        let rules = groups.iter().filter_map(|group| group["rules"].as_array()).flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(rules.map(|rule| (text(&rule["name"]), text(&rule["query"]))).collect())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // The blocks of a test are of no use to anybody; the log stays for as long as it runs.
        self.process.signal(rustix::process::Signal::KILL);
        let _ = self.process.wait(GENEROUS);
        let _ = std::fs::remove_dir_all(self.dir.join("data"));
    }
}

fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            encoded += &format!("%{byte:02X}");
        }
    }
    encoded
}
