//! Listeners and pools over TLS, with certificates of one test.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use funk_smol::Smol;
use funk_tls::issue::{self, Issued};
use funk_tls::{Credentials, Current, Files, Identity};
use http::{Request, Response};
use tonic::body::Body;
use tower_service::Service;

use super::ServerTls;
use crate::net::BoxFuture;
use crate::pool::{Destination, SendError};
use crate::server::{Protocol, Server, serve_over};
use crate::{Pool, serve};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Answers with the caller's name.
#[derive(Clone)]
struct Named;

impl Service<Request<Body>> for Named {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let who = request.extensions().get::<Arc<Identity>>().map_or("nobody".into(), |who| who.to_string());
        let response = Response::builder().header("x-who", who).body(Body::empty());
        Box::pin(std::future::ready(Ok(response.unwrap())))
    }
}

fn authority() -> Issued {
    issue::authority(&"d".parse().unwrap(), 10 * DAY).unwrap()
}

fn credentials(ca: &Issued, believed: &str, path: &str) -> Credentials {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("funk-rpc-tls-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let own = issue::certificate(ca, &format!("spiffe://d/{path}").parse().unwrap(), DAY).unwrap();
    let write = |name: &str, text: &str| -> PathBuf {
        std::fs::write(dir.join(name), text).unwrap();
        dir.join(name)
    };
    let files =
        Files { cert: write("cert", &own.cert), key: write("key", &own.key), ca: write("ca", believed), deny: None };
    let loaded = Credentials::load(&files).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    loaded
}

fn of(ca: &Issued, path: &str) -> Current {
    credentials(ca, &ca.cert, path).into()
}

fn server(tls: ServerTls) -> Server {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    serve_over::<Smol, _>(listener, Protocol::Http2, Named, Some(tls)).unwrap()
}

async fn ask(pool: &Pool<Smol>, to: impl Into<Destination>) -> Result<String, SendError> {
    let to = to.into();
    let request = Request::post(format!("http://{}/a.B/C", to.address())).body(Body::empty()).unwrap();
    let answer = pool.send(to, request).await?;
    Ok(answer.headers()["x-who"].to_str().unwrap().to_owned())
}

fn over(tls: Current) -> Pool<Smol> {
    Pool::new().over(Some(tls))
}

#[test]
fn a_caller_is_known_by_its_certificate_and_a_member_by_its_name() {
    smol::block_on(async {
        let ca = authority();
        let at = server(ServerTls::mutual(of(&ca, "c/node/n1"))).address();
        let pool = over(of(&ca, "c/client/c1"));
        assert_eq!(ask(&pool, at).await.unwrap(), "spiffe://d/c/client/c1");
        assert_eq!(ask(&pool, Destination::member(at, "n1")).await.unwrap(), "spiffe://d/c/client/c1");
        let other = ask(&pool, Destination::member(at, "n2")).await;
        assert!(matches!(other, Err(SendError::Untrusted(funk_tls::Refused::Other { .. }))), "{other:?}");
    });
}

#[test]
fn those_who_are_not_believed_learn_why_and_nothing_is_sent() {
    smol::block_on(async {
        let (ca, foreign) = (authority(), authority());
        let server = server(ServerTls::mutual(of(&ca, "c/node/n1")));
        let at = server.address();
        let stranger = credentials(&foreign, &format!("{}{}", ca.cert, foreign.cert), "c/operator/eve");
        let error = ask(&over(stranger.into()), at).await.unwrap_err();
        assert!(matches!(&error, SendError::Unwelcome(why) if why.contains("authorities")), "{error}");
        let other = ask(&over(of(&ca, "other/operator/eve")), at).await.unwrap_err();
        assert!(matches!(other, SendError::Untrusted(funk_tls::Refused::Cluster(..))), "{other}");
        let refused = server.handshakes().unwrap().refused;
        assert_eq!(refused.get("authority"), Some(&1), "{refused:?}");
    });
}

#[test]
fn plaintext_and_tls_do_not_mix_unless_that_is_permitted() {
    smol::block_on(async {
        let ca = authority();
        let secured = server(ServerTls::mutual(of(&ca, "c/node/n1")));
        let mut plain = TcpStream::connect(secured.address()).unwrap();
        plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        let end = smol::unblock(move || (plain.read_to_end(&mut answer).is_ok(), answer).1).await;
        assert!(end.is_empty(), "{end:?}");
        assert_eq!(secured.handshakes().unwrap().refused.get("plaintext"), Some(&1));
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let plain: SocketAddr = serve::<Smol, _>(listener, Protocol::Http2, Named).unwrap().address();
        let error = ask(&over(of(&ca, "c/node/n2")), plain).await.unwrap_err();
        assert!(error.to_string().contains("does not speak TLS"), "{error}");
        let permits = Pool::<Smol>::new().over_or_plain(Some(of(&ca, "c/node/n2")), true);
        assert_eq!(ask(&permits, plain).await.unwrap(), "nobody");
        let mixed = server(ServerTls::mutual(of(&ca, "c/node/n1")).permit_plaintext(true));
        assert_eq!(ask(&Pool::new(), mixed.address()).await.unwrap(), "nobody");
        assert_eq!(ask(&permits, mixed.address()).await.unwrap(), "spiffe://d/c/node/n2");
    });
}

#[test]
fn authorities_change_in_three_steps_and_no_request_is_lost() {
    smol::block_on(async {
        let (old, new) = (authority(), authority());
        let both = format!("{}{}", old.cert, new.cert);
        let (node, caller) = (of(&old, "c/node/n1"), of(&old, "c/client/c1"));
        let at = server(ServerTls::mutual(node.clone())).address();
        let pool = over(caller.clone());
        for (signs, believed) in [(&old, &both), (&new, &both), (&new, &new.cert)] {
            for (current, path) in [(&node, "c/node/n1"), (&caller, "c/client/c1")] {
                current.replace(credentials(signs, believed, path)).unwrap();
                for _ in 0..20 {
                    assert_eq!(ask(&pool, at).await.unwrap(), "spiffe://d/c/client/c1");
                }
            }
        }
        let left_behind = over(of(&old, "c/client/c2"));
        assert!(matches!(ask(&left_behind, at).await, Err(SendError::Untrusted(_))));
    });
}
