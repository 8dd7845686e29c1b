//! What the environment chooses for the nodes of a whole run, so that the same tests run over each transport and on each
//! runtime.

/// Set to `tls` or `quic`: all nodes have certificates, and their streams go over TLS on TCP, or over QUIC.
const STREAMS_VARIABLE: &str = "FUNK_TEST_STREAMS";

/// Set to the name of a runtime: all nodes run on it.
const RUNTIME_VARIABLE: &str = "FUNK_TEST_RUNTIME";

/// Whether the nodes of the run need certificates.
pub(super) fn has_certificates() -> bool {
    matches!(std::env::var(STREAMS_VARIABLE).as_deref(), Ok("tls" | "quic"))
}

/// What every node is started with beside `extra`. What a test chooses itself stands.
pub(super) fn flags(extra: &[String]) -> Vec<String> {
    let runtime = std::env::var(RUNTIME_VARIABLE).unwrap_or_default();
    let mut flags: Vec<[&str; 2]> = Vec::new();
    if has_certificates() {
        flags.push(["--http-tls", "false"]);
    }
    if std::env::var(STREAMS_VARIABLE).as_deref() == Ok("quic") {
        flags.push(["--transport", "quic"]);
    }
    if !runtime.is_empty() {
        flags.push(["--runtime", &runtime]);
    }
    let is_given = |flag: &str| extra.iter().any(|given| given.split('=').next() == Some(flag));
    flags.into_iter().filter(|[flag, _]| !is_given(flag)).map(|[flag, value]| format!("{flag}={value}")).collect()
}
