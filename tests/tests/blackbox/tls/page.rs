//! The status page over HTTPS, and what must not be seen of keys and tokens.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use funk_tests::blackbox::Tested;
use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS};
use funk_tests::blackbox::pki::OPENSSL;
use funk_tests::blackbox::process::installed;

use super::wait_for_line;

const TOKEN: &str = "four-score-and-seven";

/// What a page answers over HTTPS; `None` where there is nothing to ask it with.
fn get(cluster: &DemoCluster, at: SocketAddr, path: &str, header: &str) -> Result<Option<String>, String> {
    let Some(openssl) = installed(OPENSSL) else {
        println!("skipped: {OPENSSL} is not installed");
        return Ok(None);
    };
    let authority = cluster.pki()?.first().files().0;
    let mut child = Command::new(openssl)
        .args(["s_client", "-quiet", "-verify_return_error", "-connect", &at.to_string(), "-CAfile"])
        .arg(authority)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut input = child.stdin.take().expect("stdin was asked for as a pipe");
    write!(input, "GET {path} HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\n{header}\r\n")
        .map_err(|error| error.to_string())?;
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    drop(input);
    Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()))
}

#[test]
fn the_page_is_there_over_https_only_and_for_those_who_have_the_token() -> Tested {
    let mut cluster = DemoCluster::empty("tls-page", &[])?;
    cluster.certify()?;
    let token = cluster.dir().join("token");
    std::fs::write(&token, format!("{TOKEN}\n"))?;
    cluster.set_extra(&["--http-auth", &token.to_string_lossy()]);
    let node = cluster.bootstrap()?;
    let line = cluster.nodes[node].process.line("status https://", GENEROUS)?.text;
    let at = line.trim_start_matches("status https://").trim_end_matches('/').parse::<SocketAddr>()?;

    let bearer = format!("authorization: Bearer {TOKEN}\r\n");
    for (path, header, code) in [
        ("/healthz", "", "200"),
        ("/", "", "401"),
        ("/api/v1/status", "", "401"),
        ("/api/v1/status", "authorization: Bearer four\r\n", "401"),
        ("/api/v1/status", &bearer, "200"),
        ("/metrics", "", "401"),
        ("/metrics", &bearer, "200"),
    ] {
        let Some(answer) = get(&cluster, at, path, header)? else { return Ok(()) };
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{path} {header}: {answer}");
    }
    let mut plain = TcpStream::connect(at)?;
    plain.set_read_timeout(Some(GENEROUS))?;
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
    let mut heard = Vec::new();
    let _ = plain.read_to_end(&mut heard);
    assert_eq!(heard, b"", "it is not served over HTTP");
    Ok(())
}

#[test]
fn keys_and_tokens_show_up_neither_in_the_log_nor_in_the_list_of_processes() -> Tested {
    let mut cluster = DemoCluster::empty("tls-secrets", &[])?;
    cluster.certify()?;
    let token = cluster.dir().join("token");
    std::fs::write(&token, TOKEN)?;
    let files = ["--http-auth", &token.to_string_lossy(), "--log-level", "trace", "--http-tls=false"];
    cluster.set_extra(&files);
    cluster.pki()?.provide("node", "n0")?;
    let key = cluster.pki()?.of("n0").join("key.pem");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644))?;
    let node = cluster.bootstrap()?;
    cluster.nodes[node].process.line("operational", GENEROUS)?;
    let joined = cluster.join()?;
    cluster.nodes[joined].process.line("operational", GENEROUS)?;

    let remark = wait_for_line(&cluster, node, &["WARN", "others can read it"])?;
    assert!(remark.contains("--tls-key") && remark.contains("0644"), "{remark}");
    wait_for_line(&cluster, node, &["WARN", "--http-auth without HTTPS"])?;
    // The log holds more than is usual: the end of a stream.
    TcpStream::connect(cluster.nodes[node].serf)?.write_all(b"no gossip")?;
    wait_for_line(&cluster, node, &["DEBUG", "a stream ended"])?;
    let text = std::fs::read_to_string(&key)?;
    let secrets: Vec<_> = text.lines().filter(|line| !line.starts_with('-')).chain([TOKEN]).collect();
    assert!(secrets.len() > 1 && secrets.iter().all(|secret| secret.len() > 10), "{secrets:?}");
    let mut shown = Vec::new();
    for node in [node, joined] {
        let process = &cluster.nodes[node].process;
        shown.push(std::fs::read_to_string(process.log())?);
        for pid in [Some(process.rustix_pid()), process.child()].into_iter().flatten() {
            shown.push(std::fs::read_to_string(format!("/proc/{}/cmdline", pid.as_raw_nonzero()))?);
        }
    }
    for secret in &secrets {
        assert!(shown.iter().all(|text| !text.contains(secret)), "a secret is shown");
    }
    Ok(())
}
