//! What is written is read back as it was, whatever it is.

#![allow(clippy::unwrap_used, reason = "helpers of a test fail as the test does")]

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use funk_proto::id::{BootId, ClusterId, LogIndex, RaftId, ShardId, Term};
use funk_proto::limits::{DRIFT_PPM_MAX, LEASE_MAX, TAG_BYTES_MAX};

use funk_proto::state::{ClusterValues, State, set, snapshot};
use funk_proto::wire::cluster::{
    BootName, Command, DownRecord, Frame, FrameBody, Hello, MemberRecord, Op, Operation, PinRecord, Place, Refused,
    Release, Transfer, UserEntry, Weight,
};
use funk_proto::wire::gossip::{NodeRecord, NodeState, PushPull, SerfState, StreamDecoder, decode_tags, encode_tags};
use funk_proto::wire::liveness::{Body, Grant, Header, Key, open, seal};
use funk_proto::wire::raft::{RaftEntry, RaftMessage, RaftRecord, SnapshotChunk, SnapshotMeta};
use funk_proto::wire::{frame, varint};
use funk_proto::{Ownership, Timestamp};
use proptest::prelude::*;
use prost::Message;

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn boot_name() -> impl Strategy<Value = BootName> {
    (any::<u64>(), any::<u64>()).prop_map(|(id, boot)| BootName { id, boot })
}

fn record() -> impl Strategy<Value = MemberRecord> {
    let endpoints = prop::collection::btree_map("ep\\.[a-z]{1,9}", "[0-9.:]{0,12}", 0..4);
    (any::<[u64; 2]>(), any::<[String; 4]>(), endpoints, any::<([u32; 2], String, bool, bool, bool)>()).prop_map(
        |([id, boot], [name, serf, raft, liveness], endpoints, (numbers, zone, never_votes, non_member, durable))| {
            MemberRecord {
                id,
                boot,
                name,
                serf,
                raft,
                liveness,
                endpoints,
                weight: numbers[0],
                zone,
                never_votes,
                non_member,
                durable,
                capacity: numbers[1],
                former: vec![id; usize::from(durable)],
                answered: id,
            }
        },
    )
}

fn hello() -> impl Strategy<Value = Hello> {
    (any::<[u64; 3]>(), any::<[String; 4]>(), [bytes(), bytes(), bytes()], any::<[u32; 2]>()).prop_map(
        |([cluster, id, boot], [cluster_name, name, raft, liveness], [key, token, proof], [oldest, newest])| Hello {
            cluster_name,
            cluster,
            id,
            boot,
            name,
            raft,
            liveness,
            key,
            oldest,
            newest,
            token,
            proofs: vec![proof],
        },
    )
}

fn entry() -> impl Strategy<Value = RaftEntry> {
    (0..2i32, any::<u64>(), any::<u64>(), bytes()).prop_map(|(kind, term, index, data)| RaftEntry {
        kind,
        term,
        index,
        data,
    })
}

fn meta() -> impl Strategy<Value = SnapshotMeta> {
    let ids = || prop::collection::vec(any::<u64>(), 0..4);
    (any::<(u64, u64, bool)>(), ids(), ids(), ids(), ids()).prop_map(
        |((index, term, auto_leave), voters, learners, voters_outgoing, learners_next)| SnapshotMeta {
            index,
            term,
            voters,
            learners,
            voters_outgoing,
            learners_next,
            auto_leave,
        },
    )
}

fn raft() -> impl Strategy<Value = RaftMessage> {
    let chunk = (prop::option::of(meta()), any::<u64>(), bytes(), any::<bool>())
        .prop_map(|(meta, offset, data, last)| SnapshotChunk { meta, offset, data, last });
    let rest = (prop::collection::vec(entry(), 0..4), prop::option::of(chunk), any::<(bool, bool, Option<u64>)>());
    (0..10i32, any::<[u64; 6]>(), rest).prop_map(
        |(kind, [term, log_term, index, commit, commit_term, reject_hint], (entries, snapshot, flags))| RaftMessage {
            kind,
            term,
            log_term,
            index,
            entries,
            commit,
            commit_term,
            reject: flags.0,
            reject_hint,
            transfer: flags.1,
            snapshot,
            promise_rem_nanos: flags.2,
        },
    )
}

fn user() -> impl Strategy<Value = UserEntry> {
    (any::<[u64; 3]>(), bytes(), any::<bool>()).prop_map(|([id, boot, request], bytes, barrier)| UserEntry {
        id,
        boot,
        request,
        bytes,
        barrier,
    })
}

fn body() -> impl Strategy<Value = FrameBody> {
    let refused = any::<(u32, [String; 2], u64, u64, u64, u32, u32)>().prop_map(
        |(reason, [name, address], cluster, boot, generation, oldest, newest)| Refused {
            oldest,
            newest,
            generation,
            reason,
            name,
            cluster,
            boot,
            address,
        },
    );
    let release =
        (any::<[u64; 3]>(), bytes()).prop_map(|([id, boot, change], shards)| Release { id, boot, change, shards });
    prop_oneof![
        hello().prop_map(FrameBody::Hello),
        refused.clone().prop_map(FrameBody::Refused),
        raft().prop_map(FrameBody::Raft),
        record().prop_map(FrameBody::Join),
        refused.prop_map(FrameBody::JoinRefused),
        boot_name().prop_map(FrameBody::Leave),
        boot_name().prop_map(FrameBody::Farewell),
        boot_name().prop_map(FrameBody::Gone),
        (any::<u64>(), ".{0,30}").prop_map(|(id, raft)| FrameBody::LeaderAt(Place { id, raft })),
        release.prop_map(FrameBody::Release),
        user().prop_map(FrameBody::Propose),
        user().prop_map(FrameBody::ProposeRefused),
        record().prop_map(FrameBody::Update),
    ]
}

fn grant() -> impl Strategy<Value = Grant> {
    (any::<u64>(), 0..u64::MAX / 1_000).prop_map(|(echo, length)| Grant { echo, length: Duration::from_micros(length) })
}

fn datagram() -> impl Strategy<Value = Body> {
    let lease_us = 1..=u64::try_from(LEASE_MAX.as_micros()).unwrap();
    let beat = (any::<[u64; 2]>(), lease_us, 0..=DRIFT_PPM_MAX, prop::option::of(grant()));
    let beat = beat.prop_map(|([term, commit], lease, drift_ppm, grant)| Body::Heartbeat {
        term: Term(term),
        commit: LogIndex(commit),
        lease: Duration::from_micros(lease),
        drift_ppm,
        grant,
    });
    let ack = any::<[u64; 4]>().prop_map(|[term, echo, applied, hash]| Body::Ack {
        promise: (hash % 2 == 0).then_some(Duration::from_micros(hash)),
        hash,
        term: Term(term),
        echo,
        applied: LogIndex(applied),
    });
    prop_oneof![beat, ack, grant().prop_map(Body::Grant)]
}

fn node() -> impl Strategy<Value = NodeRecord> {
    let states = prop_oneof![
        Just(NodeState::Alive),
        Just(NodeState::Suspect),
        Just(NodeState::Dead),
        Just(NodeState::Left),
        (4..i64::MAX).prop_map(NodeState::Unknown),
    ];
    ([bytes(), bytes(), bytes(), bytes()], any::<(u16, u32)>(), states).prop_map(
        |([name, addr, meta, vsn], (port, incarnation), state)| NodeRecord {
            name,
            addr,
            port,
            meta,
            incarnation,
            state,
            vsn,
        },
    )
}

/// A log entry about four nodes and twenty shards; most of them do something.
fn command() -> impl Strategy<Value = Command> {
    let name = || (1..5u64).prop_map(|id| BootName { id, boot: 100 + id });
    let up = (1..5u64, 1..4u32, any::<bool>()).prop_map(|(n, weight, non_member)| MemberRecord {
        id: n,
        boot: 100 + n,
        name: format!("n{n}"),
        serf: format!("10.0.0.{n}:1"),
        raft: format!("10.0.0.{n}:2"),
        liveness: format!("[::1]:{n}"),
        endpoints: [("ep.demo".to_owned(), format!("10.0.0.{n}:4"))].into(),
        weight,
        non_member,
        ..MemberRecord::default()
    });
    let transfer = (0..40u64, name(), prop::collection::btree_set(0..20u32, 0..20)).prop_map(|(seen, to, shards)| {
        let shards: Vec<_> = shards.into_iter().map(ShardId).collect();
        Transfer { seen, to: to.id, boot: to.boot, shards: set::encode(&shards) }
    });
    let pin = (0..22u32, 0..22u32, prop_oneof!["n[1-5]", Just(String::new())]);
    let pin = pin.prop_map(|(first, shards, node)| PinRecord { first, shards, node });
    let weight = (name(), 0..4u32).prop_map(|(of, weight)| Weight { id: of.id, boot: of.boot, weight });
    let op = prop_oneof![
        1 => pin.prop_map(Op::Pin),
        1 => weight.prop_map(Op::Weigh),
        1 => name().prop_map(Op::Cordon),
        1 => name().prop_map(Op::Removed),
        3 => up.clone().prop_map(Op::Up),
        1 => (name(), any::<bool>()).prop_map(|(name, stopped)| {
            Op::Down(DownRecord { id: name.id, boot: name.boot, stopped })
        }),
        1 => name().prop_map(Op::Leave),
        1 => name().prop_map(Op::Left),
        3 => transfer.clone().prop_map(Op::Moving),
        3 => transfer.prop_map(Op::Owned),
        1 => up.prop_map(Op::Update),
        1 => user().prop_map(Op::User),
    ];
    prop::collection::vec(op.prop_map(|op| Operation { op: Some(op) }), 0..4)
        .prop_map(|operations| Command { operations })
}

proptest! {
    #[test]
    fn frames_survive_their_bytes_and_any_split(bodies in prop::collection::vec(body(), 1..5), piece in 1..50usize) {
        let mut wire = BytesMut::new();
        for body in &bodies {
            frame::encode(&Frame::bytes(body.clone()), &mut wire);
        }
        let (mut buffer, mut read) = (BytesMut::new(), Vec::new());
        for piece in wire.chunks(piece) {
            buffer.extend_from_slice(piece);
            while let Some(payload) = frame::decode(&mut buffer).unwrap() {
                read.push(Frame::parse(&payload).unwrap());
            }
        }
        prop_assert_eq!(read, bodies);
    }

    #[test]
    fn records_of_writes_survive(
        (term, vote, commit, node) in any::<(u64, u64, u64, u64)>(),
        entries in prop::collection::vec(entry(), 0..4),
        snapshot in prop::option::of(meta()),
        state in bytes(),
    ) {
        let record = RaftRecord { term, vote, commit, entries, snapshot, state, node, kept_lease_us: Some(term) };
        prop_assert_eq!(RaftRecord::decode(&record.encode_to_vec()[..]).unwrap(), record);
    }

    #[test]
    fn liveness_datagrams_survive_and_no_changed_bit_passes(
        ids in any::<[u64; 4]>(), counter in 1..u64::MAX, micros in 0..u64::MAX / 1_000, body in datagram(), key: [u8; 16],
        at: prop::sample::Index, bit in 0..8u32,
    ) {
        let [cluster, from, boot, to] = ids.map(|id| id.max(1));
        let header = Header {
            cluster: ClusterId::new(cluster).unwrap(),
            from: RaftId::new(from).unwrap(),
            boot: BootId::new(boot).unwrap(),
            to: RaftId::new(to).unwrap(),
            counter,
            at: Timestamp::from_nanos(micros * 1_000),
        };
        let key = Key(key);
        let sealed = seal(&key, &header, &body);
        prop_assert_eq!(open(&sealed, |_| Some(key)), Ok((header, body)));
        let mut bent = sealed.to_vec();
        *at.get_mut(&mut bent) ^= 1 << bit;
        prop_assert!(open(&bent, |_| Some(key)).is_err());
    }

    #[test]
    fn push_pulls_survive_whatever_they_hold_and_however_they_come(
        join: bool, nodes in prop::collection::vec(node(), 0..5),
        clocks in any::<[u64; 3]>(), left in prop::collection::vec(bytes(), 0..4),
        times in prop::collection::vec((bytes(), any::<u64>()), 0..4), piece in 1..60usize,
    ) {
        let [member_time, event_time, query_time] = clocks;
        let state = SerfState {
            member_time, event_time, query_time, left_members: left, status_times: times, ..SerfState::default()
        };
        prop_assert_eq!(SerfState::decode(&state.encode()), Ok(state.clone()));
        let sync = PushPull { join, nodes, user_state: state.encode() };
        prop_assert_eq!(PushPull::decode(&sync.encode()), Ok(sync.clone()));
        let (mut decoder, mut read) = (StreamDecoder::new(), Vec::new());
        for piece in sync.encode().chunks(piece) {
            decoder.push(piece);
            while let Some(message) = decoder.next().unwrap() {
                read.push(message);
            }
        }
        prop_assert_eq!(read, [sync.encode()]);
    }

    #[test]
    fn tags_survive(tags in prop::collection::btree_map(any::<String>(), any::<String>(), 0..8)) {
        let meta = encode_tags(&tags);
        prop_assert_eq!(decode_tags(&meta), (meta.len() <= TAG_BYTES_MAX).then_some(tags));
    }

    #[test]
    fn numbers_and_shard_lists_survive(value: u64, shards in prop::collection::btree_set(0..1_000u32, 0..200)) {
        let mut out = Vec::new();
        varint::put(&mut out, value);
        prop_assert_eq!(varint::take(&mut &out[..]), Some(value));
        let shards: Vec<_> = shards.into_iter().map(ShardId).collect();
        prop_assert_eq!(set::decode(&set::encode(&shards), 1_000), Some(shards));
    }

    #[test]
    fn a_state_that_any_log_makes_survives_its_snapshot(log in prop::collection::vec(command(), 0..40)) {
        let cluster = ClusterValues {
            id: ClusterId::new(7).unwrap(),
            name: "c".into(),
            created_ns: -5,
            lease: Duration::from_millis(150),
            lease_min: Duration::from_millis(150),
            lease_max: Duration::from_millis(600),
            lease_reason: funk_proto::state::LeaseReason::default(),
            drift_ppm: 10_000,
            ownership: Ownership::default(),
            generation: 1,
            former: Vec::new(),
        };
        let mut state = State::new(cluster, 20);
        let mut epochs = [0; 20];
        for (index, command) in (2..).zip(log) {
            let mut restored = snapshot::decode(&snapshot::encode(&state)).unwrap();
            state.apply(LogIndex(index), command.clone());
            restored.apply(LogIndex(index), command);
            prop_assert_eq!(&restored, &state, "a node that starts from a snapshot goes the same way");
            for (epoch, (_, shard)) in epochs.iter_mut().zip(state.map.iter()) {
                prop_assert!(shard.epoch.0 >= *epoch, "an epoch went back");
                *epoch = shard.epoch.0;
            }
        }
        prop_assert_eq!(snapshot::decode(&snapshot::encode(&state)), Some(state));
    }
}
