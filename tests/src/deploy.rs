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

/// The container of the stateful set.
///
/// # Errors
/// When there is none.
pub fn pod_container(documents: &[Value]) -> Result<&Value, String> {
    let set = documents.iter().find(|document| document["kind"] == "StatefulSet").ok_or("no StatefulSet")?;
    let container = &set["spec"]["template"]["spec"]["containers"][0];
    if container.is_object() { Ok(container) } else { Err("the stateful set has no container".into()) }
}

/// The environment of the pod `name` at `ip`: each variable with those before it put in, as Kubernetes does.
///
/// # Errors
/// When a variable stands on what is not known at its place.
pub fn pod_environment(container: &Value, name: &str, ip: &str) -> Result<Vec<(String, String)>, String> {
    let mut found: Vec<(String, String)> = Vec::new();
    for variable in container["env"].as_array().ok_or("no environment")? {
        let field = variable["valueFrom"]["fieldRef"]["fieldPath"].as_str();
        let mut value = match field {
            Some("metadata.name") => name.to_owned(),
            Some("status.podIP") => ip.to_owned(),
            _ => variable["value"].as_str().ok_or_else(|| format!("{variable} has no value"))?.to_owned(),
        };
        for (known, is) in &found {
            value = value.replace(&format!("$({known})"), is);
        }
        if value.contains("$(") {
            return Err(format!("{variable} stands on what does not precede it"));
        }
        found.push((variable["name"].as_str().ok_or("no name")?.to_owned(), value));
    }
    Ok(found)
}
