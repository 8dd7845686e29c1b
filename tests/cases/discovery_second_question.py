"""Every mDNS question is answered, also one that comes within a second of the answer to somebody else's.

From: own review; programs that ask once and wait a second find nothing.
Smallest input: one node with mDNS, the question for _clusterfunk._udp.local twice, 0.35 s apart.
"""
import socket
import struct
import time

from lib import Fault, Node

KIND = "discovery"
HOSTS = 1
GROUP, HERE = "224.0.0.251", "10.77.0.254"


def run(trial):
    node = Node(trial, 1, ["--bootstrap"], zeroconf=True, host=trial.hosts[0])
    if not node.wait_ready():
        raise RuntimeError("the node does not come up")
    time.sleep(5)  # what it announces of itself is over
    asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    asker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    asker.bind((GROUP, 5353))
    asker.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + socket.inet_aton(HERE))
    asker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(HERE))
    asker.settimeout(0.05)
    name = b"".join(bytes([len(label)]) + label for label in (b"_clusterfunk", b"_udp", b"local")) + b"\0"
    question = struct.pack(">HHHHHH", 0, 0, 1, 0, 0, 0) + name + struct.pack(">HH", 12, 1)

    def answers(seconds, enough=1):
        end, count = time.monotonic() + seconds, 0
        while time.monotonic() < end and count < enough:
            try:
                data, _ = asker.recvfrom(9000)
                count += bool(data[2] & 0x80) and b"_clusterfunk" in data
            except TimeoutError:
                pass
        return count

    unanswered = 0
    for _ in range(3):
        asker.sendto(question, (GROUP, 5353))
        first = answers(2)
        if not first:
            raise Fault("a question on a quiet network gets no answer in 2 s")
        answers(0.35, 99)
        asker.sendto(question, (GROUP, 5353))
        unanswered += not answers(2)
        time.sleep(3)
    if unanswered:
        raise Fault(f"{unanswered} of 3 questions that came 0.35 s after another's answer got none in 2 s; right: answered, at the latest at the end of the second")
