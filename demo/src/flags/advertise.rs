//! What others are told of each endpoint.

use std::net::{IpAddr, SocketAddr};

use clap::Args;
use funk_cli::{advertised, name_of};

/// What others are told, where it is not what is bound.
#[derive(Clone, Debug, Default, Args)]
pub struct AdvertiseFlags {
    /// Of every endpoint
    #[command(flatten)]
    pub all: funk_cli::AdvertiseIp,
    /// What others are told of --serf-endpoint
    #[arg(long, env = "FUNK_ADVERTISE_SERF", value_name = "HOST:PORT")]
    pub advertise_serf: Option<String>,
    /// What others are told of --raft-endpoint
    #[arg(long, env = "FUNK_ADVERTISE_RAFT", value_name = "HOST:PORT")]
    pub advertise_raft: Option<String>,
    /// What others are told of --management-endpoint
    #[arg(long, env = "FUNK_ADVERTISE_MANAGEMENT", value_name = "HOST:PORT")]
    pub advertise_management: Option<String>,
    /// What others are told of --cluster-endpoint
    #[arg(long, env = "FUNK_ADVERTISE_CLUSTER", value_name = "HOST:PORT")]
    pub advertise_cluster: Option<String>,
    /// What others are told of --liveness-endpoint
    #[arg(long, env = "FUNK_ADVERTISE_LIVENESS", value_name = "HOST:PORT")]
    pub advertise_liveness: Option<String>,
    /// What others are told of --demo-endpoint
    #[arg(long, env = "FUNK_ADVERTISE_DEMO", value_name = "HOST:PORT")]
    pub advertise_demo: Option<String>,
    /// What others are told of --http-endpoint
    #[arg(long, env = "FUNK_ADVERTISE_HTTP", value_name = "HOST:PORT")]
    pub advertise_http: Option<String>,
    /// What others are told of --metrics-endpoint
    #[arg(long, env = "FUNK_ADVERTISE_METRICS", value_name = "HOST:PORT")]
    pub advertise_metrics: Option<String>,
}

/// What others are told, with names looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advertised {
    /// For every endpoint.
    pub ip: Option<IpAddr>,
    /// By the endpoint's name.
    pub endpoints: Vec<(&'static str, SocketAddr)>,
    /// Names under which the page is reached.
    pub page_names: Vec<String>,
}

impl AdvertiseFlags {
    /// The flag of each endpoint, the endpoint's name, and what was given.
    fn each(&self) -> [(&'static str, &'static str, Option<&String>); 8] {
        [
            ("--advertise-serf", "ep.serf", self.advertise_serf.as_ref()),
            ("--advertise-raft", "ep.raft", self.advertise_raft.as_ref()),
            ("--advertise-liveness", "ep.liveness", self.advertise_liveness.as_ref()),
            ("--advertise-management", "ep.clusterfunk.management", self.advertise_management.as_ref()),
            ("--advertise-cluster", "ep.cluster", self.advertise_cluster.as_ref()),
            ("--advertise-demo", "ep.demo", self.advertise_demo.as_ref()),
            ("--advertise-http", "ep.httpConsole", self.advertise_http.as_ref()),
            ("--advertise-metrics", "ep.metrics", self.advertise_metrics.as_ref()),
        ]
    }

    /// Whether it is known what others are told of an endpoint, wherever that is bound.
    pub fn tells(&self, endpoint: &str) -> bool {
        self.all.advertise.is_some() || self.each().iter().any(|(_, name, given)| *name == endpoint && given.is_some())
    }

    /// Looks names up.
    ///
    /// # Errors
    /// One line that names the flag.
    pub fn resolve(&self) -> Result<Advertised, String> {
        let given = self.each().into_iter().filter_map(|(flag, name, given)| Some((flag, name, given?)));
        let endpoints = given.map(|(flag, name, text)| Ok((name, advertised(flag, text)?)));
        let pages = [&self.all.advertise, &self.advertise_http, &self.advertise_metrics].into_iter().flatten();
        Ok(Advertised {
            ip: self.all.ip()?,
            endpoints: endpoints.collect::<Result<_, String>>()?,
            page_names: pages.filter_map(|text| name_of(text)).map(str::to_owned).collect(),
        })
    }
}
