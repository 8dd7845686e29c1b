//! What clients say over HTTP/2, good ones and others, and what operators ask for.

use funk_rpc::pb::managepb as pb;
use pb::plan_shards_request::Change;
use prost::Message;

use crate::fuzz::http2::{BY_HEADER, BY_MESSAGE, KEY, PREFACE, frame, head};
use crate::fuzz::live::{NAME, SHARDS};
use crate::fuzz::management::METHODS;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW: u8 = 8;
const CONTINUATION: u8 = 9;
const END: u8 = 1;
const END_HEADERS: u8 = 4;

/// With the preface in front.
const BEGUN: u8 = 0;
/// The preface is said, or not, in what follows.
const BARE: u8 = 1;
const UNREAD: u8 = 2;
/// In pieces of one byte, of nine, of a hundred.
const PIECES: [u8; 3] = [4, 8, 12];

fn message(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(0).to_be_bytes();
    [&[0][..], &length, bytes].concat()
}

/// Requests on the odd streams from 1 on, each of these frames.
fn many(count: u32, frames: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..count).flat_map(|number| frames(1 + 2 * number)).collect()
}

/// Inputs of `http2_connection`.
pub(super) fn connections() -> Vec<Vec<u8>> {
    let asks = head(BY_MESSAGE, &[]);
    let opens = |stream| frame(HEADERS, END_HEADERS, stream, &asks);
    let whole = |stream| [opens(stream), frame(DATA, END, stream, &message(b"k"))].concat();
    let by_header = |value| frame(HEADERS, END_HEADERS | END, 1, &head(BY_HEADER, &[(KEY, value)]));
    let setting = |id: u8, value: u32| frame(SETTINGS, 0, 0, &[&[0, id][..], &value.to_be_bytes()].concat());
    let window = |stream, by: u32| frame(WINDOW, 0, stream, &by.to_be_bytes());
    let long = "x".repeat(250);
    let long_head = head(BY_MESSAGE, &(0..8).map(|_| ("x-long", long.as_str())).collect::<Vec<_>>());
    let split = [frame(HEADERS, 0, 1, &asks[..9]), frame(CONTINUATION, END_HEADERS, 1, &asks[9..])].concat();
    let mut inputs: Vec<(u8, Vec<u8>)> = vec![
        (BARE, PREFACE.to_vec()),
        (BARE, PREFACE[..30].to_vec()),
        (BARE, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        (BARE, b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_vec()),
        (BEGUN, by_header("7")),
        (BEGUN, by_header("seven")),
        (BEGUN, opens(1)),
        (BEGUN, [opens(1), frame(DATA, 0, 1, b"\0\0\0"), frame(DATA, END, 1, b"\0\x01k")].concat()),
        (BEGUN, [opens(1), frame(DATA, END, 1, b"\x01\0\0\0\x01k")].concat()),
        (BEGUN, [opens(1), frame(DATA, 0, 1, b"\0\xff\xff\xff\xffk")].concat()),
        (BEGUN, [opens(1), frame(DATA, END, 1, &[])].concat()),
        (BEGUN, [opens(1), frame(HEADERS, END_HEADERS | END, 1, &[0, 1, b'a', 1, b'b'])].concat()),
        (BEGUN, split.clone()),
        (BEGUN, [split, frame(DATA, END, 1, &message(b"k"))].concat()),
        (BEGUN, frame(HEADERS, 0, 1, &asks)),
        (BEGUN, frame(HEADERS, END_HEADERS, 1, &long_head)),
        (
            BEGUN,
            [frame(HEADERS, 0, 1, &long_head), many(60, |_| frame(CONTINUATION, 0, 1, &[0, 1, b'a', 1, b'b']))]
                .concat(),
        ),
        (BEGUN, frame(HEADERS, END_HEADERS, 1, &[0xff, 0xff, 0xff, 0xff, 0x7f])),
        (BEGUN, frame(HEADERS, END_HEADERS, 2, &asks)),
        (BEGUN, frame(HEADERS, END_HEADERS | END, 1, &head(BY_MESSAGE, &[("grpc-timeout", "1n")]))),
        (BEGUN, frame(DATA, END, 1, &message(b"k"))),
        (BEGUN, frame(CONTINUATION, END_HEADERS, 1, &asks)),
        (BEGUN, [frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 9]), whole(1)].concat()),
        (BEGUN, many(40, |stream| [opens(stream), frame(RESET, 0, stream, &[0, 0, 0, 8])].concat())),
        (BEGUN, many(40, opens)),
        (BEGUN, many(40, whole)),
        (UNREAD, many(40, whole)),
        (UNREAD, many(60, |_| frame(PING, 0, 0, &[7; 8]))),
        (BEGUN, many(60, |_| setting(3, 1))),
        (BEGUN, [setting(4, 0), whole(1), window(1, 1), window(1, 5), window(1, 100)].concat()),
        (BEGUN, [whole(1), window(0, 0x7fff_ffff), window(0, 0x7fff_ffff)].concat()),
        (BEGUN, [setting(5, 0xff_ffff), setting(1, 0), setting(6, 1), whole(1)].concat()),
        (BEGUN, [whole(1), frame(GOAWAY, 0, 0, &[0; 8]), whole(3)].concat()),
    ];
    inputs.extend(PIECES.map(|piece| (piece, many(3, whole))));
    inputs.into_iter().map(|(how, said)| [vec![how], said].concat()).collect()
}

/// A call of the method, as it came or as another node passed it on.
fn call(method: &str, message: &impl Message) -> Vec<u8> {
    let number = METHODS.iter().position(|known| *known == method).unwrap_or(0);
    let passed_on = [0x80, 0][method.len() & 1];
    let number = u8::try_from(number).unwrap_or(0) | passed_on;
    [vec![number], message.encode_to_vec()].concat()
}

/// Inputs of `management_calls`.
pub(super) fn calls() -> Vec<Vec<u8>> {
    let range = |first, count| Some(pb::ShardRange { first, count });
    let pin = |shards, node: &str| pb::PinShardsRequest { shards, pinned_to: node.into() };
    let plan = |change| call("PlanShards", &pb::PlanShardsRequest { change });
    let weighed = |node: &str, weight, capacity| pb::AddedNode { node_id: node.into(), weight, capacity };
    let mut inputs = vec![
        call("GetStatus", &pb::GetStatusRequest {}),
        call("ListNodes", &pb::ListNodesRequest {}),
        call("ListShards", &pb::ListShardsRequest {}),
        call("ListEndpoints", &pb::ListEndpointsRequest { filter: "ep".into() }),
        call("StepDown", &pb::StepDownRequest {}),
        call("Recover", &pb::RecoverRequest {}),
        plan(None),
        plan(Some(Change::Pin(pin(range(0, 10), NAME)))),
        plan(Some(Change::Add(weighed("n9", u32::MAX, 1)))),
        plan(Some(Change::Weight(weighed(NAME, 0, 0)))),
    ];
    for node in ["", NAME, "n9", &"n".repeat(300)] {
        inputs.push(call("AddNode", &pb::AddNodeRequest { node_id: node.into() }));
        inputs.push(call("DrainNode", &pb::DrainNodeRequest { node_id: node.into() }));
        inputs.push(plan(Some(Change::Remove(node.into()))));
        inputs.push(call("PinShards", &pin(range(0, SHARDS), node)));
    }
    inputs.push(call("RemoveNode", &pb::RemoveNodeRequest { node_id: "n9".into() }));
    inputs.push(call("RemoveNode", &pb::RemoveNodeRequest { node_id: NAME.into() }));
    for shards in [None, range(0, 0), range(u32::MAX, 2), range(SHARDS, 1), range(0, u32::MAX)] {
        inputs.push(call("PinShards", &pin(shards, NAME)));
    }
    inputs
}
