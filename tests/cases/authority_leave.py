"""A node leaves by its own word: what a stranger says of others takes nobody out.

From: own review.
Smallest input: one stream of a stranger to the leader, two Leave with the ids and boots of the followers.
"""
import time

from lib import Cluster, Fault, wire

KIND = "authority"


def run(trial):
    cluster = Cluster(trial)
    wire.understood(cluster[1])
    leader, followers = cluster.leader(), cluster.followers()

    def attack():
        stream = wire.Stream(leader, wire.Who())
        for node in followers:
            stream.send(wire.LEAVE, wire.boot_name(wire.Who(node)))
        return stream

    stream = wire.quietly(attack)
    time.sleep(6)
    if stream:
        stream.close()
    out = {node.name: f"ended with {node.process.returncode}" for node in followers if not node.alive()}
    out.update({node.name: "owns nothing" for node in followers if node.alive() and node.status()["shards_owned"] == 0})
    if out:
        raise Fault(f"6 s later: {out}; right: Leave counts only from the node's own stream")
    cluster.wait_whole(20)
