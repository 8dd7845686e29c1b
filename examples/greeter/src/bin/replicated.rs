//! A state of one's own on the cluster's log: settings that every node has, in
//! the same order, after restarts and on new nodes as well. Three nodes in one
//! process; what is proposed at any of them is applied at all.
//!
//! ```text
//! cargo run -p funk-greeter --bin replicated
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use funk::discovery::JoinAddress;
use funk::id::LogIndex;
use funk::{Cluster, Node, NodeBuilder, ProposeError, StateMachine};
use tokio::time::sleep;

/// Values by name. A proposal is `name=value`, a snapshot one of each on a line.
#[derive(Clone, Debug, Default)]
struct Settings(Arc<Mutex<BTreeMap<String, String>>>);

impl Settings {
    fn get(&self, name: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn set(&mut self, line: &str) {
        // What makes no sense is ignored, on every node alike.
        if let Some((name, value)) = line.split_once('=') {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.into(), value.into());
        }
    }
}

impl StateMachine for Settings {
    fn apply(&mut self, _index: LogIndex, bytes: &Bytes) {
        self.set(&String::from_utf8_lossy(bytes));
    }

    fn snapshot(&mut self) -> Bytes {
        let settings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        settings.iter().map(|(name, value)| format!("{name}={value}\n")).collect::<String>().into()
    }

    fn restore(&mut self, _index: LogIndex, state: &Bytes) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
        String::from_utf8_lossy(state).lines().for_each(|line| self.set(line));
    }
}

/// A node that begins the cluster, or joins it through `first`, and its settings.
fn node(name: &str, first: Option<&Node>) -> Result<(Node, Settings), Box<dyn Error>> {
    let settings = Settings::default();
    let node = NodeBuilder::new("settings".parse()?).name(name.parse()?).interface(Ipv4Addr::LOCALHOST.into());
    let join = first.map(|first| JoinAddress::Address(first.gossip()));
    let node = node.mdns(false).bootstrap(first.is_none()).join(join).state_machine(settings.clone());
    Ok((node.start()?, settings))
}

/// Proposes until it is surely applied. Setting a value twice does no harm, so it is proposed again also when nobody knows.
async fn propose(cluster: &Cluster, line: &'static str) -> Result<LogIndex, ProposeError> {
    loop {
        match cluster.propose(Bytes::from_static(line.as_bytes())).await {
            Err(ProposeError::Stopped) => return Err(ProposeError::Stopped),
            // Not a member yet, or the leader changed.
            Err(_) => sleep(Duration::from_millis(20)).await,
            Ok(index) => return Ok(index),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (first, first_settings) = node("n1", None)?;
    let (second, second_settings) = node("n2", Some(&first))?;
    propose(first.cluster(), "colour=red").await?;
    propose(second.cluster(), "colour=green").await?;
    propose(first.cluster(), "size=large").await?;
    // It comes late, and gets what was proposed before.
    let (third, third_settings) = node("n3", Some(&first))?;
    propose(third.cluster(), "size=small").await?;
    for (name, settings) in [("n1", first_settings), ("n2", second_settings), ("n3", third_settings)] {
        while settings.get("size").as_deref() != Some("small") {
            sleep(Duration::from_millis(5)).await;
        }
        let (colour, size) = (settings.get("colour"), settings.get("size"));
        println!("{name}: colour {}, size {}", colour.unwrap_or_default(), size.unwrap_or_default());
    }
    Ok(())
}
