"""A large push/pull, as of a big foreign pool of Serf, keeps no node from its work.

From: own review; also the shape of hashicorp/memberlist#253.
Smallest input: one connection to ep.serf of a node that leads, one push/pull with 16,000 plain records (1.2 MB). While it is
taken in, the node is asked whether it is ready.
"""
import socket
import time

from lib import ALONE, Cluster, Fault, Monitor, gossip, steps_within

KIND = "gossip"
SECONDS = 150
RECORDS = 16000


def run(trial):
    cluster = Cluster(trial, 1, **ALONE)
    node = cluster[1]
    before = node.cpu_seconds()
    records = [gossip.state_record(f"foreign{k:06}", f"10.9.{k >> 8}.{k & 255}", 7946) for k in range(RECORDS)]
    monitor = Monitor([node])
    time.sleep(1)
    with socket.create_connection(node.at("serf"), 5) as connection:
        connection.settimeout(60)
        connection.sendall(gossip.push_pull_bytes(records))
        while connection.recv(1 << 20):
            pass
    time.sleep(3)
    monitor.end()
    longest, cpu = monitor.longest[node.name], node.cpu_seconds() - before
    if not node.alive():
        raise Fault("the node ended; right: it takes them in, or refuses them")
    if longest > 2.5:
        raise Fault(f"the node was not ready for {longest:.1f} s and spent {cpu:.1f} s of CPU on {RECORDS} records; "
                    "right: no input keeps it from its leases, merged in slices it stays ready")
    return f"longest time not ready {longest:.1f} s, CPU {cpu:.1f} s, {steps_within([node])}"
