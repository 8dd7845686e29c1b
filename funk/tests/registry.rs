//! A node's measures in a registry of prometheus-client.

use std::net::Ipv4Addr;

use funk::NodeBuilder;
use funk::metrics::{Measured, Value};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

#[tokio::test]
async fn a_registry_shows_every_family_with_the_values_of_the_page() {
    let node = NodeBuilder::new("registry".parse().expect("a legal name")).name("n1".parse().expect("a legal name"));
    let node = node.interface(Ipv4Addr::LOCALHOST.into()).mdns(false).start().expect("it starts");
    let mut registry = Registry::default();
    let measured = Measured::register(&mut registry);
    measured.update(&node).await.expect("it runs");
    let mut text = String::new();
    encode(&mut text, &registry).expect("a string takes it");
    let families = node.metrics().await.expect("it runs");
    assert!(families.len() > 50);
    for family in &families {
        let name = family.name.trim_end_matches("_total");
        assert!(text.contains(&format!("# TYPE {name} ")), "{name}:\n{text}");
    }
    assert!(text.contains("funk_elections_total{node=\"n1\"} 0"), "{text}");
    assert!(text.contains("funk_state{node=\"n1\",state=\"Joining\"}"), "{text}");
    let margin = families.iter().find(|family| family.name == "funk_lease_margin_seconds").expect("it is there");
    assert!(matches!(margin.samples[0].value, Value::Durations(_)));
    assert!(text.contains("funk_lease_margin_seconds_bucket{le=\"+Inf\",node=\"n1\"} 0"), "{text}");
}
