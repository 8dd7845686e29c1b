//! Whoever is not of the cluster, and whoever speaks something else, is turned away and told why.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS, demo_command};
use funk_tests::blackbox::load::CLIENT;
use funk_tests::blackbox::pki::OPENSSL;
use funk_tests::blackbox::process::{Process, installed};
use funk_tests::blackbox::{Failure, Tested, program, wait_for};
use funk_tls::rustls::pki_types::UnixTime;
use rustix::process::Signal;

use super::{counted, endpoint, logged, wait_for_line};

/// Where TLS is asked for.
const ENDPOINTS: [&str; 4] = ["ep.raft", "ep.clusterfunk.management", "ep.cluster", "ep.demo"];

/// Whoever speaks no TLS is turned away so soon.
const TURNED_AWAY: Duration = Duration::from_secs(1);

/// What begins HTTP/2, for `printf`: the preface, and settings of nothing.
const HTTP2_PREFACE: &str = r"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";

/// The names in a certificate that no authority should sign.
const MANY_NAMES: usize = 1_000;

/// Certificates in a chain that takes more bytes than a handshake may.
const LONG_CHAIN: usize = 300;

fn days_from_now(days: i64) -> Result<UnixTime, String> {
    let seconds = days * 24 * 3600;
    let at = UnixTime::now().as_secs().checked_add_signed(seconds).ok_or("before 1970")?;
    Ok(UnixTime::since_unix_epoch(Duration::from_secs(at)))
}

/// A connection of a client that is not ours.
pub(super) struct OpenSsl(Process);

impl OpenSsl {
    /// Begins a connection; `None` where the program is missing.
    fn start(cluster: &DemoCluster, at: &str, arguments: &[&str]) -> Result<Option<Self>, String> {
        let Some(openssl) = installed(OPENSSL) else {
            println!("skipped: {OPENSSL} is not installed");
            return Ok(None);
        };
        let mut command = Command::new("sh");
        command.args(["-c", r#"printf "$0" | exec "$@" -ign_eof"#, HTTP2_PREFACE]).arg(openssl);
        command.args(["s_client", "-connect", at]).args(arguments);
        Process::start(OPENSSL, command, cluster.dir()).map(|process| Some(Self(process)))
    }

    /// Opens a connection with the files of `who`.
    pub(super) fn open(cluster: &DemoCluster, at: &str, who: &str) -> Result<Option<Self>, String> {
        let shown = Shown::of(cluster, who)?;
        let Some(begun) = Self::start(cluster, at, &[&["-alpn", "h2"][..], &shown.arguments()].concat())? else {
            return Ok(None);
        };
        begun.0.line("SSL handshake has read", GENEROUS)?;
        Ok(Some(begun))
    }

    pub(super) fn is_open(&mut self) -> bool {
        self.0.ended().is_none()
    }

    pub(super) fn ended(&mut self, within: Duration) -> Result<(), String> {
        self.0.wait(within).map(drop)
    }
}

/// What a client shows.
struct Shown(Vec<String>);

impl Shown {
    fn of(cluster: &DemoCluster, who: &str) -> Result<Self, String> {
        let file = |name: &str| Ok::<_, String>(cluster.pki()?.of(who).join(name).to_string_lossy().into_owned());
        Ok(Self(vec!["-cert".into(), file("cert.pem")?, "-key".into(), file("key.pem")?]))
    }

    fn arguments(&self) -> Vec<&str> {
        self.0.iter().map(String::as_str).collect()
    }
}

/// How often an endpoint refused somebody for this reason.
fn refusals(cluster: &mut DemoCluster, name: &str, reason: &str) -> Result<f64, String> {
    let reason = format!("reason=\"{reason}\"");
    if name == "ep.raft" {
        return counted(cluster, 0, "funk_stream_refused_total", &[&reason]);
    }
    counted(cluster, 0, "funk_tls_refused_total", &[&format!("listener=\"{name}\""), &reason])
}

/// Waits until one refusal more is counted there.
fn refused_once(cluster: &mut DemoCluster, name: &str, reason: &str, before: f64) -> Result<(), String> {
    let counted = wait_for(&format!("{name} to refuse it: {reason}"), GENEROUS, || {
        let now = refusals(cluster, name, reason)?;
        if now > before { Ok(()) } else { Err(format!("{now} times")) }
    });
    counted.map_err(|error| format!("{error}\n{}", cluster.tails(&[0])))
}

#[test]
fn whoever_speaks_no_tls_is_turned_away_within_a_second_and_hears_nothing() -> Tested {
    let mut cluster = DemoCluster::start_with_tls("tls-plain", 1, &[])?;
    for name in ENDPOINTS {
        let at = endpoint(&mut cluster, 0, name)?;
        for said in [&b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0"] {
            let before = refusals(&mut cluster, name, "plaintext")?;
            let begun = Instant::now();
            let mut stream = TcpStream::connect(&at)?;
            stream.set_read_timeout(Some(GENEROUS))?;
            stream.write_all(said)?;
            let mut heard = Vec::new();
            // Closing with something unread is a reset.
            let _ = stream.read_to_end(&mut heard);
            assert!(begun.elapsed() < TURNED_AWAY, "{name}: after {:?}", begun.elapsed());
            assert_eq!(heard, b"", "{name} says nothing to who speaks no TLS");
            refused_once(&mut cluster, name, "plaintext", before)?;
        }
    }
    let lines = logged(&cluster, 0, &["WARN", "refused", "peer=127.0.0.1:", "does not speak TLS"])?;
    assert!(!lines.is_empty(), "{}", cluster.tails(&[0]));
    Ok(())
}

#[test]
fn whoever_shows_no_certificate_of_the_cluster_is_refused_for_that_reason() -> Tested {
    let mut cluster = DemoCluster::start_with_tls("tls-strangers", 1, &[])?;
    let other = cluster.pki()?.authority("other")?;
    let (name, pki) = (cluster.name().to_owned(), cluster.pki()?);
    pki.certify(&other, "node", "of-another-authority")?;
    pki.certify_as(pki.first(), "elsewhere", "node", "n7", "of-another-cluster")?;
    pki.certify_as(pki.first(), &name, "client", CLIENT, "client")?;
    pki.certify_at("node", "expired", days_from_now(-3)?)?;
    pki.certify_at("node", "not-yet-valid", days_from_now(3)?)?;
    if !many_names(&cluster)? {
        return Ok(());
    }
    let chain = long_chain(&cluster)?;

    for name in ENDPOINTS {
        let at = endpoint(&mut cluster, 0, name)?;
        let protocol = if name == "ep.raft" { "funk-cluster" } else { "h2" };
        let (old, malformed, endless) = match name {
            "ep.raft" => ("tls", "no_identity", "tls"),
            _ => ("version", "no_identity", "malformed"),
        };
        let mut cases = vec![
            ("of-another-authority", "authority"),
            ("of-another-cluster", "cluster"),
            ("expired", "expired"),
            ("not-yet-valid", "not_yet_valid"),
            ("many-names", malformed),
        ];
        if name == "ep.raft" {
            cases.push(("client", "role"));
        }
        let mut probes = vec![(vec!["-tls1_2".to_owned()], old), (Vec::new(), "no_certificate")];
        for (who, reason) in cases {
            probes.push((Shown::of(&cluster, who)?.0, reason));
        }
        let long = Shown::of(&cluster, "client")?.0;
        probes.push(([long, vec!["-cert_chain".into(), chain.to_string_lossy().into_owned()]].concat(), endless));
        for (arguments, reason) in probes {
            let arguments: Vec<_> =
                ["-alpn", protocol].into_iter().chain(arguments.iter().map(String::as_str)).collect();
            let before = refusals(&mut cluster, name, reason)?;
            let Some(mut probe) = OpenSsl::start(&cluster, &at, &arguments)? else { return Ok(()) };
            refused_once(&mut cluster, name, reason, before).map_err(|error| format!("{arguments:?}: {error}"))?;
            probe.ended(GENEROUS)?;
        }
    }
    assert_eq!(cluster.status(0)?.members.len(), 1, "no stranger is a member");
    Ok(())
}

/// Gives `many-names` a certificate with a thousand names; `false` where there is nothing to make it with.
fn many_names(cluster: &DemoCluster) -> Result<bool, String> {
    let Some(openssl) = installed(OPENSSL) else {
        println!("skipped: {OPENSSL} is not installed");
        return Ok(false);
    };
    let pki = cluster.pki()?;
    let names: Vec<_> =
        (0..MANY_NAMES).map(|n| format!("URI:spiffe://funk.local/{}/node/n{n}", cluster.name())).collect();
    pki.write("many-names", "extensions", &format!("subjectAltName={}\n", names.join(",")))?;
    let file = |name: &str| pki.of("many-names").join(name);
    let (authority, key) = pki.first().files();
    let run = |command: &mut Command| match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))),
        Err(error) => Err(format!("{command:?}: {error}")),
    };
    let new_key = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/"];
    run(Command::new(&openssl).args(new_key).arg("-keyout").arg(file("key.pem")).arg("-out").arg(file("request")))?;
    let mut sign = Command::new(&openssl);
    sign.args(["x509", "-req", "-days", "1", "-in"]).arg(file("request")).arg("-extfile").arg(file("extensions"));
    sign.arg("-CA").arg(authority).arg("-CAkey").arg(key).args(["-set_serial", "7", "-out"]).arg(file("cert.pem"));
    run(&mut sign)?;
    Ok(true)
}

/// A file with more certificates than a handshake may show.
fn long_chain(cluster: &DemoCluster) -> Result<PathBuf, String> {
    let authority = std::fs::read_to_string(cluster.pki()?.first().files().0).map_err(|error| error.to_string())?;
    cluster.pki()?.write("long-chain", "chain.pem", &authority.repeat(LONG_CHAIN))?;
    Ok(cluster.pki()?.of("long-chain").join("chain.pem"))
}

/// Starts a node with the files that are there for it; it must not get in.
fn kept_out(cluster: &mut DemoCluster, here: &[&str], there: &[&str]) -> Result<(), Failure> {
    let joiner = cluster.join()?;
    let id = cluster.nodes[joiner].id.clone();
    let at_joiner = wait_for_line(cluster, joiner, &[&["WARN", "peer=127.0.0.1:"][..], here].concat())?;
    let at_member = wait_for_line(cluster, 0, &[&["WARN", "peer=127.0.0.1:"][..], there].concat())?;
    println!("{at_joiner}\n{at_member}");
    let status = cluster.status(joiner)?;
    assert_eq!((status.state.as_str(), status.may_serve), ("Joining", false), "{}", status.brief());
    assert!(cluster.nodes[joiner].process.ended().is_none(), "it tries again");
    cluster.nodes[joiner].process.signal(Signal::KILL);
    cluster.nodes[joiner].process.wait(GENEROUS)?;
    let status = cluster.status(0)?;
    assert!(!status.raft_members().contains(&id.as_str()), "{}", status.brief());
    Ok(())
}

#[test]
fn a_joiner_of_another_authority_is_refused_on_both_sides_and_told_why() -> Tested {
    let mut cluster = DemoCluster::start_with_tls("tls-joiners", 1, &[])?;
    let other = cluster.pki()?.authority("other")?;
    let first = cluster.pki()?.first().clone();

    // It believes its own authority only, and says so first.
    cluster.pki()?.certify(&other, "node", "n1")?;
    cluster.pki()?.believe("n1", &[&other])?;
    kept_out(
        &mut cluster,
        &["none of the authorities in --tls-ca"],
        &["it refuses this node", "its own log says why"],
    )?;

    // It believes both.
    cluster.pki()?.certify(&other, "node", "n2")?;
    cluster.pki()?.believe("n2", &[&first, &other])?;
    kept_out(
        &mut cluster,
        &["it refuses this node", "its own log says why"],
        &["none of the authorities in --tls-ca"],
    )?;

    let lines = logged(&cluster, 0, &["WARN", "a peer is refused"])?;
    let times: f64 = counted(&mut cluster, 0, "funk_stream_refused_total", &[])?;
    assert!((lines.len() as f64) <= times, "{lines:?}");
    Ok(())
}

#[test]
fn a_node_without_tls_and_a_node_with_it_say_so_to_each_other() -> Tested {
    let mut cluster = DemoCluster::start("tls-plain-members", 1)?;
    cluster.certify()?;
    cluster.set_extra(&["--http-tls=false"]);
    let joiner = cluster.join()?;
    wait_for_line(&cluster, joiner, &["WARN", "peer=127.0.0.1:", "the peer does not speak TLS"])?;
    assert_eq!(cluster.status(joiner)?.state, "Joining");
    assert_eq!(cluster.status(0)?.raft_members().len(), 1);
    Ok(())
}

#[test]
fn a_node_does_not_start_with_a_certificate_that_is_not_its_own_or_not_valid_now() -> Tested {
    let mut cluster = DemoCluster::empty("tls-start", &[])?;
    cluster.certify()?;
    let (name, pki) = (cluster.name().to_owned(), cluster.pki()?);
    pki.certify_at("node", "expired", days_from_now(-3)?)?;
    pki.certify_at("node", "not-yet-valid", days_from_now(3)?)?;
    for (who, why) in [("expired", "the certificate expired on "), ("not-yet-valid", "the certificate is valid from ")]
    {
        pki.believe(who, &[pki.first()])?;
        let id = if who.starts_with("of") { "n0" } else { who };
        let mut command = demo_command(&name)?;
        command.args(["--bootstrap", "--node-id", id]).args(pki.flags(who));
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{who}: {said}");
        assert_eq!(said.lines().count(), 1, "{who}: one line, not {said}");
        assert!(said.contains("--tls-cert") && said.contains(why), "{who}: {said}");
    }
    Ok(())
}

#[test]
fn a_client_without_a_certificate_says_why_nobody_answers() -> Tested {
    let mut cluster = DemoCluster::start_with_tls("tls-bare-client", 1, &[])?;
    let at = cluster.nodes[0].serf.to_string();
    let mut command = Command::new(program("client")?);
    command.env_clear().args(["--cluster-name", cluster.name(), "--join", &at, "--repeats", "1"]);
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("if the cluster has TLS, give this client a certificate"), "{said}");
    assert!(counted(&mut cluster, 0, "funk_tls_refused_total", &["reason=\"plaintext\""])? >= 1.0);
    Ok(())
}
