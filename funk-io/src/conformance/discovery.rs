//! Nodes that find others through sources.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_channel::Receiver;
use funk_proto::Event as NodeEvent;

use super::{node, run};
use crate::discovery::{Found, Next, Source};
use crate::runtime::Runtime;
use crate::{Cluster, Discovery, DiscoveryEvent, Event, Events, StopReason};

/// A source that tells what the test hands it.
struct Told {
    findings: Receiver<Found>,
    dropped: Arc<AtomicBool>,
}

impl Source for Told {
    fn name(&self) -> String {
        "the test".into()
    }

    fn next(&mut self) -> Next<'_> {
        Box::pin(async {
            match self.findings.recv().await {
                Ok(found) => found,
                Err(_) => std::future::pending().await,
            }
        })
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::SeqCst);
    }
}

/// A node tells what its sources find and what they cannot, joins through it,
/// and has let go of them when it has stopped.
pub fn a_node_joins_through_what_its_sources_find<R: Runtime>() {
    run::<R>(async {
        let first = node::node::<R>("first", |config| config.bootstrap = true);
        let contact = node::address(&first, "ep.serf").await;
        let (sender, findings) = async_channel::unbounded();
        let dropped = Arc::new(AtomicBool::new(false));
        let source = Told { findings, dropped: Arc::clone(&dropped) };
        let discovery = Discovery { sources: vec![Box::new(source)], ..Discovery::default() };
        let second = node::finding_node::<R>("second", discovery, |_| {});
        let mut events = second.events();

        sender.try_send(Found::Failed { why: "not yet".into() }).expect("the source listens");
        until(
            &mut events,
            |event| matches!(event, Event::Discovery(DiscoveryEvent::Failed { reason, .. }) if reason == "not yet"),
        )
        .await;
        let nobody = SocketAddr::new(contact.ip(), 1);
        sender.try_send(up("wrong", nobody)).expect("the source listens");
        until(
            &mut events,
            |event| matches!(event, Event::Node(NodeEvent::JoinFailed { address, .. }) if *address == nobody),
        )
        .await;
        sender.try_send(up("right", contact)).expect("the source listens");
        until(
            &mut events,
            |event| matches!(event, Event::Discovery(DiscoveryEvent::Found { addresses, .. }) if *addresses == [contact]),
        )
        .await;
        node::serving_some(&second).await;

        assert!(!dropped.load(Ordering::SeqCst));
        second.leave().await.expect("it leaves");
        assert_eq!(second.stopped().await, StopReason::Left);
        assert!(dropped.load(Ordering::SeqCst), "a source is dropped before the node has stopped");
        drop::<Cluster>(first);
    });
}

fn up(instance: &str, address: SocketAddr) -> Found {
    Found::Up { instance: instance.into(), node: None, addresses: vec![address] }
}

async fn until(events: &mut Events, wanted: impl Fn(&Event) -> bool) {
    while !wanted(&events.next().await.expect("it runs")) {}
}
