"""Processes that stand still and run on, again and again, lose no request and serve nothing twice.

From: own review; GC pauses and busy hosts.
Smallest input: for 15 s one node after the other is stopped for 20 to 400 ms (SIGSTOP, SIGCONT); a client, and an ownership check.
"""
import random
import signal
import time

from lib import Cluster, Fault
from lib.own import Ownership

KIND = "bounds"
GUARD = True


def run(trial):
    cluster = Cluster(trial, calm=False)
    owners = cluster.leader().owners()
    shards = [k for node in cluster.nodes for k in [k for k, owner in enumerate(owners) if owner == node.name][:2]]
    load, watch = cluster.client(20), Ownership(cluster.nodes, shards)
    draw, end = random.Random(3), time.monotonic() + 15
    while time.monotonic() < end:
        node = draw.choice(cluster.nodes)
        node.signal(signal.SIGSTOP)
        time.sleep(draw.choice([0.02, 0.1, 0.2, 0.4]))
        node.signal(signal.SIGCONT)
        time.sleep(draw.choice([0.05, 0.2, 0.4]))
    result = load.result()
    answers, stale = watch.end()
    if stale:
        raise Fault(f"{len(stale)} of {answers} answers bear an epoch older than one that was known, the first {stale[0]}")
    if result["lost"] or not result["answered"] or result["epoch_regressions"]:
        raise Fault(f"a client has {result['answered']} answers, lost {result['lost']}, saw {result['epoch_regressions']} epochs go back")
    cluster.wait_whole()
