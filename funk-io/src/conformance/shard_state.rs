//! Shards that an application acquires before they are served.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use event_listener::Event as Notify;
use funk_proto::id::{Epoch, ShardId};
use funk_proto::shards::Place;

use super::{LOOPBACK, node, run};
use crate::runtime::Runtime;
use crate::{AcquireError, Cluster, NotOwnerReason, Options, ShardState, Sockets, StartError, start};

/// The shard whose first acquisition fails.
const UNLUCKY: ShardId = ShardId(1);

#[derive(Debug, Default)]
struct Seen {
    /// May acquisitions end?
    is_open: bool,
    acquired: BTreeMap<ShardId, (Epoch, Option<Bytes>)>,
    released: BTreeMap<ShardId, Epoch>,
    lost: BTreeMap<ShardId, Epoch>,
    failures: usize,
}

#[derive(Clone, Debug, Default)]
struct Kept(Arc<(Mutex<Seen>, Notify)>);

impl Kept {
    fn change<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> T {
        let result = change(&mut self.0.0.lock().expect("nobody panics with it"));
        self.0.1.notify(usize::MAX);
        result
    }

    async fn until(&self, is_so: impl Fn(&Seen) -> bool) {
        loop {
            let changed = self.0.1.listen();
            if self.look(&is_so) {
                return;
            }
            changed.await;
        }
    }

    fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.0.0.lock().expect("nobody panics with it"))
    }
}

impl ShardState for Kept {
    async fn acquire(&self, shard: ShardId, epoch: Epoch, handed: Option<Bytes>) -> Result<(), AcquireError> {
        self.until(|seen| seen.is_open).await;
        self.change(|seen| {
            if shard == UNLUCKY && seen.failures == 0 {
                seen.failures += 1;
                return Err("the store is not there".into());
            }
            seen.acquired.insert(shard, (epoch, handed));
            Ok(())
        })
    }

    async fn release(&self, shard: ShardId, epoch: Epoch) -> Option<Bytes> {
        self.change(|seen| seen.released.insert(shard, epoch));
        Some(state(shard, epoch))
    }

    fn lost(&self, shard: ShardId, epoch: Epoch) {
        self.change(|seen| seen.lost.insert(shard, epoch));
    }
}

fn state(shard: ShardId, epoch: Epoch) -> Bytes {
    format!("{shard} under {epoch}").into()
}

fn keeping<R: Runtime>(name: &str, kept: &Kept, change: impl FnOnce(&mut funk_proto::NodeConfig)) -> Cluster {
    let mut config = node::config(name);
    node::be_patient(&mut config);
    change(&mut config);
    let sockets = Sockets::any(LOOPBACK).expect("loopback has free ports");
    start::<R>(Options::new(config, sockets).with_shard_state(kept.clone())).expect("the node starts")
}

/// A shard is served when it was acquired, whatever that takes, with what its previous owner gave.
pub fn a_shard_is_acquired_before_it_is_served<R: Runtime>() {
    run::<R>(async {
        let (old, new) = (Kept::default(), Kept::default());
        let first = keeping::<R>("first", &old, |config| config.bootstrap = true);
        let mut watch = first.watch();
        while !matches!(first.routes().place(ShardId(0)), Place::Here(_)) {
            watch.changed().await;
        }
        assert_eq!(first.guard(ShardId(0)).expect_err("nothing is acquired").why, NotOwnerReason::Acquiring);
        old.change(|seen| seen.is_open = true);
        old.until(|seen| seen.acquired.len() == 60).await;
        node::serving(&first).await;
        assert_eq!(old.change(|seen| seen.failures), 1, "it was tried again");

        let contact = node::address(&first, "ep.serf").await;
        new.change(|seen| seen.is_open = true);
        let second = keeping::<R>("second", &new, |config| config.join = vec![contact]);
        new.until(|seen| seen.acquired.len() == 30).await;
        let given = old.change(|seen| std::mem::take(&mut seen.released));
        let came = new.change(|seen| seen.acquired.clone());
        assert_eq!(given.len(), 30);
        for (shard, before) in given {
            let (epoch, handed) = &came[&shard];
            assert_eq!(handed.as_ref(), Some(&state(shard, before)));
            assert!(*epoch > before);
            assert_eq!(second.routes().owner(shard).expect("a shard").1, *epoch);
        }
        assert!(old.change(|seen| seen.lost.is_empty()), "what was released is not lost as well");

        // Whoever stops without leaving loses what it has.
        drop(second);
        new.until(|seen| seen.lost.len() == 30).await;
        old.until(|seen| seen.acquired.values().filter(|(_, handed)| handed.is_none()).count() == 60).await;
    });
}

/// A shard that goes before it was acquired takes along what came with it.
pub fn a_shard_that_goes_before_it_was_acquired_takes_its_state_along<R: Runtime>() {
    run::<R>(async {
        let (old, new) = (Kept::default(), Kept::default());
        old.change(|seen| seen.is_open = true);
        let first = keeping::<R>("first", &old, |config| config.bootstrap = true);
        old.until(|seen| seen.acquired.len() == 60).await;
        let contact = node::address(&first, "ep.serf").await;
        let second = keeping::<R>("second", &new, |config| config.join = vec![contact]);
        old.until(|seen| seen.released.len() == 30).await;
        let mut watch = second.watch();
        let here = |cluster: &Cluster| {
            let routes = cluster.routes();
            (0..60).filter(|shard| matches!(routes.place(ShardId(*shard)), Place::Here(_))).count()
        };
        while here(&second) < 30 {
            watch.changed().await;
        }
        let given = old.change(|seen| std::mem::take(&mut seen.released));
        second.leave().await.expect("it leaves in order");
        let back = |seen: &Seen| given.keys().all(|shard| seen.acquired[shard].0 > given[shard]);
        old.until(back).await;
        old.change(|seen| {
            for (shard, before) in &given {
                assert_eq!(seen.acquired[shard].1.as_ref(), Some(&state(*shard, *before)), "{shard}");
            }
        });
        assert!(new.change(|seen| seen.acquired.is_empty() && seen.released.is_empty()));
    });
}

/// Two duties of one kind are refused.
pub fn a_handover_beside_a_shard_state_is_refused<R: Runtime>() {
    run::<R>(async {
        let sockets = Sockets::any(LOOPBACK).expect("loopback has free ports");
        let options = Options::new(node::config("both"), sockets).with_shard_state(Kept::default());
        let error = start::<R>(options.with_handover(|_| None)).expect_err("one is too many");
        assert!(matches!(error, StartError::HandoverAndShardState), "{error}");
    });
}
