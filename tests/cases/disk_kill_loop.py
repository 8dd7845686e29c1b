"""Nodes with data directories that are killed in turn, each as soon as the last is back, keep the cluster and what was acknowledged.

From: etcd-io/etcd#3591 in kind; own review.
Smallest input: three nodes, twelve kill -9 in turn, a client beside, and a proposal that was acknowledged before each kill.
"""
import time

from lib import Cluster, Fault, rpc, wire

KIND = "disk"
GUARD = True
SECONDS = 150


def run(trial):
    cluster = Cluster(trial, durable=True)
    load, acknowledged = cluster.client(25), 0
    time.sleep(1)
    for k in range(12):
        node = cluster.nodes[k % 3]
        other = cluster.nodes[(k + 1) % 3]
        try:
            answer = rpc.call(other.at("cluster"), rpc.PROPOSE, rpc.message(wire.blob(1, b"entry %d" % k)), 5)
        except (OSError, rpc.Ended):
            answer = None
        if answer is not None and answer.ok:
            acknowledged = max(acknowledged, other.status(3)["applied_index"])
        node.kill()
        node.again()
        if not node.wait_ready(20):
            raise Fault(f"{node.name} is not ready 20 s after kill -9 number {k + 1}: {node.log()[-200:]!r}")
        time.sleep(0.3)
    result = load.result()
    cluster.wait_whole()
    if min(node.status()["applied_index"] for node in cluster.nodes) < acknowledged:
        raise Fault(f"applied {[node.status()['applied_index'] for node in cluster.nodes]} though {acknowledged} was acknowledged")
    if result["lost"] or not result["answered"] or result["epoch_regressions"]:
        raise Fault(f"a client has {result['answered']} answers, lost {result['lost']}, saw {result['epoch_regressions']} epochs go back")
