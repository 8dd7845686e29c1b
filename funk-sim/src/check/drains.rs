//! Drains: no shard is released while a request in hand may still have an effect on it.

use funk_proto::state::set;
use funk_proto::wire::cluster::FrameBody;

use crate::checker::{Checker, Scene, Verdict};

/// A shard is released when nobody inside has a right to it any more.
#[derive(Debug, Default)]
pub struct Drains;

impl Checker for Drains {
    fn name(&self) -> &'static str {
        "drains"
    }

    fn on_frame(&mut self, scene: Scene<'_>, at: usize, frame: &FrameBody) -> Verdict {
        let FrameBody::Release(release) = frame else { return Ok(()) };
        let host = &scene.hosts[at];
        let count = host.node().map_or(0, |node| node.routes().shards());
        let shards = set::decode(&release.shards, count).ok_or("a release without legible shards")?;
        match host.serves_one_of(scene.now, &shards) {
            None => Ok(()),
            Some(shard) => Err(format!("{} releases shard {shard} with a request inside", scene.name(at))),
        }
    }
}
