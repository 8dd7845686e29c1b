//! A node of the tally on smol. Its nodes and those of `tally` are one cluster.
//!
//! ```text
//! cargo run -p funk-tally --bin tally-smol -- totals.db data1 --bootstrap     # the first node
//! cargo run -p funk-tally --bin tally-smol -- totals.db data2                 # others
//! ```
//!
//! `TALLY_WORK` is the time that each addition takes, in milliseconds.

use std::path::Path;
use std::time::Duration;

use funk::Ended;
use funk::smol::NodeBuilder;
use funk_tally::pb::tally_server::TallyServer;
use funk_tally::{Store, Tallies};

fn main() -> Result<Ended, Box<dyn std::error::Error>> {
    let _ = funk::watcher::start();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [store, data, flags @ ..] = &arguments[..] else {
        return Err("the store and a data directory are needed".into());
    };
    let work = std::env::var("TALLY_WORK").map_or(Ok(0), |work| work.parse())?;
    let tallies = Tallies::new(Store::open(Path::new(store))?, Duration::from_millis(work));
    let service = tallies.clone();
    let node = NodeBuilder::new("tally".parse()?)
        .interface([127, 0, 0, 1].into())
        .shards(100)
        .data_dir(data)
        .bootstrap(flags.iter().any(|flag| flag == "--bootstrap"))
        .shard_state(tallies)
        .service("ep.tally", Tallies::routes(), move |cluster| TallyServer::new(service.served_by(cluster.name())));
    smol::block_on(async { Ok(node.start()?.run().await) })
}
