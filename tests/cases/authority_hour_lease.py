"""No grant makes a lease longer than the cluster's lease, whoever sends it.

From: own review.
Smallest input: hello to a follower in the leader's name, and, under the key that comes with the answer, Grant datagrams of an hour
for its acks 1 to 2,500, since it remembers but the last ones.
"""
import socket
import time

from lib import Cluster, Fault, wire

KIND = "authority"
HOUR_MICROS = 3600 * 10**6


def run(trial):
    cluster = Cluster(trial)
    wire.understood(cluster[1])
    leader, victim = cluster.leader(), cluster.followers()[0]
    one, other = wire.Who(leader), wire.Who(victim)
    stream = wire.quietly(lambda: wire.Stream(victim, one))
    if not stream or not stream.key:
        return
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    up, asked = leader.status()["funk_uptime_ms"], time.time()
    for echo in range(1, 2500):
        at = int(up * 1000 + (time.time() - asked) * 10**6)
        body = wire.varint(echo) + wire.varint(HOUR_MICROS)
        out.sendto(wire.datagram(stream.key, wire.GRANT, other.cluster, one.id, one.boot, other.id, (1 << 40) + echo, at, body), victim.at("liveness"))
    time.sleep(0.2)
    lease = max(victim.status()["funk_lease_ms"] for _ in range(5))
    if lease > 5000:
        raise Fault(f"the follower's lease lasts {lease / 1000:.0f} s in a cluster whose lease is 0.5 s; right: a grant is cut to the cluster's lease")
