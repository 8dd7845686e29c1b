"""Joins that come to nothing do not keep a member out.

From: own review.
Smallest input: four nodes, three of them voters. 300 Join of nodes that do not exist, on one stranger's stream to the leader; then the
learner stands still for 0.7 s (SIGSTOP, SIGCONT), is declared dead, and wants back in.
"""
import signal
import time

from lib import ALONE, Cluster, Fault, gossip, steps_within, until, wire
from lib.beside import Beside

KIND = "bounds"
SECONDS = 120


def run(trial):
    cluster = Cluster(trial, 4, calm=False, **ALONE)
    wire.understood(cluster[1])
    leader = cluster.leader()
    learner = until(lambda: next((cluster[int(member["id"][1:])] for member in leader.status()["members"] if member["raft"] == "Nonvoter"), None), 10)
    if not learner:
        raise RuntimeError("no learner among four nodes")

    beside = Beside(cluster, 10)

    def attack():
        stream = wire.Stream(leader, wire.Who())
        for _ in range(300):
            stream.send(wire.JOIN, wire.record(gossip.random_id(), gossip.random_id(), f"z{gossip.random_id():x}"))
            time.sleep(0.001)
        return stream

    stream = wire.quietly(attack)
    time.sleep(0.2)
    learner.signal(signal.SIGSTOP)
    time.sleep(0.7)
    learner.signal(signal.SIGCONT)
    start = time.monotonic()
    back = learner.wait_ready(25)
    if stream:
        stream.close()
    if not back:
        said = learner.get("/readyz", 3)[1].decode().strip()
        raise Fault(f"{time.monotonic() - start:.0f} s after it runs again {learner.name} is still out: {said!r}, ctrlc diag ends with "
                    f"{trial.ctrlc(leader, 'diag')[0]}; right: joins that expired make room, and a member of the table has its place")
    return f"{beside.end()}; {steps_within([leader])}"
