//! Counts the bytes of ports on the loopback interface, with nftables: only
//! within a network namespace that holds nothing else.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Bytes of the Ethernet header, which the interface counts and nftables does not.
const ETHERNET_HEADER: f64 = 14.0;

/// What went over one port so far, headers of Ethernet, IP, UDP and TCP included.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Traffic {
    /// Bytes of datagrams from the port.
    pub sent: f64,
    /// Bytes of datagrams to the port.
    pub received: f64,
    /// Bytes of the streams that others opened to the port, both ways.
    pub streams: f64,
}

impl Traffic {
    /// The mean of `seconds`, in bytes per second.
    pub fn per_second(self, seconds: f64) -> Self {
        Self { sent: self.sent / seconds, received: self.received / seconds, streams: self.streams / seconds }
    }
}

/// The three kinds of a port's counters, with the rules that feed them.
const KINDS: [(&str, &[&str]); 3] =
    [("sent", &["udp sport"]), ("received", &["udp dport"]), ("streams", &["tcp sport", "tcp dport"])];

/// Starts to count the traffic of `ports` in this network namespace.
///
/// # Errors
/// When nftables is missing or refuses.
pub fn start(ports: &[u16]) -> Result<(), String> {
    let mut rules = String::from("table inet ports {\n");
    for port in ports {
        for (kind, _) in KINDS {
            rules += &format!(" counter {kind}_{port} {{ packets 0 bytes 0 }}\n");
        }
    }
    // Each packet passes the input hook of the loopback interface once.
    rules += " chain arriving {\n  type filter hook input priority 0;\n";
    for port in ports {
        for (kind, matches) in KINDS {
            for packets in matches {
                rules += &format!("  {packets} {port} counter name {kind}_{port}\n");
            }
        }
    }
    rules += " }\n}\n";
    nft(&["-f", "-"], &rules).map(drop)
}

/// What went over `port` since the start.
///
/// # Errors
/// When nftables does not tell.
pub fn read(port: u16) -> Result<Traffic, String> {
    let list: Value =
        serde_json::from_str(&nft(&["-j", "list", "counters"], "")?).map_err(|error| error.to_string())?;
    let objects = list["nftables"].as_array().ok_or("nft lists nothing")?;
    let bytes = |kind: &str| {
        let name = format!("{kind}_{port}");
        let counter = objects.iter().map(|object| &object["counter"]).find(|counter| counter["name"] == name.as_str());
        let numbers = counter.and_then(|counter| counter["bytes"].as_f64().zip(counter["packets"].as_f64()));
        let (bytes, packets) = numbers.ok_or_else(|| format!("nft does not count {name}"))?;
        Ok::<_, String>(bytes + packets * ETHERNET_HEADER)
    };
    Ok(Traffic { sent: bytes("sent")?, received: bytes("received")?, streams: bytes("streams")? })
}

fn nft(arguments: &[&str], input: &str) -> Result<String, String> {
    let told = |error: std::io::Error| format!("nft (Debian: nftables): {error}");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("nft");
    command.args(arguments).env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(told)?;
    // Dropped at once: nft reads until the end.
    child.stdin.take().ok_or("nft has no standard input")?.write_all(input.as_bytes()).map_err(told)?;
    let output = child.wait_with_output().map_err(told)?;
    if !output.status.success() {
        return Err(format!("nft: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    String::from_utf8(output.stdout).map_err(|error| error.to_string())
}
