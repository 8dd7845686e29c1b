//! A node of a version that shares no version of the cluster's protocol.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use bytes::BytesMut;
use funk_proto::wire::cluster::{Frame, FrameBody, Hello, REASON_VERSION, Refused};
use funk_proto::wire::frame;
use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS};
use funk_tests::blackbox::{Tested, wait_for};

#[test]
fn a_peer_without_a_common_version_is_refused_and_both_sides_can_say_whom_to_upgrade() -> Tested {
    let mut cluster = DemoCluster::start("version", 2)?;
    let live = cluster.live();
    let before = cluster.converged(GENEROUS)?;
    let name = cluster.name().to_owned();
    for (oldest, newest, words) in [
        (3, 4, "this node speaks version 2 of the cluster's protocol, the peer versions 3 to 4; upgrade this node"),
        (7, 7, "this node speaks version 2 of the cluster's protocol, the peer version 7; upgrade this node"),
    ] {
        for (&node, status) in live.iter().zip(&before) {
            let address = status.members[&status.node_id].endpoints["ep.raft"];
            let hello = Hello {
                cluster_name: name.clone(),
                id: 77,
                boot: 78,
                name: "later".into(),
                raft: "127.0.0.1:9".into(),
                liveness: "127.0.0.1:9".into(),
                oldest,
                newest,
                ..Hello::default()
            };
            let FrameBody::Refused(refused) = ask(address, FrameBody::Hello(hello))? else {
                return Err("it is answered with something else than a refusal".into());
            };
            let Refused { reason, oldest, newest, .. } = refused;
            assert_eq!((reason, oldest, newest), (REASON_VERSION, 2, 2));
            let log = cluster.nodes[node].process.log().to_owned();
            wait_for("the node to say why", GENEROUS, || {
                let text = std::fs::read_to_string(&log).map_err(|error| error.to_string())?;
                if text.contains(words) { Ok(()) } else { Err(format!("{words:?} is not in its log:\n{text}")) }
            })?;
        }
    }
    let after = cluster.converged(GENEROUS)?;
    assert_eq!(after[0].members.len(), before[0].members.len(), "nobody was taken in");
    Ok(())
}

/// Says one thing on a new stream and reads the first answer that comes.
fn ask(address: SocketAddr, body: FrameBody) -> Result<FrameBody, funk_tests::blackbox::Failure> {
    let mut stream = TcpStream::connect_timeout(&address, GENEROUS)?;
    stream.set_read_timeout(Some(GENEROUS))?;
    let mut out = BytesMut::new();
    frame::encode(&Frame::bytes(body), &mut out);
    stream.write_all(&out)?;
    let (mut buffer, mut piece) = (BytesMut::new(), [0; 1024]);
    loop {
        if let Some(payload) = frame::decode(&mut buffer).map_err(|bad| bad.to_string())? {
            return Ok(Frame::parse(&payload).map_err(|what| what.to_string())?);
        }
        match stream.read(&mut piece)? {
            0 => return Err("the stream ends without an answer".into()),
            count => buffer.extend_from_slice(&piece[..count]),
        }
    }
}
