"""Only the leader says farewell: a stranger's word does not end a node.

From: own review.
Smallest input: hello as nobody known, one Farewell with the receiver's own id and boot, at each node.
"""
import time

from lib import Cluster, Fault, wire

KIND = "authority"


def run(trial):
    cluster = Cluster(trial)
    wire.understood(cluster[1])
    for node in cluster.nodes:
        self = wire.Who(node)

        def attack(node=node, self=self):
            stream = wire.Stream(node, wire.Who())
            stream.send(wire.FAREWELL, wire.boot_name(self))
            time.sleep(0.3)
            stream.close()
        wire.quietly(attack)
    time.sleep(3)
    ended = {node.name: node.process.returncode for node in cluster.nodes if not node.alive()}
    if ended:
        raise Fault(f"ended with: {ended}; right: only the leader of the present term says farewell")
    cluster.wait_whole(20)
