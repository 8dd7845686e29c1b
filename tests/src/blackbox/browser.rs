//! A headless Chromium, driven through chromedriver's WebDriver interface.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::http::Client;
use super::process::Process;
use super::{scratch, wait_for};

/// Time for one command of a browser on a busy machine.
const STEP: Duration = Duration::from_secs(60);

/// What chromedriver prints once it listens.
const STARTED: &str = "ChromeDriver was started successfully on port ";

/// A browser with one window. It ends with the value.
#[derive(Debug)]
pub struct Browser {
    // The session ends first, so that the driver closes its browser.
    session: Session,
    _driver: Process,
}

#[derive(Debug)]
struct Session {
    driver: SocketAddr,
    path: String,
    profile: PathBuf,
}

impl Browser {
    /// Starts a browser; `None`, and a line that says so, where none is
    /// installed. In continuous integration that is an error.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(label: &str) -> Result<Option<Self>, String> {
        if Command::new("chromedriver").arg("--version").output().is_err() {
            if std::env::var("CI").is_ok_and(|ci| ci == "true") {
                return Err(
                    "chromedriver is not installed, and CI is true: install chromium and chromium-driver".into()
                );
            }
            println!("SKIPPED {label}: chromedriver is not installed (packages chromium and chromium-driver)");
            return Ok(None);
        }
        let dir = scratch(label)?;
        let mut command = Command::new("chromedriver");
        command.arg("--port=0");
        let driver = Process::start("chromedriver", command, &dir)?;
        let line = driver.line(STARTED, STEP)?.text;
        let port = line.strip_prefix(STARTED).map(|rest| rest.trim_end_matches('.'));
        let port: u16 = port.and_then(|port| port.parse().ok()).ok_or_else(|| format!("`{line}` names no port"))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let session = Session::open(address, &dir.join("profile"))?;
        Ok(Some(Self { session, _driver: driver }))
    }

    /// Opens a page and waits until it is loaded.
    ///
    /// # Errors
    /// When it cannot be loaded.
    pub fn open(&self, url: &str) -> Result<(), String> {
        self.session.command("POST", "/url", &json!({ "url": url })).map(drop)
    }

    /// The value that a script returns.
    ///
    /// # Errors
    /// When it throws.
    pub fn run(&self, script: &str) -> Result<Value, String> {
        self.session.command("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Waits until a script returns true.
    ///
    /// # Errors
    /// After `within`, with what was waited for and the text of the page.
    pub fn wait(&self, what: &str, within: Duration, script: &str) -> Result<(), String> {
        let done = wait_for(what, within, || match self.run(&format!("return Boolean({script})"))? {
            Value::Bool(true) => Ok(()),
            other => Err(format!("`{script}` is {other}")),
        });
        done.map_err(|error| match self.run("return document.body.innerText") {
            Ok(text) => format!("{error}\nthe page says:\n{}", text.as_str().unwrap_or_default()),
            Err(_) => error,
        })
    }

    /// Gives the window this size, in CSS pixels.
    ///
    /// # Errors
    /// When the browser refuses.
    pub fn resize(&self, width: u32, height: u32) -> Result<(), String> {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", &size)
    }

    /// Makes the system prefer `light` or `dark`.
    ///
    /// # Errors
    /// When the browser refuses.
    pub fn prefer(&self, scheme: &str) -> Result<(), String> {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", &features)
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Result<(), String> {
        let body = json!({ "cmd": command, "params": parameters });
        self.session.command("POST", "/goog/cdp/execute", &body).map(drop)
    }

    /// What the console said since the last look: errors of scripts, of
    /// loading, and of the content security policy among it.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub fn console(&self) -> Result<Vec<String>, String> {
        let log = self.session.command("POST", "/se/log", &json!({ "type": "browser" }))?;
        let lines = log.as_array().ok_or("the log is no list")?;
        Ok(lines.iter().map(|line| format!("{} {}", line["level"], line["message"])).collect())
    }
}

impl Session {
    fn open(driver: SocketAddr, profile: &Path) -> Result<Self, String> {
        let data = format!("--user-data-dir={}", profile.display());
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &data,
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        }}});
        let mut session = Self { driver, path: String::new(), profile: profile.to_path_buf() };
        let answer = session.command("POST", "/session", &wanted)?;
        let id = answer["sessionId"].as_str().ok_or_else(|| format!("no session: {answer}"))?;
        session.path = format!("/session/{id}");
        Ok(session)
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let path = format!("{}{path}", self.path);
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let answer = Client::new(self.driver, STEP).send(method, &path, &body);
        let answer = answer.map_err(|error| format!("chromedriver: {path}: {error}"))?;
        let mut json: Value = serde_json::from_slice(&answer.body).map_err(|error| format!("{path}: {error}"))?;
        if answer.code != 200 {
            return Err(format!("{path}: {}", json["value"]["message"].as_str().unwrap_or("refused")));
        }
        Ok(json["value"].take())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.path.is_empty() {
            // The driver may have ended already, and its browser with it.
            let _ = self.command("DELETE", "", &Value::Null);
        }
        // Megabytes that nobody looks at again; what cannot be removed stays in `target`.
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}
