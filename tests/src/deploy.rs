//! The files of `deploy/` as data.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::blackbox::workspace;

/// Reads YAML by a parser that is not ours, and prints its documents as JSON.
const READ_YAML: &str = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";

/// Whether this machine has what [`yaml`] needs.
pub fn yaml_can_be_read() -> bool {
    Command::new("/usr/bin/python3").args(["-c", "import yaml"]).output().is_ok_and(|output| output.status.success())
}

/// The documents of a YAML file of the workspace.
///
/// # Errors
/// When it is no YAML; the parser's words say where.
pub fn yaml(file: impl AsRef<Path>) -> Result<Vec<Value>, String> {
    let path = workspace().join(file);
    let output = Command::new("/usr/bin/python3").arg("-c").arg(READ_YAML).arg(&path).output();
    let output = output.map_err(|error| format!("python3: {error}"))?;
    if !output.status.success() {
        return Err(format!("{}: {}", path.display(), String::from_utf8_lossy(&output.stderr)));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("{}: {error}", path.display()))
}

/// The script that the container of the stateful set runs.
///
/// # Errors
/// When the file does not hold one.
pub fn pod_script(documents: &[Value]) -> Result<String, String> {
    let set = documents.iter().find(|document| document["kind"] == "StatefulSet").ok_or("no StatefulSet")?;
    let container = &set["spec"]["template"]["spec"]["containers"][0];
    let shell = container["command"] == serde_json::json!(["/bin/sh", "-c"]);
    let script = container["args"][0].as_str().filter(|_| shell);
    script.map(str::to_owned).ok_or_else(|| "the container runs no script by /bin/sh -c".into())
}
