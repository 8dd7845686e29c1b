//! Streams in memory, with handshakes that the test computes itself.

use std::time::Duration;

use bytes::BytesMut;
use funk_tls::rustls::pki_types::UnixTime;
use funk_tls::{Credentials, Current, Identity, Refused, Roles, TrustDomain, issue};

use super::failure::Failure;
use super::handshake::{Handshake, Shaken, State, Stepped, step, whole_records};
use super::session::Session;
use super::worker::Slot;
use crate::meters::TLS_REASONS;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn authority() -> issue::Issued {
    let domain: TrustDomain = "example.org".parse().unwrap();
    issue::authority(&domain, DAY).unwrap()
}

fn identity(path: &str) -> Identity {
    format!("spiffe://example.org/{path}").parse().unwrap()
}

fn credentials(path: &str, of: &issue::Issued, believed: &[&issue::Issued]) -> Credentials {
    let own = issue::certificate(of, &identity(path), DAY).unwrap();
    issue::credentials(&own, believed, "").unwrap()
}

fn dial(of: &Credentials) -> Handshake {
    Handshake::Dial(of.connector(Roles::NODES, &[b"test"]))
}

fn accept(of: &Credentials) -> Handshake {
    Handshake::Accept(of.acceptor(Roles::NODES, &[b"test"]))
}

/// What each side has come to when both are quiet.
fn shake(dialler: Handshake, acceptor: Handshake) -> [Result<Shaken, Failure>; 2] {
    let mut sides = [Some(dialler), Some(acceptor)];
    let mut results = [None, None];
    let mut wire = Vec::new();
    for turn in 0..8 {
        let here = turn % 2;
        let Some(handshake) = sides[here].take() else { continue };
        let Stepped { send, state } = step(handshake, &wire);
        wire = send;
        match state {
            State::Going(connection) => sides[here] = Some(Handshake::Going(connection)),
            State::Over(shaken) => results[here] = Some(Ok(*shaken)),
            State::Failed(failure) => results[here] = Some(Err(failure)),
        }
    }
    // A dialler that is through hears of a refusal later.
    results.map(|result| result.expect("both came to an end"))
}

fn sessions(one: &Credentials, two: &Credentials) -> [Session; 2] {
    shake(dial(one), accept(two))
        .map(|shaken| Session::new(shaken.unwrap(), Slot::new(std::task::Waker::noop().clone())).0)
}

#[test]
fn both_ends_learn_who_the_other_is_and_share_a_secret_of_this_stream() {
    let ca = authority();
    let (one, two) = (credentials("c/node/n1", &ca, &[&ca]), credentials("c/node/n2", &ca, &[&ca]));
    let [of_one, of_two] = shake(dial(&one), accept(&two)).map(Result::unwrap);
    assert_eq!((&of_one.identity, &of_two.identity), (two.identity(), one.identity()));
    assert_eq!(of_one.exporter, of_two.exporter);
    let [again, _] = shake(dial(&one), accept(&two)).map(Result::unwrap);
    assert_ne!(of_one.exporter, again.exporter, "another stream has another one");
}

#[test]
fn who_is_not_believed_is_refused_and_is_told_by_an_alert() {
    let (ca, other) = (authority(), authority());
    let own = credentials("c/node/n1", &ca, &[&ca]);
    // One that believes us, so that its own certificate is what fails.
    let stranger = credentials("c/node/n2", &other, &[&ca, &other]);
    let [dialler, acceptor] = shake(dial(&own), accept(&stranger));
    assert_eq!(dialler.unwrap_err(), Failure::Refused(Refused::Authority));
    assert!(matches!(acceptor.unwrap_err(), Failure::Alert(_)));
    let operator = credentials("c/operator/eve", &ca, &[&ca]);
    let [_, acceptor] = shake(dial(&operator), accept(&own));
    assert_eq!(acceptor.unwrap_err().reason(), "role");
    let elsewhere = credentials("d/node/n2", &ca, &[&ca]);
    let [dialler, _] = shake(dial(&own), accept(&elsewhere));
    assert_eq!(dialler.unwrap_err().reason(), "cluster");
}

#[test]
fn what_is_no_tls_ends_a_handshake() {
    let ca = authority();
    let own = credentials("c/node/n1", &ca, &[&ca]);
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x16, 3, 1, 0xff, 0xff, 0], &[0; 40]] {
        let Stepped { state, .. } = step(accept(&own), bytes);
        assert!(matches!(state, State::Failed(_)), "{bytes:?}: {state:?}");
    }
}

#[test]
fn a_stream_carries_bytes_both_ways_however_they_are_cut() {
    let ca = authority();
    let (one, two) = (credentials("c/node/n1", &ca, &[&ca]), credentials("c/node/n2", &ca, &[&ca]));
    let [mut one, mut two] = sessions(&one, &two);
    let sent: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    for piece in [1, 1_000, 100_000] {
        let (mut from, mut heard) = (&sent[..], Vec::new());
        while !from.is_empty() {
            from = &from[one.seal(from)..];
            let sealed = one.sealed().to_vec();
            assert!(sealed.len() <= 2 * crate::limits::SEALED_BYTES_MAX, "{}", sealed.len());
            one.written(sealed.len());
            for bytes in sealed.chunks(piece) {
                assert_eq!(two.open(bytes, |plain| heard.extend_from_slice(plain)), Ok(false));
            }
        }
        assert!(heard == sent);
        std::mem::swap(&mut one, &mut two);
    }
    one.end();
    assert_eq!(two.open(one.sealed(), |_| panic!("nothing was said")), Ok(true), "it ended in order");
}

#[test]
fn what_is_bent_on_its_way_ends_a_stream() {
    let ca = authority();
    let (one, two) = (credentials("c/node/n1", &ca, &[&ca]), credentials("c/node/n2", &ca, &[&ca]));
    let [mut one, mut two] = sessions(&one, &two);
    one.seal(b"said");
    let mut bent = one.sealed().to_vec();
    *bent.last_mut().unwrap() ^= 1;
    assert!(matches!(two.open(&bent, |_| panic!("it is believed")), Err(Failure::Tls(_))));
}

#[test]
fn a_stream_is_looked_at_again_by_the_authorities_and_denials_of_now() {
    let (old, new) = (authority(), authority());
    let own = issue::certificate(&new, &identity("c/node/n1"), DAY).unwrap();
    let peer = credentials("c/node/n2", &old, &[&old, &new]);
    let both = issue::credentials(&own, &[&old, &new], "").unwrap();
    let [session, _] = shake(dial(&both), accept(&peer)).map(Result::unwrap);
    let chain = session.connection.peer_certificates().unwrap().to_vec();
    let current = Current::from(both);
    let checked = |current: &Current| current.get().check_again(&chain, Roles::NODES, UnixTime::now());
    assert_eq!(checked(&current), Ok(()));
    for (believed, denied, reason) in [(&[&new][..], "", "authority"), (&[&old, &new], "node/n2", "denied")] {
        current.replace(issue::credentials(&own, believed, denied).unwrap()).unwrap();
        assert_eq!(checked(&current).unwrap_err().reason(), reason);
    }
}

#[test]
fn records_are_handed_on_whole() {
    let record = |length: u8| [&[0x16, 3, 3, 0, length][..], &vec![7; usize::from(length)]].concat();
    let bytes = [record(3), record(0), record(200)].concat();
    for (length, whole) in [(0, 0), (4, 0), (7, 0), (8, 8), (12, 8), (13, 13), (14, 13), (217, 13), (218, 218)] {
        assert_eq!(whole_records(&BytesMut::from(&bytes[..length])), whole, "{length}");
    }
    assert_eq!(whole_records(&[0x16, 3, 3, 0xff, 0xff, 1]), 6, "one that is too long is for the worker to refuse");
}

#[test]
fn each_reason_is_counted_under_its_own_name() {
    let identity = identity("c/node/n1");
    let refused = [
        Refused::Malformed(String::new()),
        Refused::Expired { ended: 0, now: 1 },
        Refused::NotYetValid { begins: 1, now: 0 },
        Refused::Authority,
        Refused::NoIdentity,
        Refused::Domain(Box::new(identity.clone()), "example.org".parse().unwrap()),
        Refused::Cluster(Box::new(identity.clone()), "c".parse().unwrap()),
        Refused::Role(Box::new(identity.clone()), Roles::NODES),
        Refused::Other { shown: Box::new(identity.clone()), expected: Box::new(identity) },
        Refused::Denied(String::new()),
        Refused::Tls(String::new()),
    ];
    let others = [
        Failure::NoCertificate,
        Failure::Alert(String::new()),
        Failure::OtherTransport,
        Failure::NotTls,
        Failure::Plaintext,
        Failure::TimedOut,
        Failure::Oversized,
        Failure::Ended,
        Failure::Crowded,
    ];
    let mut seen: Vec<&str> = refused.into_iter().map(Failure::Refused).chain(others).map(|it| it.reason()).collect();
    seen.sort_unstable();
    let mut known = TLS_REASONS.to_vec();
    known.sort_unstable();
    assert_eq!(seen, known);
}
