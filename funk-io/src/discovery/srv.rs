//! Service records, asked of the name servers that the system is set to. The
//! system's own resolver, which does the rest, cannot be asked for these.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, TYPE};

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Time for one name server to answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Name servers that are asked; the system's own resolver takes as many.
const SERVERS_MAX: usize = 3;
/// Bytes of a datagram; answers without extensions have at most 512.
const DATAGRAM_BYTES: usize = 4096;

/// The hosts and ports that the service records of `name` give, the preferred first.
pub(super) fn look_up(name: &str) -> io::Result<Vec<(String, u16)>> {
    let servers = servers(&std::fs::read_to_string(RESOLV_CONF).unwrap_or_default());
    look_up_at(name, &servers)
}

fn look_up_at(name: &str, servers: &[SocketAddr]) -> io::Result<Vec<(String, u16)>> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no name server");
    for server in servers {
        match ask(name, *server) {
            Ok(hosts) => return Ok(hosts),
            Err(error) => last = io::Error::new(error.kind(), format!("name server {server}: {error}")),
        }
    }
    Err(last)
}

/// The name servers in the text of resolv.conf, else the one on this machine.
fn servers(text: &str) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|&word| word == "nameserver").and_then(|_| words.next())?;
        let ip: IpAddr = address.parse().ok()?;
        Some(SocketAddr::new(ip, 53))
    };
    let mut servers: Vec<_> = text.lines().filter_map(server).take(SERVERS_MAX).collect();
    if servers.is_empty() {
        servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53));
    }
    servers
}

fn ask(name: &str, server: SocketAddr) -> io::Result<Vec<(String, u16)>> {
    let mut id = [0; 2];
    getrandom::fill(&mut id).map_err(|error| io::Error::other(error.to_string()))?;
    let id = u16::from_be_bytes(id);
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = Name::new(name).map_err(invalid)?;
    packet.questions.push(Question::new(name, TYPE::SRV.into(), CLASS::IN.into(), false));
    let question = packet.build_bytes_vec().map_err(invalid)?;
    let answer = over_udp(server, id, &question)?;
    let packet = Packet::parse(&answer).map_err(invalid)?;
    if !packet.has_flags(PacketFlag::TRUNCATION) {
        return hosts(&packet);
    }
    let answer = over_tcp(server, &question)?;
    hosts(&Packet::parse(&answer).map_err(invalid)?)
}

fn over_udp(server: SocketAddr, id: u16, question: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr = if server.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.send(question)?;
    let deadline = Instant::now() + ANSWER_MAX;
    let mut buffer = vec![0; DATAGRAM_BYTES];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let length = socket.recv(&mut buffer).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
            _ => error,
        })?;
        // A late answer to another question is not ours.
        if buffer[..length].starts_with(&id.to_be_bytes()) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

fn over_tcp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, ANSWER_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    let length = u16::try_from(question.len()).map_err(invalid)?;
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(question)?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

fn hosts(packet: &Packet<'_>) -> io::Result<Vec<(String, u16)>> {
    match packet.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Err(io::Error::new(io::ErrorKind::NotFound, "there is no such name")),
        code => return Err(io::Error::other(format!("it answers with {code:?}"))),
    }
    let records = packet.answers.iter().filter_map(|record| match &record.rdata {
        RData::SRV(srv) => Some((srv.priority, u16::MAX - srv.weight, srv.target.to_string(), srv.port)),
        _ => None,
    });
    let mut records: Vec<_> = records.filter(|(.., host, port)| !host.is_empty() && *port != 0).collect();
    records.sort_unstable();
    if records.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no service records"));
    }
    Ok(records.into_iter().map(|(.., host, port)| (host, port)).collect())
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use simple_dns::ResourceRecord;
    use simple_dns::rdata::SRV;

    use super::*;

    fn answer(question: &[u8], records: &[(u16, u16, &'static str, u16)]) -> Packet<'static> {
        let mut packet = Packet::parse(question).unwrap().into_reply();
        for &(priority, weight, host, port) in records {
            let srv = SRV { priority, weight, port, target: Name::new(host).unwrap() };
            let name = Name::new("_serf._tcp.example.org").unwrap();
            packet.answers.push(ResourceRecord::new(name, CLASS::IN, 60, RData::SRV(srv)));
        }
        let bytes = packet.build_bytes_vec().unwrap();
        drop(packet);
        let leaked: &'static [u8] = bytes.leak();
        Packet::parse(leaked).unwrap()
    }

    #[test]
    fn service_records_come_in_the_order_of_their_priority_and_weight() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = server.local_addr().unwrap();
        let thread = thread::spawn(move || {
            let mut buffer = [0; 512];
            let (length, from) = server.recv_from(&mut buffer).unwrap();
            let records = [(2, 0, "c.example.org", 3), (1, 1, "b.example.org", 2), (1, 9, "a.example.org", 1)];
            let packet = answer(&buffer[..length], &records);
            server.send_to(b"\0\0stray", from).unwrap();
            server.send_to(&packet.build_bytes_vec().unwrap(), from).unwrap();
        });
        let hosts = look_up_at("_serf._tcp.example.org", &[at]).unwrap();
        let hosts: Vec<_> = hosts.iter().map(|(host, port)| (host.as_str(), *port)).collect();
        assert_eq!(hosts, [("a.example.org", 1), ("b.example.org", 2), ("c.example.org", 3)]);
        thread.join().unwrap();
    }

    #[test]
    fn a_truncated_answer_is_asked_for_over_tcp() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(at).unwrap();
        let thread = thread::spawn(move || {
            let mut buffer = [0; 512];
            let (length, from) = udp.recv_from(&mut buffer).unwrap();
            let mut packet = answer(&buffer[..length], &[]);
            packet.set_flags(PacketFlag::TRUNCATION);
            udp.send_to(&packet.build_bytes_vec().unwrap(), from).unwrap();
            let (mut stream, _) = tcp.accept().unwrap();
            let mut question = vec![0; length + 2];
            stream.read_exact(&mut question).unwrap();
            let bytes = answer(&question[2..], &[(0, 0, "a.example.org", 7)]).build_bytes_vec().unwrap();
            stream.write_all(&u16::try_from(bytes.len()).unwrap().to_be_bytes()).unwrap();
            stream.write_all(&bytes).unwrap();
        });
        assert_eq!(look_up_at("_serf._tcp.example.org", &[at]).unwrap(), [("a.example.org".to_owned(), 7)]);
        thread.join().unwrap();
    }

    #[test]
    fn the_system_names_its_servers() {
        let text = "# x\nsearch a.b\nnameserver 10.0.0.1\nnameserver ::1\nnameserver nonsense\n";
        assert_eq!(servers(text), ["10.0.0.1:53".parse().unwrap(), "[::1]:53".parse().unwrap()]);
        assert_eq!(servers(""), ["127.0.0.1:53".parse().unwrap()]);
    }
}
