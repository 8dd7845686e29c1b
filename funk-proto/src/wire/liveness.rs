//! Liveness datagrams: heartbeats, their answers, and grants.
//!
//! ```text
//! kind u8 | cluster u64 | from u64 | boot u64 | to u64 | counter varint | at varint | body varints | tag u64
//! ```
//! All integers are big endian. The tag is SipHash-2-4 over everything before
//! it, under the 128-bit key that the receiver handed to this boot of the
//! sender in the hello. It proves no more than that hello did.

use std::hash::Hasher;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use siphasher::sip::SipHasher24;

use super::varint;
use crate::error::Misbehaviour;
use crate::id::{BootId, ClusterId, LogIndex, RaftId, Term};
use crate::limits::{DRIFT_PPM_MAX, LEASE_MAX, LIVENESS_DATAGRAM_BYTES_MAX};
use crate::time::Timestamp;

/// Kinds are numbered from 1 to this.
const KIND_MAX: u8 = 9;

/// The key under which one boot sends to one receiver.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key(pub [u8; 16]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

/// 128 bits of what is written, which nobody can tell who does not know `secret`. Two uses differ in `purpose` by two
/// at least: each half has a number of its own.
pub(crate) fn derive(secret: &[u8; 16], purpose: u8, write: impl Fn(&mut SipHasher24)) -> [u8; 16] {
    let half = |which: u8| {
        let mut hasher = SipHasher24::new_with_key(secret);
        hasher.write_u8(which);
        write(&mut hasher);
        hasher.finish().to_be_bytes()
    };
    let mut derived = [0; 16];
    derived[..8].copy_from_slice(&half(purpose));
    derived[8..].copy_from_slice(&half(purpose + 1));
    derived
}

/// Hashes an address by its bytes. Formatting it would cost more than the hash, and this runs for every datagram.
pub(crate) fn hash_address(hasher: &mut SipHasher24, address: SocketAddr) {
    match address {
        SocketAddr::V4(v4) => hasher.write(&v4.ip().octets()),
        SocketAddr::V6(v6) => {
            hasher.write(&v6.ip().octets());
            hasher.write(&v6.scope_id().to_be_bytes());
        }
    }
    hasher.write(&address.port().to_be_bytes());
}

impl Key {
    /// The key that the holder of `secret` hands to one boot of one peer, which was reached at this address.
    pub fn derive(secret: &[u8; 16], peer: RaftId, boot: BootId, reached_at: SocketAddr) -> Self {
        Self(derive(secret, 1, |hasher| {
            hasher.write_u64(peer.get());
            hasher.write_u64(boot.get());
            hash_address(hasher, reached_at);
        }))
    }

    /// This key, bound to one stream: what only both of its ends know goes into it.
    #[must_use]
    pub fn bound(&self, exporter: &[u8; 32]) -> Self {
        Self(derive(&self.0, 5, |hasher| hasher.write(exporter)))
    }

    fn tag(&self, bytes: &[u8]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(bytes);
        hasher.finish()
    }
}

/// A lease for the time from the sending of the answered [`Body::Ack`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Counter of the ack that is answered.
    pub echo: u64,
    /// Length, in whole microseconds.
    pub length: Duration,
}

/// What a datagram says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Leader to member: I lead.
    Heartbeat {
        /// The leader's term.
        term: Term,
        /// The lower of what the leader committed and what it knows the member to hold.
        commit: LogIndex,
        /// The cluster's lease length.
        lease: Duration,
        /// The cluster's drift bound, parts per million.
        drift_ppm: u32,
        /// A lease for an earlier ack.
        grant: Option<Grant>,
    },
    /// Member to leader: I follow; promise and renewal in one.
    Ack {
        /// The member's term.
        term: Term,
        /// Counter of the heartbeat that is answered; 0 answers none.
        echo: u64,
        /// The index that the member has applied.
        applied: LogIndex,
        /// The hash of what the member has applied, up to that index; 0 says nothing.
        hash: u64,
        /// The lease that the promise covers, if it is shorter than the one that the heartbeat says.
        promise: Option<Duration>,
    },
    /// A grant between two heartbeats.
    Grant(Grant),
    /// The sender's boot has ended: it serves nothing any more, whatever it was granted.
    Goodbye {
        /// A process that waited for it says so; otherwise it said so itself, its gate closed.
        reaped: bool,
    },
    /// The sender led in this term and leads no more: it hears no majority of its voters.
    Resign {
        /// The term.
        term: Term,
    },
    /// Leader to member: what the receiver has applied is not what the leader has.
    Differs {
        /// The leader's term.
        term: Term,
        /// The index that the receiver acked.
        index: LogIndex,
    },
}

/// The counter of a goodbye: nothing comes after it, so that it can be sealed
/// ahead of time, and whatever of that boot is still on its way is refused.
pub const LAST_COUNTER: u64 = u64::MAX;

/// Who sent a datagram to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The cluster.
    pub cluster: ClusterId,
    /// The sender.
    pub from: RaftId,
    /// The sender's boot.
    pub boot: BootId,
    /// The receiver.
    pub to: RaftId,
    /// Grows with each datagram of this boot; never 0.
    pub counter: u64,
    /// When it was sent by the sender's clock, which began with its boot; to the microsecond.
    pub at: Timestamp,
}

const HEADER_BYTES: usize = 1 + 4 * 8;
const TAG_BYTES: usize = 8;

fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
}

fn put_grant(out: &mut BytesMut, grant: Grant) {
    varint::put(out, grant.echo);
    varint::put(out, micros(grant.length));
}

/// Encodes and authenticates a datagram.
pub fn seal(key: &Key, header: &Header, body: &Body) -> Bytes {
    let mut out = BytesMut::with_capacity(96);
    out.put_u8(match body {
        Body::Heartbeat { grant: None, .. } => 1,
        Body::Heartbeat { grant: Some(_), .. } => 2,
        Body::Ack { promise: None, .. } => 3,
        Body::Ack { promise: Some(_), .. } => KIND_MAX,
        Body::Grant(_) => 4,
        Body::Goodbye { reaped: false } => 5,
        Body::Goodbye { reaped: true } => 6,
        Body::Resign { .. } => 7,
        Body::Differs { .. } => 8,
    });
    out.put_u64(header.cluster.get());
    out.put_u64(header.from.get());
    out.put_u64(header.boot.get());
    out.put_u64(header.to.get());
    varint::put(&mut out, header.counter);
    varint::put(&mut out, header.at.as_nanos() / 1_000);
    match *body {
        Body::Heartbeat { term, commit, lease, drift_ppm, grant } => {
            varint::put(&mut out, term.0);
            varint::put(&mut out, commit.0);
            varint::put(&mut out, micros(lease));
            varint::put(&mut out, u64::from(drift_ppm));
            if let Some(grant) = grant {
                put_grant(&mut out, grant);
            }
        }
        Body::Ack { term, echo, applied, hash, promise } => {
            varint::put(&mut out, term.0);
            varint::put(&mut out, echo);
            varint::put(&mut out, applied.0);
            varint::put(&mut out, hash);
            if let Some(promise) = promise {
                varint::put(&mut out, micros(promise));
            }
        }
        Body::Grant(grant) => put_grant(&mut out, grant),
        Body::Goodbye { .. } => {}
        Body::Resign { term } => varint::put(&mut out, term.0),
        Body::Differs { term, index } => {
            varint::put(&mut out, term.0);
            varint::put(&mut out, index.0);
        }
    }
    let tag = key.tag(&out);
    out.put_u64(tag);
    out.freeze()
}

/// The addresses that a datagram begins with, before anything proves that they are true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addressed {
    /// The cluster that it is said to be of.
    pub cluster: ClusterId,
    /// Its sender, it says.
    pub from: RaftId,
    /// The sender's process, it says.
    pub boot: BootId,
    /// Whom it is for.
    pub to: RaftId,
}

impl Addressed {
    /// Whether it is for the node `me` of this cluster; `None` for a node that knows of no cluster yet.
    pub fn is_for(&self, me: RaftId, cluster: Option<ClusterId>) -> bool {
        self.to == me && cluster.is_none_or(|cluster| cluster == self.cluster)
    }
}

/// Decodes a datagram. `keys_of` says under which keys whoever sends it may
/// have sealed it; it is asked, and the seal checked, for kinds that there are.
pub fn open<K: IntoIterator<Item = Key>>(
    bytes: &[u8],
    keys_of: impl FnOnce(Addressed) -> K,
) -> Result<(Header, Body), Misbehaviour> {
    const WHAT: Misbehaviour = Misbehaviour::Malformed("liveness datagram");
    if bytes.len() > LIVENESS_DATAGRAM_BYTES_MAX {
        return Err(Misbehaviour::Oversized("liveness datagram"));
    }
    if bytes.len() < HEADER_BYTES + TAG_BYTES {
        return Err(WHAT);
    }
    let (signed, mut tag) = bytes.split_at(bytes.len() - TAG_BYTES);
    let tag = tag.get_u64();
    let mut rest = signed;
    let kind = rest.get_u8();
    if !(1..=KIND_MAX).contains(&kind) {
        return Err(WHAT);
    }
    let cluster = ClusterId::new(rest.get_u64()).ok_or(WHAT)?;
    let from = RaftId::new(rest.get_u64()).ok_or(WHAT)?;
    let boot = BootId::new(rest.get_u64()).ok_or(WHAT)?;
    let to = RaftId::new(rest.get_u64()).ok_or(WHAT)?;
    // Compared as one number: the time does not depend on where they differ.
    if !keys_of(Addressed { cluster, from, boot, to }).into_iter().any(|key| key.tag(signed) == tag) {
        return Err(Misbehaviour::Unauthentic);
    }
    let mut next = || varint::take(&mut rest).ok_or(WHAT);
    let counter = next()?;
    // In nanoseconds it has no room beyond 584 years.
    let at = Timestamp::from_nanos(next()?.checked_mul(1_000).ok_or(WHAT)?);
    let body = match kind {
        1 | 2 => Body::Heartbeat {
            term: Term(next()?),
            commit: LogIndex(next()?),
            lease: Duration::from_micros(next()?),
            drift_ppm: u32::try_from(next()?).map_err(|_| WHAT)?,
            grant: match kind {
                1 => None,
                _ => Some(Grant { echo: next()?, length: Duration::from_micros(next()?) }),
            },
        },
        3 | KIND_MAX => Body::Ack {
            term: Term(next()?),
            echo: next()?,
            applied: LogIndex(next()?),
            hash: next()?,
            promise: if kind == KIND_MAX { Some(Duration::from_micros(next()?)) } else { None },
        },
        4 => Body::Grant(Grant { echo: next()?, length: Duration::from_micros(next()?) }),
        5 | 6 => Body::Goodbye { reaped: kind == 6 },
        7 => Body::Resign { term: Term(next()?) },
        8 => Body::Differs { term: Term(next()?), index: LogIndex(next()?) },
        _ => return Err(WHAT),
    };
    if !rest.is_empty() || counter == 0 || !is_sound(&body) {
        return Err(WHAT);
    }
    Ok((Header { cluster, from, boot, to, counter, at }, body))
}

/// Whether a heartbeat's cluster values are such as a configuration may have.
fn is_sound(body: &Body) -> bool {
    match *body {
        Body::Heartbeat { lease, drift_ppm, .. } => {
            !lease.is_zero() && lease <= LEASE_MAX && drift_ppm <= DRIFT_PPM_MAX
        }
        Body::Ack { .. } | Body::Grant(_) | Body::Goodbye { .. } | Body::Resign { .. } | Body::Differs { .. } => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], 2))
    }

    fn header() -> Header {
        Header {
            cluster: ClusterId::new(1).unwrap(),
            from: RaftId::new(2).unwrap(),
            boot: BootId::new(3).unwrap(),
            to: RaftId::new(4).unwrap(),
            counter: 70_000,
            at: Timestamp::from_nanos(3_600_000_001_000),
        }
    }

    fn bodies() -> [Body; 9] {
        let grant = Grant { echo: 9, length: Duration::from_micros(149_001) };
        let beat = |grant| Body::Heartbeat {
            term: Term(3),
            commit: LogIndex(1 << 40),
            lease: Duration::from_millis(150),
            drift_ppm: 10_000,
            grant,
        };
        let ack = |promise| Body::Ack { term: Term(3), echo: 12, applied: LogIndex(77), hash: u64::MAX, promise };
        let goodbye = |reaped| Body::Goodbye { reaped };
        [
            beat(None),
            beat(Some(grant)),
            ack(None),
            ack(Some(Duration::from_millis(150))),
            Body::Grant(grant),
            goodbye(false),
            goodbye(true),
            Body::Resign { term: Term(3) },
            Body::Differs { term: Term(3), index: LogIndex(77) },
        ]
    }

    #[test]
    fn datagrams_survive_and_stay_small() {
        let key = Key::derive(&[7; 16], header().from, header().boot, here());
        for body in bodies() {
            let bytes = seal(&key, &header(), &body);
            assert!(bytes.len() < 80, "{} bytes", bytes.len());
            assert_eq!(open(&bytes, |_| Some(key)), Ok((header(), body)));
        }
    }

    #[test]
    fn any_changed_or_missing_byte_is_refused() {
        let key = Key::derive(&[7; 16], header().from, header().boot, here());
        for body in bodies() {
            let bytes = seal(&key, &header(), &body);
            for at in 0..bytes.len() {
                let mut bent = bytes.to_vec();
                bent[at] ^= 0x10;
                assert!(open(&bent, |_| Some(key)).is_err(), "byte {at}");
                assert!(open(&bytes[..at], |_| Some(key)).is_err(), "cut at {at}");
            }
        }
    }

    #[test]
    fn no_key_is_looked_for_where_the_kind_or_an_address_is_none() {
        let key = Key::derive(&[7; 16], header().from, header().boot, here());
        for body in bodies() {
            let bytes = seal(&key, &header(), &body);
            // The kind, then the numbers of the cluster, the sender, its boot and the receiver.
            let unknown = [0, KIND_MAX + 1, u8::MAX].map(|kind| [&[kind], &bytes[1..]].concat());
            let nobody = [1, 9, 17, 25].map(|at| [&bytes[..at], &[0; 8], &bytes[at + 8..]].concat());
            for bent in unknown.into_iter().chain(nobody) {
                assert!(open(&bent, |_| -> Option<Key> { panic!("it is looked for") }).is_err());
            }
        }
    }

    #[test]
    fn no_key_is_looked_for_where_another_node_or_another_cluster_is_addressed() {
        let key = Key::derive(&[7; 16], header().from, header().boot, here());
        let (other, elsewhere) = (header().from, ClusterId::new(header().cluster.get() ^ 2));
        for body in bodies() {
            let bytes = seal(&key, &header(), &body);
            let opened = |me, cluster| open(&bytes, |to| to.is_for(me, cluster).then_some(key));
            assert!(opened(header().to, Some(header().cluster)).is_ok() && opened(header().to, None).is_ok());
            for (me, cluster) in [(other, None), (other, Some(header().cluster)), (header().to, elsewhere)] {
                assert_eq!(opened(me, cluster), Err(Misbehaviour::Unauthentic));
                assert!(open(&bytes, |to| to.is_for(me, cluster).then(|| panic!("it is looked for"))).is_err());
            }
        }
    }

    #[test]
    fn cluster_values_that_no_configuration_has_are_refused() {
        let key = Key::derive(&[7; 16], header().from, header().boot, here());
        for (lease, drift_ppm) in [(Duration::ZERO, 0), (LEASE_MAX * 2, 0), (LEASE_MAX, 1_000_000)] {
            let (term, commit) = (Term(1), LogIndex(1));
            let body = Body::Heartbeat { term, commit, lease, drift_ppm, grant: None };
            assert!(open(&seal(&key, &header(), &body), |_| Some(key)).is_err());
        }
    }

    #[test]
    fn a_time_that_has_no_room_in_nanoseconds_is_refused() {
        let key = Key::derive(&[7; 16], header().from, header().boot, here());
        let sent_at = |micros| {
            let bytes = seal(&key, &header(), &Body::Resign { term: Term(3) });
            let mut signed = BytesMut::from(&bytes[..33]);
            [header().counter, micros, 3].into_iter().for_each(|number| varint::put(&mut signed, number));
            [&signed[..], &key.tag(&signed).to_be_bytes()].concat()
        };
        let most = u64::MAX / 1_000;
        let (header, _) = open(&sent_at(most), |_| Some(key)).unwrap();
        assert_eq!(header.at, Timestamp::from_nanos(most * 1_000));
        assert!(open(&sent_at(most + 1), |_| Some(key)).is_err());
    }

    #[test]
    fn another_boot_and_another_place_have_another_key() {
        let (from, boot) = (header().from, header().boot);
        let other = BootId::new(99).unwrap();
        let elsewhere = SocketAddr::from(([10, 0, 0, 2], 2));
        let ours = Key::derive(&[7; 16], from, boot, here());
        assert_ne!(ours, Key::derive(&[7; 16], from, other, here()));
        assert_ne!(ours, Key::derive(&[8; 16], from, boot, here()));
        assert_ne!(ours, Key::derive(&[7; 16], from, boot, elsewhere));
    }
}
