//! Answers that the daemon owes. A record is not sent to all again within a
//! second of the last time, and the daemon drops a question that comes in that
//! second where it should answer it at the end: whoever asks once and waits
//! finds nobody. What it leaves unanswered is answered here.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use simple_dns::rdata::{A, PTR, RData, SRV, TXT};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, ResourceRecord, TYPE};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::instance::{Kind, SERVICE_TYPE, host, label};
use super::registration::{Registration, TEXTS};

const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const PORT: u16 = 5353;
/// The daemon answers within a fifth of a second if it does.
const GRACE: Duration = Duration::from_millis(300);
/// Time between two answers to all.
const PAUSE: Duration = Duration::from_millis(1_000);
/// Seconds for which others may hold the way to a node, and its address.
const POINTER_SECONDS: u32 = 4_500;
const ADDRESS_SECONDS: u32 = 120;
/// Bytes of one message.
const MESSAGE_BYTES: usize = 9_000;

/// What was asked, and what was answered, as everybody on the link hears it.
#[derive(Debug)]
pub(super) struct Ear {
    /// This node's gossip instance, in lower case.
    own: String,
    asked: Option<Instant>,
    answered: Option<Instant>,
}

impl Ear {
    pub(super) fn new(registration: &Registration) -> Self {
        let own = full_name(&label(&registration.cluster, Kind::Serf, &registration.node)).to_lowercase();
        Self { own, asked: None, answered: None }
    }

    /// Takes a message to all in. One from another port wants an answer of its own, which it gets from the daemon.
    pub(super) fn hear(&mut self, now: Instant, port: u16, message: &[u8]) {
        let Ok(packet) = Packet::parse(message) else { return };
        let ours = packet.answers.iter().any(|record| self.is_ours(record));
        if packet.has_flags(PacketFlag::RESPONSE) {
            if ours {
                (self.asked, self.answered) = (None, Some(now));
            }
            return;
        }
        let asks = packet.questions.iter().any(|question| {
            let kind = matches!(question.qtype, QTYPE::TYPE(TYPE::PTR) | QTYPE::ANY);
            kind && format!("{}.", question.qname).eq_ignore_ascii_case(SERVICE_TYPE)
        });
        // Who names us among the answers that it knows wants no more.
        if asks && !ours && port == PORT {
            self.asked.get_or_insert(now);
        }
    }

    /// A record that leads to this node, and no goodbye.
    fn is_ours(&self, record: &ResourceRecord<'_>) -> bool {
        let leads = match &record.rdata {
            RData::PTR(PTR(to)) => to.to_string().to_lowercase() == self.own,
            _ => false,
        };
        leads && record.ttl > 0
    }

    /// When an answer is owed.
    pub(super) fn due(&self) -> Option<Instant> {
        let asked = self.asked? + GRACE;
        Some(self.answered.map_or(asked, |answered| asked.max(answered + PAUSE)))
    }

    /// The answer was given.
    pub(super) fn answered(&mut self, now: Instant) {
        (self.asked, self.answered) = (None, Some(now));
    }
}

/// What a node answers to all: each of its endpoints, and where it is.
pub(super) fn answer(registration: &Registration) -> io::Result<Vec<u8>> {
    let mut packet = Packet::new_reply(0);
    packet.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
    let service = SERVICE_TYPE.trim_end_matches('.');
    let host = host(&registration.cluster, &registration.node);
    let name = |text: &str| Name::new(text).map(Name::into_owned).map_err(io::Error::other);
    let texts = TEXTS.map(|(key, value)| format!("{key}={value}"));
    let host_name = name(host.trim_end_matches('.'))?;
    for (kind, address) in registration.endpoints() {
        let instance = name(&full_name(&label(&registration.cluster, kind, &registration.node)))?;
        let pointer = RData::PTR(PTR(instance.clone()));
        packet.answers.push(ResourceRecord::new(name(service)?, CLASS::IN, POINTER_SECONDS, pointer));
        let srv = SRV { priority: 0, weight: 0, port: address.port(), target: host_name.clone() };
        let srv = ResourceRecord::new(instance.clone(), CLASS::IN, ADDRESS_SECONDS, RData::SRV(srv));
        packet.additional_records.push(srv.with_cache_flush(true));
        let mut text = TXT::new();
        for said in &texts {
            text.add_string(said).map_err(io::Error::other)?;
        }
        let text = ResourceRecord::new(instance, CLASS::IN, POINTER_SECONDS, RData::TXT(text.into_owned()));
        packet.additional_records.push(text.with_cache_flush(true));
    }
    if let IpAddr::V4(ip) = registration.serf.ip() {
        let a = ResourceRecord::new(host_name, CLASS::IN, ADDRESS_SECONDS, RData::A(A { address: ip.into() }));
        packet.additional_records.push(a.with_cache_flush(true));
    }
    packet.build_bytes_vec().map_err(io::Error::other)
}

/// An instance's name with the service behind it.
fn full_name(label: &str) -> String {
    format!("{}.{}", label.replace('.', r"\."), SERVICE_TYPE.trim_end_matches('.'))
}

/// A socket on which everything is heard that is said to all.
#[derive(Debug)]
pub(super) struct Link(UdpSocket);

impl Link {
    pub(super) fn new(interface: Ipv4Addr) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_address(true)?;
        #[cfg(unix)]
        socket.set_reuse_port(true)?;
        // Bound to the group, it takes nothing from the daemon that is meant for one alone.
        let at = if cfg!(unix) { GROUP } else { Ipv4Addr::UNSPECIFIED };
        socket.bind(&SocketAddr::from((at, PORT)).into())?;
        socket.join_multicast_v4(&GROUP, &interface)?;
        let socket = UdpSocket::from(socket);
        let options = SockRef::from(&socket);
        options.set_multicast_if_v4(&interface)?;
        options.set_multicast_loop_v4(true)?;
        options.set_multicast_ttl_v4(255)?;
        Ok(Self(socket))
    }

    /// What is said next, and from which port; nothing if nobody says anything for so long.
    pub(super) fn hear(&self, within: Duration, buffer: &mut Vec<u8>) -> io::Result<Option<u16>> {
        buffer.resize(MESSAGE_BYTES, 0);
        self.0.set_read_timeout(Some(within.max(Duration::from_millis(1))))?;
        match self.0.recv_from(buffer) {
            Ok((length, from)) => {
                buffer.truncate(length);
                Ok(Some(from.port()))
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn say(&self, message: &[u8]) -> io::Result<()> {
        self.0.send_to(message, SocketAddrV4::new(GROUP, PORT)).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use simple_dns::Question;

    use super::super::ask;
    use super::*;

    fn registration() -> Registration {
        Registration {
            cluster: "c.1".into(),
            node: "n1".into(),
            interface: [10, 0, 0, 1].into(),
            serf: "10.0.0.1:7".parse().unwrap(),
            service: Some("10.0.0.1:8".parse().unwrap()),
            management: None,
            after: Duration::ZERO,
        }
    }

    fn question(name: &str, known: Option<&[u8]>) -> Vec<u8> {
        let known = known.map(|known| Packet::parse(known).unwrap());
        let mut packet = Packet::new_query(0);
        packet.questions.push(Question::new(Name::new(name).unwrap(), TYPE::PTR.into(), CLASS::IN.into(), false));
        packet.answers = known.map(|known| known.answers).unwrap_or_default();
        packet.build_bytes_vec().unwrap()
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_answer_is_one_that_an_asker_understands() {
        let answer = answer(&registration()).unwrap();
        let instances = ask::instances(&answer);
        let at = |kind, address: &str| (kind, vec![address.parse().unwrap()]);
        let read: Vec<_> = instances.into_iter().map(|found| (found.kind, found.addresses)).collect();
        assert_eq!(read, [at(Kind::Serf, "10.0.0.1:7"), at(Kind::Svc, "10.0.0.1:8")]);
    }

    #[test]
    fn a_question_right_after_an_answer_is_answered_at_the_end_of_the_second() {
        let (mut ear, start) = (Ear::new(&registration()), Instant::now());
        let answer = answer(&registration()).unwrap();
        assert_eq!(ear.due(), None);
        ear.hear(start, PORT, &question("_clusterfunk._udp.local", None));
        assert_eq!(ear.due(), Some(start + GRACE));
        // The daemon was there first.
        ear.hear(start + 50 * MS, PORT, &answer);
        assert_eq!(ear.due(), None);
        for late in [100, 350, 900] {
            ear.hear(start + late * MS, PORT, &question("_ClusterFunk._UDP.local", None));
        }
        assert_eq!(ear.due(), Some(start + 50 * MS + PAUSE));
        ear.answered(start + 1_100 * MS);
        assert_eq!(ear.due(), None);
    }

    #[test]
    fn nothing_is_owed_for_other_questions_known_answers_and_askers_of_their_own() {
        let (mut ear, start) = (Ear::new(&registration()), Instant::now());
        let ours = answer(&registration()).unwrap();
        let other = answer(&Registration { node: "n2".into(), ..registration() }).unwrap();
        ear.hear(start, PORT, &question("_http._tcp.local", None));
        ear.hear(start, PORT, &question("_clusterfunk._udp.local", Some(&ours)));
        ear.hear(start, 40_000, &question("_clusterfunk._udp.local", None));
        ear.hear(start, PORT, b"nonsense");
        assert_eq!(ear.due(), None);
        ear.hear(start, PORT, &question("_clusterfunk._udp.local", Some(&other)));
        ear.hear(start + MS, PORT, &other);
        assert_eq!(ear.due(), Some(start + GRACE), "another's answer is not ours");
        for cut in 0..ours.len() {
            ear.hear(start, PORT, &ours[..cut]);
        }
    }
}
