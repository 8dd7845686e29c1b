//! What a hop through funk is measured beside: a plain tonic server, and nginx and HAProxy in front of it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::process::Command;
use std::time::Duration;

use funk_demo::pb::demo_service_server::{DemoService, DemoServiceServer};
use funk_demo::pb::{LiffRequest, LiffResponse};
use funk_demo::words::definition;
use funk_tests::blackbox::process::{Process, installed};
use funk_tests::blackbox::{ports, wait_for};
use futures_lite::Stream;
use tonic::{Request, Response, Status, Streaming};

/// Time for a server to take its first call.
const START_MAX: Duration = Duration::from_secs(30);

/// Answers as a node of the demo does, and knows of no cluster.
#[derive(Clone, Debug)]
struct Plain;

#[tonic::async_trait]
impl DemoService for Plain {
    type ChatStream = Pin<Box<dyn Stream<Item = Result<LiffResponse, Status>> + Send>>;

    async fn liff(&self, request: Request<LiffRequest>) -> Result<Response<LiffResponse>, Status> {
        let id = request.get_ref().id;
        Ok(Response::new(LiffResponse { id, definition: definition(id).into(), node_id: "0123456789abcdef".into() }))
    }

    async fn chat(&self, _: Request<Streaming<LiffRequest>>) -> Result<Response<Self::ChatStream>, Status> {
        Err(Status::unimplemented("only single calls are measured"))
    }
}

/// Serves the demo's calls at `address` by tonic alone, until the process is ended.
///
/// # Errors
/// When the address cannot be used.
pub fn serve_plainly(address: SocketAddr) -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let server = tonic::transport::Server::builder();
    runtime.block_on(server.serve(address, DemoServiceServer::new(Plain))).map_err(|error| error.to_string())
}

/// A server in a process of its own. Dropping it ends the process.
#[derive(Debug)]
pub struct Neighbour {
    /// Where it takes calls.
    pub address: SocketAddr,
    _process: Process,
}

impl Neighbour {
    /// This program, run again as the plain server; `listen` is the flag that makes it so.
    ///
    /// # Errors
    /// When it does not start.
    pub fn plain(listen: &str, dir: &Path) -> Result<Self, String> {
        let address = ports::free()?;
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.arg(listen).arg(address.to_string());
        Self::start("plain", address, command, dir)
    }

    /// nginx in front of `server`; `None` if it is not installed.
    ///
    /// # Errors
    /// When it does not start.
    pub fn nginx(server: SocketAddr, dir: &Path) -> Result<Option<Self>, String> {
        let address = ports::free()?;
        let home = dir.display();
        let settings = format!(
            "daemon off;\nworker_processes auto;\nerror_log stderr;\npid {home}/nginx.pid;\nevents {{}}\nhttp {{\n  \
             access_log off;\n  client_body_temp_path {home};\n  upstream server {{ server {server}; keepalive 64; \
             keepalive_requests 100000000; }}\n  server {{\n    listen {address} http2;\n    keepalive_requests \
             100000000;\n    location / {{ grpc_pass grpc://server; }}\n  }}\n}}\n"
        );
        let Some(program) = installed("nginx") else { return Ok(None) };
        let file = dir.join("nginx.conf");
        fs::write(&file, settings).map_err(|error| format!("{}: {error}", file.display()))?;
        let mut command = Command::new(program);
        command.arg("-p").arg(dir).arg("-e").arg("stderr").arg("-c").arg(&file);
        Self::start("nginx", address, command, dir).map(Some)
    }

    /// HAProxy in front of `server`; `None` if it is not installed.
    ///
    /// # Errors
    /// When it does not start.
    pub fn haproxy(server: SocketAddr, dir: &Path) -> Result<Option<Self>, String> {
        let address = ports::free()?;
        let settings = format!(
            "defaults\n  mode http\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n  http-reuse always\n\
             frontend calls\n  bind {address} proto h2\n  default_backend server\nbackend server\n  server plain \
             {server} proto h2\n"
        );
        let Some(program) = installed("haproxy") else { return Ok(None) };
        let file = dir.join("haproxy.cfg");
        fs::write(&file, settings).map_err(|error| format!("{}: {error}", file.display()))?;
        let mut command = Command::new(program);
        command.arg("-db").arg("-f").arg(&file);
        Self::start("haproxy", address, command, dir).map(Some)
    }

    fn start(name: &str, address: SocketAddr, command: Command, dir: &Path) -> Result<Self, String> {
        let process = Process::start(name, command, dir)?;
        let listens = || std::net::TcpStream::connect(address).map(drop).map_err(|error| error.to_string());
        wait_for(&format!("{name} to listen at {address}"), START_MAX, listens)
            .map_err(|error| format!("{error}\n{}", process.tail()))?;
        Ok(Self { address, _process: process })
    }
}
