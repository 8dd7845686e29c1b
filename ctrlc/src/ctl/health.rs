//! Whether a node's page says that it is well: for health checks where there is no curl, as in a small image.

use std::net::SocketAddr;

use clap::Args;
use funk_cli::boolean;
use funk_io::Runtime;
use funk_tls::rustls::pki_types::ServerName;
use funk_tls::{Current, Roles};
use funk_tokio::Tokio;
use futures_rustls::TlsConnector;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use serde_json::json;
use smol_hyper::rt::FuturesIo;

use super::answer::good;
use super::stage::Stage;
use super::table::Text;
use super::{Answer, Failure};

/// HTTP/1.1 in the handshake (ALPN).
const HTTP1: &[u8] = b"http/1.1";
/// Bytes of an answer that are read: a line says why a node is not ready.
const ANSWER_BYTES_MAX: usize = 4 << 10;

/// Which page is asked.
#[derive(Clone, Debug, Args)]
pub struct HealthFlags {
    /// http:// or https:// address of a node's /healthz or /readyz; a path alone is one of the page at --http-endpoint
    #[arg(value_name = "URL", default_value = "/healthz")]
    pub url: Uri,
    /// Status page of the node
    #[arg(long, env = "FUNK_HTTP_ENDPOINT", value_name = "HOST:PORT")]
    pub http_endpoint: Option<Authority>,
    /// The page at --http-endpoint has HTTPS if there is TLS
    #[arg(long, env = "FUNK_HTTP_TLS", value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", default_value = "true", action = clap::ArgAction::Set, value_parser = boolean())]
    pub http_tls: bool,
}

impl HealthFlags {
    /// The whole address.
    ///
    /// # Errors
    /// One line that names the flag.
    pub fn whole(&self, has_tls: bool) -> Result<Uri, String> {
        let url = &self.url;
        let no = || format!("{url} is no address of a page: give http://HOST:PORT/readyz, or a path such as /readyz");
        match (url.scheme(), url.authority()) {
            (Some(scheme), Some(_)) if *scheme == Scheme::HTTP => Ok(url.clone()),
            (Some(scheme), Some(_)) if *scheme == Scheme::HTTPS && has_tls => Ok(url.clone()),
            (Some(scheme), Some(_)) if *scheme == Scheme::HTTPS => {
                Err(format!("{url} needs --tls-cert, --tls-key and --tls-ca"))
            }
            (None, None) => {
                let at = self.http_endpoint.clone().ok_or("--http-endpoint is missing: give it, or a whole URL")?;
                let scheme = if has_tls && self.http_tls { Scheme::HTTPS } else { Scheme::HTTP };
                let path = url.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/healthz"));
                Uri::builder().scheme(scheme).authority(at).path_and_query(path).build().map_err(|_| no())
            }
            _ => Err(no()),
        }
    }
}

/// Asks the page; an answer other than 200 is a refusal with what it says.
pub(super) async fn ask(health: &HealthFlags, tls: Option<&Current>, stage: &Stage) -> Result<Answer, Failure> {
    let url = health.whole(tls.is_some()).map_err(Failure::Usage)?;
    let silent = |why: &dyn std::fmt::Display| Failure::Refused(format!("{url} does not answer: {why}"));
    stage.set(format!("{url} does not answer"));
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_https = url.scheme() == Some(&Scheme::HTTPS);
    let port = url.port_u16().unwrap_or(if is_https { 443 } else { 80 });
    let addresses = tokio::net::lookup_host((host, port)).await.map_err(|error| silent(&error))?;
    let mut last = silent(&"the name has no address");
    for address in addresses {
        let stream = match Tokio::connect(address).await {
            Ok(stream) => stream,
            Err(error) => {
                last = silent(&error);
                continue;
            }
        };
        let answer = match tls.filter(|_| is_https) {
            None => get(FuturesIo::new(stream), &url).await,
            Some(tls) => {
                let connector = TlsConnector::from(tls.get().connector(Roles::NODES, &[HTTP1]));
                let stream = connector.connect(name(address), stream).await;
                let stream = stream.map_err(|error| match funk_tls::why(&error) {
                    Some(refused) => silent(&refused),
                    None => silent(&error),
                })?;
                get(FuturesIo::new(stream), &url).await
            }
        };
        return told(&url, answer.map_err(|error| silent(&error))?).await;
    }
    Err(last)
}

/// What a certificate is asked for; identities are checked instead, whatever the address is.
fn name(address: SocketAddr) -> ServerName<'static> {
    ServerName::IpAddress(address.ip().into())
}

async fn get(stream: impl Read + Write + Unpin + Send + 'static, url: &Uri) -> hyper::Result<Response<Incoming>> {
    let (mut sender, connection) = http1::handshake(stream).await?;
    let host = url.authority().map_or("", Authority::as_str);
    let path = url.path_and_query().map_or("/", PathAndQuery::as_str);
    let request = Request::get(path).header(header::HOST, host).body(Empty::<Bytes>::new());
    let request = request.expect("its parts were part of a URL");
    // The connection ends by itself when its answer was read.
    tokio::spawn(connection);
    sender.send_request(request).await
}

async fn told(url: &Uri, answer: Response<Incoming>) -> Result<Answer, Failure> {
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    let said = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).trim().to_owned()).unwrap_or_default();
    if status == StatusCode::OK {
        let json = json!({ "healthy": true, "said": said });
        return Ok(good(json, Text::default().line(said)));
    }
    Err(Failure::Refused(format!("{url} says {}: {said}", status.as_u16())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(url: &str, endpoint: Option<&str>, http_tls: bool) -> HealthFlags {
        let url = url.parse().unwrap();
        HealthFlags { url, http_endpoint: endpoint.map(|at| at.parse().unwrap()), http_tls }
    }

    #[test]
    fn a_path_is_one_of_the_node_s_own_page() {
        for (url, endpoint, http_tls, has_tls, whole) in [
            ("/healthz", "10.0.0.1:8080", true, false, "http://10.0.0.1:8080/healthz"),
            ("/readyz", "10.0.0.1:8080", true, true, "https://10.0.0.1:8080/readyz"),
            ("/readyz", "[::1]:8080", false, true, "http://[::1]:8080/readyz"),
            ("http://other/readyz", "10.0.0.1:8080", true, true, "http://other/readyz"),
            ("https://other:1/readyz", "10.0.0.1:8080", false, true, "https://other:1/readyz"),
        ] {
            assert_eq!(health(url, Some(endpoint), http_tls).whole(has_tls).unwrap().to_string(), whole);
        }
    }

    #[test]
    fn what_is_no_page_is_refused_with_the_flag_that_is_missing() {
        for (url, has_tls, said) in [
            ("/readyz", false, "--http-endpoint"),
            ("https://n1/readyz", false, "--tls-cert"),
            ("ftp://n1/readyz", true, "no address of a page"),
            ("n1:80", true, "no address of a page"),
        ] {
            let why = health(url, None, true).whole(has_tls).unwrap_err();
            assert!(why.contains(said), "{url}: {why}");
        }
    }
}
