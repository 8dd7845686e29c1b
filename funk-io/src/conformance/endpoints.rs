//! Endpoints of other nodes, through the real driver.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use bytes::Bytes;
use funk_proto::wire::gossip::{NodeRecord, NodeState, PushPull, SerfState, encode_tags};
use funk_proto::{EndpointEvent, Participation, limits};

use super::{LOOPBACK, node, run};
use crate::runtime::Runtime;
use crate::{Endpoints, Stopped};

fn at(port: u16) -> SocketAddr {
    SocketAddr::new(LOOPBACK, port)
}

async fn next(endpoints: &mut Endpoints) -> EndpointEvent {
    endpoints.next().await.expect("the node runs")
}

/// A watcher is told where another member's endpoints are, that they moved and
/// that they are gone, with the member or before it.
pub fn endpoints_are_followed<R: Runtime>() {
    run::<R>(async {
        let first = node::node::<R>("first", |config| config.bootstrap = true);
        let contact = node::address(&first, "ep.serf").await;
        let mut demo = first.endpoints_watch(Some("ep.demo"));
        let second = node::node::<R>("second", |config| {
            config.join = vec![contact];
            // The first stays a majority without it.
            config.participation = Participation::Learner;
            config.endpoints = [("ep.demo".to_owned(), at(1))].into();
        });
        let (node, name) = (|| "second".into(), || "ep.demo".to_owned());
        assert_eq!(next(&mut demo).await, EndpointEvent::Added { node: node(), name: name(), addr: at(1) });
        second.set_endpoint("ep.demo", Some(at(2))).expect("a legal name");
        let (addr, before) = (at(2), at(1));
        assert_eq!(next(&mut demo).await, EndpointEvent::Changed { node: node(), name: name(), addr, before });
        second.set_endpoint("ep.demo", None).expect("a legal name");
        assert_eq!(next(&mut demo).await, EndpointEvent::Removed { node: node(), name: name(), addr });
        second.set_endpoint("ep.demo", Some(at(3))).expect("a legal name");
        assert_eq!(next(&mut demo).await, EndpointEvent::Added { node: node(), name: name(), addr: at(3) });

        let mut all = first.endpoints_watch(None);
        assert!(matches!(next(&mut all).await, EndpointEvent::Added { .. }));
        drop(second);
        assert_eq!(next(&mut demo).await, EndpointEvent::Removed { node: node(), name: name(), addr: at(3) });
        while !matches!(next(&mut all).await, EndpointEvent::Removed { .. }) {}
        assert_eq!(first.all_endpoints().get("second", "ep.demo"), None);
        assert_eq!(first.all_endpoints().get("first", "ep.serf"), Some(contact));
        drop(first);
        assert_eq!(demo.next().await, Err(Stopped));
    });
}

/// Endpoints that do not fit into gossip's tags reach the other members all the same.
pub fn more_endpoints_than_tags_hold_are_seen<R: Runtime>() {
    run::<R>(async {
        let first = node::node::<R>("first", |config| config.bootstrap = true);
        let contact = node::address(&first, "ep.serf").await;
        let second = node::node::<R>("second", |config| config.join = vec![contact]);
        let names: BTreeSet<String> = (0..limits::ENDPOINTS_MAX).map(|n| format!("ep.{n:0>40}")).collect();
        let mut seen = first.endpoints_watch(None);
        for name in &names {
            second.set_endpoint(name, Some(at(7))).expect("few enough");
        }
        let mut missing = names;
        while !missing.is_empty() {
            if let EndpointEvent::Added { node, name, .. } = next(&mut seen).await
                && *node == *"second"
            {
                missing.remove(&name);
            }
        }
    });
}

/// What gossip alone knows of is watched too: here something that speaks Serf,
/// until gossip finds that nobody is there.
pub fn endpoints_of_a_foreign_agent_are_seen<R: Runtime>() {
    run::<R>(async {
        let cluster = node::alone::<R>();
        let contact = node::address(&cluster, "ep.serf").await;
        let tags = [("ep.web", "127.0.0.1:80"), ("ep.odd", "no address"), ("role", "web")];
        let meta = encode_tags(&tags.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        let nodes = vec![NodeRecord::new(b"agent_1", at(9), meta, 1, NodeState::Alive)];
        let push_pull = PushPull { join: true, nodes, user_state: SerfState::default().encode() };
        let mut web = cluster.endpoints_watch(Some("ep.web"));
        let mut stream = TcpStream::connect(contact).expect("it listens");
        stream.write_all(&push_pull.encode()).expect("it reads");
        let added = EndpointEvent::Added { node: "agent_1".into(), name: "ep.web".into(), addr: at(80) };
        assert_eq!(next(&mut web).await, added);
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("it answers, then ends");
        assert!(PushPull::decode(&Bytes::from(answer)).expect("a push/pull").join);
        assert_eq!(cluster.all_endpoints().get("agent_1", "ep.odd"), None);
        let removed = EndpointEvent::Removed { node: "agent_1".into(), name: "ep.web".into(), addr: at(80) };
        assert_eq!(next(&mut web).await, removed);
    });
}
