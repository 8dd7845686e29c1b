"""Nobody can silence a member by a datagram with a huge counter.

From: own review.
Smallest input: for each ordered pair of nodes hello in the one's name to the other, and, under the key that comes with the answer, one
datagram with counter 2^64-2: six datagrams.
"""
import socket
import time

from lib import Cluster, Fault, until, wire

KIND = "authority"


def run(trial):
    cluster = Cluster(trial)
    wire.understood(cluster[1])
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sent = 0
    who = {node: wire.Who(node) for node in cluster.nodes}
    for one in cluster.nodes:
        for other in cluster.nodes:
            if one is not other:
                stream = wire.quietly(lambda one=one, other=other: wire.Stream(other, who[one]))
                if stream and stream.key:
                    a, b, body = who[one], who[other], wire.varint(0) * 3
                    out.sendto(wire.datagram(stream.key, wire.ACK, b.cluster, a.id, a.boot, b.id, wire.WORD - 1, 10**6, body), other.at("liveness"))
                    sent += 1
                if stream:
                    stream.close()
    time.sleep(2)
    if not until(lambda: all(node.ready() for node in cluster.nodes) and len({node.status()["leader"] for node in cluster.nodes}) == 1, 20):
        seen = [(node.name, node.status()["state"], f"term {node.status()['term']}") for node in cluster.nodes]
        raise Fault(f"22 s after {sent} datagrams: {seen}; right: a counter counts only within a window, and a key goes to nobody who has not proven who he is")
