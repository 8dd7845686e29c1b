//! One question by multicast DNS, for those who look and are not found
//! themselves, and for the first moment of those who are: an asker on a port
//! of its own is answered directly and at once, where the answers to all come
//! with a delay, and none within a second of the last.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, Question, TYPE};
use socket2::SockRef;

use super::instance::{Instance, SERVICE_TYPE, first_label, split};

const GROUP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(224, 0, 0, 251)), 5353);
/// The question is put again after each of these: datagrams get lost.
const AGAIN: [Duration; 3] = [Duration::from_millis(100), Duration::from_millis(300), Duration::from_millis(600)];
/// Bytes of one answer.
const ANSWER_BYTES: usize = 9_000;
/// Instances read from one answer; a node registers three at most.
const INSTANCES_MAX: usize = 64;

/// What nodes of `cluster` answer on the interface with this address, for as
/// long as `within`. Blocks; ends early when `enough` says so of what came so far.
///
/// # Errors
/// The operating system's: multicast does not work on that interface.
pub fn ask(
    interface: Ipv4Addr,
    cluster: &str,
    within: Duration,
    mut enough: impl FnMut(&[Instance]) -> bool,
) -> io::Result<Vec<Instance>> {
    let mut all: Vec<Instance> = Vec::new();
    let asker = Asker::new(interface)?;
    asker.listen(within, |instance| {
        if instance.cluster == cluster && !all.contains(&instance) {
            all.push(instance);
        }
        !enough(&all)
    })?;
    Ok(all)
}

/// A socket that asks.
#[derive(Debug)]
pub(super) struct Asker {
    socket: UdpSocket,
    question: Vec<u8>,
}

impl Asker {
    pub(super) fn new(interface: Ipv4Addr) -> io::Result<Self> {
        let socket = UdpSocket::bind((interface, 0))?;
        let options = SockRef::from(&socket);
        options.set_multicast_if_v4(&interface)?;
        options.set_multicast_loop_v4(true)?;
        options.set_multicast_ttl_v4(255)?;
        let name = Name::new(SERVICE_TYPE).map_err(io::Error::other)?;
        let mut packet = Packet::new_query(0);
        packet.questions.push(Question::new(name, TYPE::PTR.into(), CLASS::IN.into(), false));
        let question = packet.build_bytes_vec().map_err(io::Error::other)?;
        Ok(Self { socket, question })
    }

    /// Asks, and gives every instance in every answer to `heard` until that
    /// says false or the time is over.
    pub(super) fn listen(&self, within: Duration, mut heard: impl FnMut(Instance) -> bool) -> io::Result<()> {
        let began = Instant::now();
        let mut again = AGAIN.into_iter();
        let mut next = Duration::ZERO;
        let mut buffer = vec![0; ANSWER_BYTES];
        loop {
            let passed = began.elapsed();
            if passed >= within {
                return Ok(());
            }
            if passed >= next {
                self.socket.send_to(&self.question, GROUP)?;
                next = again.next().unwrap_or(within);
                continue;
            }
            let wait = next.min(within) - passed;
            self.socket.set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    if !instances(&buffer[..length]).into_iter().all(&mut heard) {
                        return Ok(());
                    }
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The instances in an answer, those with all that is needed to reach them.
/// Any bytes will do: what is no answer has none.
pub fn instances(bytes: &[u8]) -> Vec<Instance> {
    let Ok(packet) = Packet::parse(bytes) else { return Vec::new() };
    let mut services = Vec::new();
    let mut hosts: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    for record in packet.answers.iter().chain(&packet.additional_records) {
        let name = || record.name.to_string().to_lowercase();
        match &record.rdata {
            RData::SRV(srv) if services.len() < INSTANCES_MAX => {
                let label = first_label(&format!("{}.", record.name));
                services.extend(label.map(|label| (label, srv.target.to_string().to_lowercase(), srv.port)));
            }
            RData::A(a) => hosts.entry(name()).or_default().push(Ipv4Addr::from(a.address).into()),
            RData::AAAA(a) => hosts.entry(name()).or_default().push(std::net::Ipv6Addr::from(a.address).into()),
            _ => {}
        }
    }
    let instance = |(label, host, port): (String, String, u16)| {
        let (cluster, kind, node) = split(&label)?;
        let addresses = hosts.get(&host)?.iter().map(|&ip| SocketAddr::new(ip, port)).collect::<BTreeSet<_>>();
        let addresses = addresses.into_iter().collect();
        Some(Instance { cluster: cluster.to_owned(), kind, node: node.to_owned(), addresses })
    };
    services.into_iter().filter_map(instance).collect()
}

#[cfg(test)]
mod tests {
    use simple_dns::ResourceRecord;
    use simple_dns::rdata::{A, SRV};

    use super::super::instance::Kind;
    use super::*;

    #[test]
    fn an_answer_gives_the_instances_whose_address_is_in_it() {
        let mut packet = Packet::new_reply(0);
        for (label, host, port) in [("c_serf_n.1", "c-n.local", 7), ("c_svc_n.1", "gone.local", 8)] {
            let text = format!(r"{}._clusterfunk._udp.local", label.replace('.', r"\."));
            let name = Name::new(&text).unwrap().into_owned();
            let target = Name::new(host).unwrap();
            let srv = RData::SRV(SRV { priority: 0, weight: 0, port, target });
            packet.answers.push(ResourceRecord::new(name, CLASS::IN, 10, srv));
        }
        let a = RData::A(A { address: 0x0a00_0001 });
        packet.additional_records.push(ResourceRecord::new(Name::new("C-n.local").unwrap(), CLASS::IN, 10, a));
        let bytes = packet.build_bytes_vec().unwrap();
        let addresses = vec!["10.0.0.1:7".parse().unwrap()];
        let expected = Instance { cluster: "c".into(), kind: Kind::Serf, node: "n.1".into(), addresses };
        assert_eq!(instances(&bytes), [expected]);
        for cut in 0..bytes.len() {
            assert!(instances(&bytes[..cut]).len() <= 1);
        }
        assert!(instances(b"nonsense").is_empty());
    }
}
