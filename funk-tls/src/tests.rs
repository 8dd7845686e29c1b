//! Handshakes in memory: who gets in, and what the other one is told.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{ClientConnection, Connection, ServerConnection};

use crate::credentials::peer;
use crate::issue::{self, Issued};
use crate::{Credentials, Files, Identity, Refused, Role, Roles, TlsError};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A directory of its own for each test, gone with it.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("funk-tls-{}-{next}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn authority() -> Issued {
    issue::authority(&"example.org".parse().unwrap(), 10 * DAY).unwrap()
}

fn identity(path: &str) -> Identity {
    format!("spiffe://example.org/{path}").parse().unwrap()
}

fn issued(authority: &Issued, path: &str) -> Issued {
    issue::certificate(authority, &identity(path), DAY).unwrap()
}

fn files(dir: &Dir, own: &Issued, authorities: &str) -> Files {
    let (cert, key, ca) = (dir.write("cert", &own.cert), dir.write("key", &own.key), dir.write("ca", authorities));
    Files { cert, key, ca, deny: None }
}

fn load(own: &Issued, authorities: &str) -> Credentials {
    let dir = Dir::new();
    Credentials::load(&files(&dir, own, authorities)).unwrap()
}

fn later(days: u32) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs()) + DAY * days)
}

/// A client and a server, and what each thinks of the other's certificate in the end.
fn shake(
    client: &Credentials,
    server: &Credentials,
    accepts: Roles,
) -> (Result<Identity, Refused>, Result<Identity, Refused>) {
    let connector = client.connector(Roles::NODES, &[b"funk"]);
    let acceptor = server.acceptor(accepts, &[b"funk"]);
    let name = ServerName::try_from("funk").unwrap();
    let mut client = Connection::Client(ClientConnection::new(connector, name).unwrap());
    let mut server = Connection::Server(ServerConnection::new(acceptor).unwrap());
    let (mut of_server, mut of_client) = (None, None);
    for _ in 0..4 {
        pass(&mut client, &mut server, &mut of_client);
        pass(&mut server, &mut client, &mut of_server);
    }
    (verdict(&client, of_server), verdict(&server, of_client))
}

fn pass(from: &mut Connection, to: &mut Connection, failed: &mut Option<rustls::Error>) {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut left = bytes.as_slice();
    while !left.is_empty() && failed.is_none() {
        to.read_tls(&mut left).unwrap();
        if let Err(error) = to.process_new_packets() {
            *failed = Some(error);
        }
    }
}

fn verdict(of: &Connection, failed: Option<rustls::Error>) -> Result<Identity, Refused> {
    match failed {
        None => Ok(peer(of.peer_certificates(), None).unwrap().expect("both show a certificate")),
        Some(error) => {
            let error = std::io::Error::new(std::io::ErrorKind::InvalidData, error);
            Err(crate::why(&error).unwrap_or_else(|| Refused::Tls(error.to_string())))
        }
    }
}

#[test]
fn two_nodes_of_one_cluster_know_each_other() {
    let ca = authority();
    let (one, two) = (issued(&ca, "c/node/n1"), issued(&ca, "c/node/n2"));
    let (one, two) = (load(&one, &ca.cert), load(&two, &ca.cert));
    let (server, client) = shake(&one, &two, Roles::NODES);
    assert_eq!((server, client), (Ok(identity("c/node/n2")), Ok(identity("c/node/n1"))));
}

#[test]
fn a_certificate_of_another_authority_is_refused_on_both_sides() {
    let (ca, other) = (authority(), authority());
    let own = load(&issued(&ca, "c/node/n1"), &ca.cert);
    let stranger = load(&issued(&other, "c/node/n2"), &other.cert);
    assert_eq!(shake(&own, &stranger, Roles::NODES).0, Err(Refused::Authority));
    // One that believes both, and is not believed itself.
    let both = format!("{}{}", ca.cert, other.cert);
    let stranger = load(&issued(&other, "c/node/n2"), &both);
    assert_eq!(shake(&stranger, &own, Roles::NODES).1, Err(Refused::Authority));
}

#[test]
fn another_cluster_and_another_trust_domain_are_refused_though_the_authority_is_the_same() {
    let ca = authority();
    let own = load(&issued(&ca, "c/node/n1"), &ca.cert);
    let cluster = load(&issued(&ca, "d/node/n1"), &ca.cert);
    let refused = Refused::Cluster(Box::new(identity("d/node/n1")), "c".parse().unwrap());
    assert_eq!(shake(&own, &cluster, Roles::NODES).0, Err(refused));
    let domain: Identity = "spiffe://example.com/c/node/n1".parse().unwrap();
    let elsewhere = load(&issue::certificate(&ca, &domain, DAY).unwrap(), &ca.cert);
    let refused = Refused::Domain(Box::new(domain), "example.org".parse().unwrap());
    assert_eq!(shake(&own, &elsewhere, Roles::NODES).0, Err(refused));
}

#[test]
fn only_nodes_answer_and_only_those_roles_get_in_that_may() {
    let ca = authority();
    let node = load(&issued(&ca, "c/node/n1"), &ca.cert);
    for role in [Role::Operator, Role::Observer, Role::Client] {
        let path = format!("c/{role}/eve");
        let other = load(&issued(&ca, &path), &ca.cert);
        let refused = || Refused::Role(Box::new(identity(&path)), Roles::NODES);
        assert_eq!(shake(&other, &node, Roles::NODES).1, Err(refused()), "it asks where only nodes may");
        assert_eq!(shake(&node, &other, Roles::ANY).0, Err(refused()), "it answers");
        assert_eq!(shake(&other, &node, Roles::ANY).1, Ok(identity(&path)));
    }
}

#[test]
fn a_certificate_without_one_identity_is_refused() {
    let ca = authority();
    let error = loaded(|dir, ca| files(dir, &with_uri(ca, "https://example.org/"), &ca.cert), &ca);
    assert!(error.why.contains("https://example.org/"), "{error}");
    let error = loaded(|dir, ca| files(dir, &with_uri(ca, "spiffe://example.org/c/admin/n"), &ca.cert), &ca);
    assert!(error.why.contains("role"), "{error}");
    // The authority's own certificate names only its trust domain.
    let error = loaded(|dir, ca| files(dir, ca, &ca.cert), &ca);
    assert_eq!(error.flag, "--tls-cert");
}

fn with_uri(ca: &Issued, uri: &str) -> Issued {
    issue::certificate_at(ca, uri, UnixTime::now(), DAY).unwrap()
}

fn loaded(make: impl Fn(&Dir, &Issued) -> Files, ca: &Issued) -> TlsError {
    let dir = Dir::new();
    Credentials::load(&make(&dir, ca)).unwrap_err()
}

#[test]
fn an_expired_certificate_and_one_of_tomorrow_are_refused_with_their_dates() {
    let ca = authority();
    let dir = Dir::new();
    let files = files(&dir, &issued(&ca, "c/node/n1"), &ca.cert);
    let expired = Credentials::load_at(&files, later(2)).unwrap_err();
    let early = Credentials::load_at(&files, UnixTime::since_unix_epoch(DAY)).unwrap_err();
    for (error, word) in [(expired, "expired on"), (early, "valid from")] {
        assert_eq!(error.flag, "--tls-cert");
        assert!(error.why.contains(word) && error.why.contains("this clock says"), "{error}");
    }
    // One that was valid when it was loaded, and is not when it is shown.
    let from = UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs()) - DAY * 5);
    let old = issue::certificate_at(&ca, &identity("c/node/n2").to_string(), from, DAY).unwrap();
    let dir = Dir::new();
    let old = Credentials::load_at(&self::files(&dir, &old, &ca.cert), from).unwrap_or_else(|error| panic!("{error}"));
    let own = load(&issued(&ca, "c/node/n1"), &ca.cert);
    for refused in [shake(&old, &own, Roles::NODES).1, shake(&own, &old, Roles::NODES).0] {
        assert!(matches!(refused, Err(Refused::Expired { ended, now }) if ended < now), "{refused:?}");
    }
}

#[test]
fn the_denied_are_refused() {
    let ca = authority();
    let dir = Dir::new();
    let own = Files { deny: Some(dir.write("deny", "node/n2")), ..files(&dir, &issued(&ca, "c/node/n1"), &ca.cert) };
    let own = Credentials::load(&own).unwrap();
    let (two, three) = (issued(&ca, "c/node/n2"), issued(&ca, "c/node/n3"));
    let refused = Refused::Denied("spiffe://example.org/c/node/n2".into());
    let two = load(&two, &ca.cert);
    assert_eq!(shake(&two, &own, Roles::NODES).1, Err(refused.clone()));
    assert_eq!(shake(&own, &two, Roles::NODES).0, Err(refused));
    assert!(shake(&load(&three, &ca.cert), &own, Roles::NODES).1.is_ok());
}

#[test]
fn whoever_shows_no_certificate_gets_in_only_where_none_is_asked_for() {
    let ca = authority();
    let own = load(&issued(&ca, "c/node/n1"), &ca.cert);
    for (acceptor, lets_in) in [(own.acceptor(Roles::ANY, &[]), false), (own.open_acceptor(&[]), true)] {
        let mut nameless = (*own.connector(Roles::NODES, &[])).clone();
        nameless.client_auth_cert_resolver = std::sync::Arc::new(NoCertificate);
        let name = ServerName::try_from("funk").unwrap();
        let client = ClientConnection::new(nameless.into(), name).unwrap();
        let mut client = Connection::Client(client);
        let mut server = Connection::Server(ServerConnection::new(acceptor).unwrap());
        let (mut of_server, mut of_client) = (None, None);
        for _ in 0..4 {
            pass(&mut client, &mut server, &mut of_client);
            pass(&mut server, &mut client, &mut of_server);
        }
        assert_eq!(of_client.is_none(), lets_in, "{of_client:?}");
        assert_eq!(peer(server.peer_certificates(), None), Ok(None));
    }
}

#[derive(Debug)]
struct NoCertificate;

impl rustls::client::ResolvesClientCert for NoCertificate {
    fn resolve(
        &self,
        _: &[&[u8]],
        _: &[rustls::SignatureScheme],
    ) -> Option<std::sync::Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[test]
fn another_node_than_the_one_that_was_dialled_is_an_impersonation() {
    let ca = authority();
    let (one, two) = (load(&issued(&ca, "c/node/n1"), &ca.cert), load(&issued(&ca, "c/node/n2"), &ca.cert));
    let config = one.connector(Roles::NODES, &[]);
    let client = ClientConnection::new(config, ServerName::try_from("funk").unwrap()).unwrap();
    let mut client = Connection::Client(client);
    let mut server = Connection::Server(ServerConnection::new(two.acceptor(Roles::NODES, &[])).unwrap());
    for _ in 0..4 {
        pass(&mut client, &mut server, &mut None);
        pass(&mut server, &mut client, &mut None);
    }
    let (three, two) = (identity("c/node/n3"), identity("c/node/n2"));
    let refused = peer(client.peer_certificates(), Some(&three)).unwrap_err();
    assert_eq!(refused, Refused::Other { shown: Box::new(two.clone()), expected: Box::new(three) });
    assert_eq!(peer(client.peer_certificates(), Some(&two)), Ok(Some(two)));
    client.writer().write_all(b"said").unwrap();
    pass(&mut client, &mut server, &mut None);
    let mut heard = [0; 4];
    server.reader().read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"said");
}

#[test]
fn files_that_do_not_fit_are_named_with_the_reason() {
    let (ca, other) = (authority(), authority());
    let (own, second) = (issued(&ca, "c/node/n1"), issued(&ca, "c/node/n1"));
    let dir = Dir::new();
    let good = files(&dir, &own, &ca.cert);
    let at = |name: &str, text: &str| dir.write(name, text);
    let nowhere: &Path = &dir.0.join("nowhere");
    let cases = [
        (Files { cert: nowhere.into(), ..good.clone() }, "--tls-cert", "No such file"),
        (Files { cert: at("a", "hello"), ..good.clone() }, "--tls-cert", "no certificate"),
        (Files { key: at("b", "hello"), ..good.clone() }, "--tls-key", "no private key"),
        (Files { key: at("c", &second.key), ..good.clone() }, "--tls-key", "is not the key of the certificate"),
        (Files { ca: at("d", ""), ..good.clone() }, "--tls-ca", "no certificate"),
        (Files { ca: at("e", &other.cert), ..good.clone() }, "--tls-cert", "none of the authorities"),
        (Files { deny: Some(at("f", "x")), ..good.clone() }, "--tls-deny", "line 1"),
        (Files { ca: at("g", &"x".repeat(1 << 20 | 1)), ..good.clone() }, "--tls-ca", "longer than"),
    ];
    for (files, flag, word) in cases {
        let error = Credentials::load(&files).unwrap_err();
        assert!(error.flag == flag && error.to_string().contains(word), "{word}: {error}");
    }
    assert!(Credentials::load(&good).is_ok());
}

#[test]
fn a_key_that_others_can_read_is_remarked_on() {
    use std::os::unix::fs::PermissionsExt;
    let ca = authority();
    let dir = Dir::new();
    let files = files(&dir, &issued(&ca, "c/node/n1"), &ca.cert);
    for (mode, remarks) in [(0o640, 1), (0o644, 1), (0o600, 0), (0o400, 0)] {
        fs::set_permissions(&files.key, fs::Permissions::from_mode(mode)).unwrap();
        let loaded = Credentials::load(&files).unwrap();
        assert_eq!(loaded.remarks().len(), remarks, "{mode:o}: {:?}", loaded.remarks());
    }
}

#[test]
fn new_files_make_a_new_generation_or_none() {
    let (ca, other) = (authority(), authority());
    let dir = Dir::new();
    let files = files(&dir, &issued(&ca, "c/node/n1"), &ca.cert);
    let mut reload = crate::Reload::begin(files.clone()).unwrap();
    let current = reload.current().clone();
    assert!(reload.look(false).is_none() && current.generation() == 1);
    let next = issued(&ca, "c/node/n1");
    fs::write(&files.cert, &next.cert).unwrap();
    let error = reload.look(false).expect("the certificate is new").unwrap_err();
    assert_eq!((error.flag, current.generation(), current.failures()), ("--tls-key", 1, 1));
    assert!(reload.look(false).is_none(), "the same failure is told once");
    assert!(reload.look(true).expect("it is asked for").is_err());
    fs::write(&files.key, &next.key).unwrap();
    reload.look(false).expect("the key is new").unwrap();
    assert_eq!((current.generation(), current.failures()), (2, 2));
    for (path, text) in [(&files.cert, &issued(&ca, "c/node/n2").cert), (&files.ca, &other.cert)] {
        let before = fs::read(path).unwrap();
        fs::write(path, text).unwrap();
        assert!(reload.look(false).expect("it is new").is_err());
        fs::write(path, before).unwrap();
        reload.look(false).expect("it is new again").unwrap();
    }
    fs::remove_file(&files.ca).unwrap();
    assert_eq!(reload.look(false).expect("it is gone").unwrap_err().flag, "--tls-ca");
}

#[test]
fn a_process_stays_who_it_is() {
    let ca = authority();
    let current = crate::Current::from(load(&issued(&ca, "c/node/n1"), &ca.cert));
    let changed = current.changed();
    let error = current.replace(load(&issued(&ca, "c/operator/n1"), &ca.cert)).unwrap_err().to_string();
    assert!(error.contains("c/operator/n1") && current.generation() == 1, "{error}");
    current.replace(load(&issued(&ca, "c/node/n1"), &ca.cert)).unwrap();
    assert!(event_listener::Listener::wait_timeout(changed, DAY).is_some());
}

#[test]
fn whoever_was_believed_is_looked_at_again_with_the_authorities_of_now() {
    let (ca, other) = (authority(), authority());
    let dir = Dir::new();
    let shown = issued(&ca, "c/client/c1");
    let chain = [rustls::pki_types::pem::PemObject::from_pem_slice(shown.cert.as_bytes()).unwrap()];
    let (own, foreign) = (issued(&ca, "c/node/n1"), issued(&other, "c/node/n1"));
    let both = load(&own, &format!("{}{}", ca.cert, other.cert));
    let only_new = load(&foreign, &other.cert);
    let denies = files(&dir, &own, &ca.cert);
    let denies = Files { deny: Some(dir.write("deny", "client/c1")), ..denies };
    let denies = Credentials::load(&denies).unwrap();
    let now = UnixTime::now();
    assert_eq!(both.check_again(&chain, Roles::ANY, now), Ok(()));
    assert_eq!(only_new.check_again(&chain, Roles::ANY, now), Err(Refused::Authority));
    assert!(matches!(denies.check_again(&chain, Roles::ANY, now), Err(Refused::Denied(_))));
    assert!(matches!(both.check_again(&chain, Roles::ANY, later(5)), Err(Refused::Expired { .. })));
    assert!(matches!(both.check_again(&chain, Roles::NODES, now), Err(Refused::Role(..))));
}
