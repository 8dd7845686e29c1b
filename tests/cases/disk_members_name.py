"""A node does not start under the name of another live member of gossip, whatever that one is.

From: hashicorp/consul#3974; own review.
Smallest input: a cluster of one, a plain Serf member called n2, and bin/demo --node-id n2.
"""
from lib import Cluster, Fault, Node, gossip, until

KIND = "disk"


def run(trial):
    cluster = Cluster(trial, 1)
    plain = gossip.PlainMember("n2", [cluster[1]])
    if not until(lambda: cluster[1].member("n2") and plain.pings, 10):
        raise RuntimeError("the plain member is not listed")
    node = Node(trial, 2, joins=cluster.joins())
    until(lambda: not node.alive(), 12)
    plain.stop()
    if node.alive():
        member = cluster[1].member("n2")
        raise Fault(f"12 s later the node runs, ready {node.ready()}, in Raft {member['raft']!r}, though gossip's n2 is somebody else at port {plain.datagrams.port}; "
                    "right: it ends with 1 and asks for another --node-id")
    if node.process.returncode != 1 or "n2" not in node.log():
        raise Fault(f"it ended with {node.process.returncode} and said {node.log()[-200:]!r}; right: 1, and a line that names n2")
