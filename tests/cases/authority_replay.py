"""What was recorded on the wire is without effect when it is said again: now, to another node, and after a restart.

From: own review.
Smallest input: three nodes, everything that goes between them over ep.raft and ep.liveness for 4 s, among it a fourth node that joins and
is killed; replayed as it stands; and again after one of the three was restarted.
"""
import collections
import socket
import struct
import threading
import time

from lib import Cluster, Fault, Monitor

KIND = "authority"
GUARD = True
SECONDS = 120


class Record:
    """Payloads on loopback by port of destination: datagrams, and byte streams by flow."""

    def __init__(self, liveness, raft):
        self.liveness, self.raft, self.stopped = liveness, raft, False
        self.datagrams, self.flows = [], collections.defaultdict(dict)
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
        self.socket.bind(("lo", 0))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.socket.settimeout(0.2)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while not self.stopped:
            try:
                data, sender = self.socket.recvfrom(65536)
            except OSError:
                continue
            if sender[2] == socket.PACKET_OUTGOING or len(data) < 34 or data[12:14] != b"\x08\x00":
                continue
            packet = data[14:14 + struct.unpack(">H", data[16:18])[0]]
            head = (packet[0] & 15) * 4
            source, target = struct.unpack(">HH", packet[head:head + 4])
            if packet[9] == 17 and target in self.liveness:
                self.datagrams.append((target, packet[head + 8:]))
            elif packet[9] == 6 and target in self.raft:
                payload = packet[head + (packet[head + 12] >> 4) * 4:]
                if payload:
                    self.flows[source, target].setdefault(struct.unpack(">I", packet[head + 4:head + 8])[0], payload)


def run(trial):
    cluster = Cluster(trial)
    record = Record({node.port("liveness") for node in cluster.nodes}, {node.port("raft") for node in cluster.nodes})
    time.sleep(1)
    guest = cluster.add(4)
    if not guest.wait_ready():
        raise RuntimeError("the fourth node does not come up")
    time.sleep(1.5)
    guest.kill()
    cluster.nodes.remove(guest)
    time.sleep(2)
    record.stopped = True
    time.sleep(0.3)
    datagrams, flows = record.datagrams[-3000:], {key: [flow[at] for at in sorted(flow)] for key, flow in record.flows.items()}
    if len(datagrams) < 100 or not flows:
        raise RuntimeError(f"recorded {len(datagrams)} datagrams and {len(flows)} flows only")
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def replay():
        for target, payload in datagrams:
            out.sendto(payload, ("127.0.0.1", target))
        for node in cluster.nodes:
            for _, payload in datagrams[::7]:
                out.sendto(payload, node.at("liveness"))
            for flow in flows.values():
                try:
                    with socket.create_connection(node.at("raft"), 2) as stream:
                        stream.sendall(b"".join(flow))
                        time.sleep(0.05)
                except OSError:
                    pass

    for when in ("live", "after a restart"):
        term = cluster.leader().status()["term"]
        dropped = sum(node.metric("funk_datagrams_dropped_total") for node in cluster.nodes)
        monitor, load = Monitor(cluster.nodes), cluster.client(10)
        time.sleep(1)
        replay()
        result = load.result()
        monitor.end()
        dropped = sum(node.metric("funk_datagrams_dropped_total") for node in cluster.nodes) - dropped
        if result["lost"] or not result["answered"] or result["epoch_regressions"]:
            raise Fault(f"replayed {when}, a client has {result['answered']} answers, lost {result['lost']}, saw {result['epoch_regressions']} epochs go back")
        if max(monitor.terms) > term + 3 or not all(node.alive() for node in cluster.nodes):
            raise Fault(f"replayed {when}, the term went from {term} to {max(monitor.terms)}; alive {[node.alive() for node in cluster.nodes]}")
        if not dropped:
            raise Fault(f"replayed {when}, no node counts a dropped datagram of {len(datagrams)}")
        if when == "live":
            victim = cluster.followers()[0]
            victim.kill()
            victim.again()
            cluster.wait_whole()
