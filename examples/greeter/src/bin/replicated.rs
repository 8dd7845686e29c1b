//! A state of one's own on the cluster's log: settings that every node has, in
//! the same order, after restarts and on new nodes as well. Three nodes in one
//! process; what is proposed at any of them is applied at all.
//!
//! ```text
//! cargo run -p funk-greeter --bin replicated
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use funk_io::{Cluster, Options, ProposeError, Runtime as _, Sockets, StateMachine, start};
use funk_proto::NodeConfig;
use funk_proto::id::LogIndex;
use funk_tokio::Tokio;

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

/// A node, its settings, and the address at which others join it.
fn node(name: &str, join: Option<SocketAddr>) -> Result<(Cluster, Settings, SocketAddr), Box<dyn Error>> {
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let any = SocketAddr::new(ip, 0);
    let mut config = NodeConfig::new(name.parse()?, "settings".parse()?, any, any, any);
    config.bootstrap = join.is_none();
    config.join = Vec::from_iter(join);
    let sockets = Sockets::any(ip)?;
    let (door, settings) = (sockets.serf_address()?, Settings::default());
    let options = Options { state_machine: Some(Box::new(settings.clone())), ..Options::new(config, sockets) };
    Ok((start::<Tokio>(options)?, settings, door))
}

/// Proposes until it is surely applied. Setting a value twice does no harm, so it is proposed again also when nobody knows.
async fn propose(cluster: &Cluster, line: &'static str) -> Result<LogIndex, ProposeError> {
    loop {
        match cluster.propose(Bytes::from_static(line.as_bytes())).await {
            Err(ProposeError::Stopped) => return Err(ProposeError::Stopped),
            // Not a member yet, or the leader changed.
            Err(_) => Tokio::sleep(Duration::from_millis(20)).await,
            Ok(index) => return Ok(index),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (first, first_settings, door) = node("n1", None)?;
    let (second, second_settings, _) = node("n2", Some(door))?;
    Tokio::block_on(async {
        propose(&first, "colour=red").await?;
        propose(&second, "colour=green").await?;
        propose(&first, "size=large").await?;
        // It comes late, and gets what was proposed before.
        let (third, third_settings, _) = node("n3", Some(door))?;
        propose(&third, "size=small").await?;
        for (name, settings) in [("n1", first_settings), ("n2", second_settings), ("n3", third_settings)] {
            while settings.get("size").as_deref() != Some("small") {
                Tokio::sleep(Duration::from_millis(5)).await;
            }
            let (colour, size) = (settings.get("colour"), settings.get("size"));
            println!("{name}: colour {}, size {}", colour.unwrap_or_default(), size.unwrap_or_default());
        }
        Ok::<_, Box<dyn Error>>(())
    })??;
    Ok(())
}
