//! How a recording begins.
//!
//! A head is a list of fields: text of the program's version, text of the reason, i64 unix nanoseconds of the dump, i64
//! unix nanoseconds of the node's time zero, u8 whether payloads are hashed, u8 whether it begins with the process, the
//! configuration in the order of [`NodeConfig`], and, if it begins with the process, 32 bytes of seed, varint time of
//! the start, list of the store's records.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use funk_proto::id::BootId;
use funk_proto::wire::varint;
use funk_proto::{NodeConfig, Ownership, Participation, Recovered, Seed, Timestamp, Timing};

use crate::fields::{Fields, put_address, put_bytes, put_length, put_list};

/// What a node was started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    /// Its seed.
    pub(crate) seed: Seed,
    /// What its store held.
    pub(crate) recovered: Recovered,
    /// Its time at the start.
    pub(crate) at: Timestamp,
}

/// How a recording begins.
#[derive(Clone, Debug)]
pub struct Head {
    /// Version of the program that wrote it.
    pub version: String,
    /// Why it was written.
    pub reason: String,
    /// Unix nanoseconds at which it was written.
    pub written_ns: i64,
    /// Unix nanoseconds of the node's time zero, by the clock that ran when it started.
    pub zero_ns: i64,
    /// Whether payloads are replaced by bytes drawn from their hash.
    pub hashed: bool,
    /// The node's configuration.
    pub config: NodeConfig,
    /// What it was started with; `None` if the recording begins in the middle.
    pub(crate) start: Option<Start>,
}

impl Head {
    /// Whether it begins with the process, so that it can be replayed.
    pub fn is_whole(&self) -> bool {
        self.start.is_some()
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.version.as_bytes());
        put_bytes(out, self.reason.as_bytes());
        out.put_i64_le(self.written_ns);
        out.put_i64_le(self.zero_ns);
        out.put_u8(u8::from(self.hashed));
        out.put_u8(u8::from(self.start.is_some()));
        put_config(out, &self.config);
        if let Some(start) = &self.start {
            out.put_slice(&start.seed.0);
            varint::put(out, start.at.as_nanos());
            put_list(out, start.recovered.records.iter(), |out, record| put_bytes(out, record));
        }
    }

    pub(crate) fn parse(bytes: Bytes) -> Option<Self> {
        let mut fields = Fields(bytes);
        let (version, reason) = (fields.text()?, fields.text()?);
        let (written_ns, zero_ns) = (fields.word()?.cast_signed(), fields.word()?.cast_signed());
        let (hashed, whole) = (fields.flag()?, fields.flag()?);
        let config = take_config(&mut fields)?;
        let start = if whole {
            let seed = Seed(fields.take()?);
            let at = Timestamp::from_nanos(fields.number()?);
            Some(Start { seed, at, recovered: Recovered { records: fields.list(Fields::bytes)? } })
        } else {
            None
        };
        fields.is_empty().then_some(Self { version, reason, written_ns, zero_ns, hashed, config, start })
    }
}

fn put_config(out: &mut Vec<u8>, config: &NodeConfig) {
    put_bytes(out, config.name.as_str().as_bytes());
    put_bytes(out, config.cluster.as_str().as_bytes());
    out.put_u8(u8::from(config.every_cluster));
    [config.serf, config.raft, config.liveness].into_iter().for_each(|address| put_address(out, address));
    put_list(out, config.endpoints.iter(), |out, (name, address)| {
        put_bytes(out, name.as_bytes());
        put_address(out, *address);
    });
    put_bytes(out, config.service.as_bytes());
    put_list(out, config.join.iter(), |out, address| put_address(out, *address));
    [config.discovery, config.bootstrap, config.auto_join].into_iter().for_each(|flag| out.put_u8(u8::from(flag)));
    varint::put(out, config.shards.into());
    out.put_u8(u8::from(config.ownership == Ownership::Fenced));
    varint::put(out, config.weight.into());
    varint::put(out, config.capacity.map_or(0, NonZeroU32::get).into());
    put_bytes(out, config.zone.as_bytes());
    out.put_u8(match config.participation {
        Participation::Learner => 1,
        Participation::NonMember => 2,
        _ => 0,
    });
    [config.hands_over_state, config.durable].into_iter().for_each(|flag| out.put_u8(u8::from(flag)));
    put_list(out, config.former_boots.iter(), |out, boot| out.put_u64_le(boot.get()));
    out.put_i64_le(config.wall_clock_ns);
    let timing = &config.timing;
    [timing.liveness_interval, timing.leader_timeout, timing.lease, timing.lease_max, timing.ack_timeout]
        .into_iter()
        .for_each(|length| put_length(out, length));
    varint::put(out, timing.liveness_retries.into());
    varint::put(out, timing.drift_ppm.into());
}

fn take_config(fields: &mut Fields) -> Option<NodeConfig> {
    let (name, cluster) = (fields.text()?.parse().ok()?, fields.text()?.parse().ok()?);
    let every_cluster = fields.flag()?;
    let (serf, raft, liveness) = (fields.address()?, fields.address()?, fields.address()?);
    let endpoints = fields.list(|fields| Some((fields.text()?, fields.address()?)))?;
    let mut config = NodeConfig::new(name, cluster, serf, raft, liveness);
    config.every_cluster = every_cluster;
    config.endpoints = endpoints.into_iter().collect::<BTreeMap<_, _>>();
    config.service = fields.text()?;
    config.join = fields.list(Fields::address)?;
    (config.discovery, config.bootstrap, config.auto_join) = (fields.flag()?, fields.flag()?, fields.flag()?);
    config.shards = fields.small()?;
    config.ownership = if fields.flag()? { Ownership::Fenced } else { Ownership::Leased };
    config.weight = fields.small()?;
    config.capacity = NonZeroU32::new(fields.small()?);
    config.zone = fields.text()?;
    config.participation = match fields.byte()? {
        0 => Participation::Full,
        1 => Participation::Learner,
        2 => Participation::NonMember,
        _ => return None,
    };
    (config.hands_over_state, config.durable) = (fields.flag()?, fields.flag()?);
    config.former_boots = fields.list(|fields| BootId::new(fields.word()?))?;
    config.wall_clock_ns = fields.word()?.cast_signed();
    let mut length = || fields.length();
    let lengths: [Duration; 5] = [length()?, length()?, length()?, length()?, length()?];
    let [liveness_interval, leader_timeout, lease, lease_max, ack_timeout] = lengths;
    let (liveness_retries, drift_ppm) = (fields.small()?, fields.small()?);
    config.timing =
        Timing { liveness_interval, liveness_retries, leader_timeout, lease, lease_max, drift_ppm, ack_timeout };
    Some(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_survives_with_every_field_of_the_configuration() {
        let at = |port| ([10, 0, 0, 1], port).into();
        let mut config =
            NodeConfig::new("n".parse().expect("a name"), "c".parse().expect("a name"), at(1), at(2), at(3));
        config.endpoints.insert("ep.demo".into(), at(4));
        (config.join, config.service, config.zone) = (vec![at(9)], "s".into(), "z".into());
        (config.discovery, config.bootstrap, config.auto_join) = (true, true, false);
        (config.shards, config.weight, config.capacity) = (7, 3, NonZeroU32::new(5));
        (config.ownership, config.participation) = (Ownership::Fenced, Participation::Learner);
        (config.hands_over_state, config.durable, config.wall_clock_ns) = (true, true, -5);
        config.former_boots = vec![BootId::new(8).expect("not zero")];
        config.timing = Timing::of(funk_proto::TimingProfile::Wan);
        let start = Start {
            seed: Seed([7; 32]),
            at: Timestamp::from_millis(3),
            recovered: Recovered { records: vec![Bytes::from_static(b"abc")] },
        };
        let (version, reason) = ("1".into(), "asked".into());
        let head = Head { version, reason, written_ns: 5, zero_ns: -1, hashed: true, config, start: Some(start) };
        for head in [Head { start: None, ..head.clone() }, head] {
            let mut out = Vec::new();
            head.put(&mut out);
            let read = Head::parse(out.into()).expect("it is whole");
            assert_eq!(format!("{read:?}"), format!("{head:?}"));
        }
    }
}
