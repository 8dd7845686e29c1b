"""Members that never took part do not fill the member table: a new node gets in.

From: own review.
Smallest input: 260 streams to the leader, each a hello and a Join of a durable member; all closed. Then an ordinary node starts.
"""
import socket
import time

from lib import Cluster, Fault, gossip, wire
from lib.cluster import many_descriptors

KIND = "authority"
SECONDS = 120


def run(trial):
    many_descriptors()
    cluster = Cluster(trial)
    wire.understood(cluster[1])
    leader = cluster.leader()
    held = []
    for k in range(260):
        def attack(k=k):
            listener = socket.create_server(("127.0.0.1", 0))
            at = f"127.0.0.1:{listener.getsockname()[1]}"
            ghost = wire.Who(name=f"ghost{k}", id=gossip.random_id(), boot=gossip.random_id(), raft=at, liveness=at)
            stream = wire.Stream(leader, ghost, seconds=2)
            stream.send(wire.JOIN, wire.record(ghost.id, ghost.boot, ghost.name, at, at, at, durable=True))
            held.append((stream, listener))
        wire.quietly(attack)
    time.sleep(3)
    for stream, listener in held:
        stream.close()
        listener.close()
    time.sleep(4)
    members = len(leader.status(5)["members"])
    node = cluster.add(4)
    if not node.wait_ready(40):
        how = f"ends with {node.process.returncode}: {node.log().strip().splitlines()[-1][-160:]}" if not node.alive() else "is not ready after 40 s"
        raise Fault(f"after the ghosts went the table has {members} members, and a new node {how}; right: it gets in")
