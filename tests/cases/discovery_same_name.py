"""A second bootstrap of a cluster's name is refused, also under the same node id.

From: own review: a command line that was typed twice.
Smallest input: bin/demo --bootstrap --node-id n1 twice, on one host, found by mDNS alone.
"""
import time

from lib import Fault, Node, until

KIND = "discovery"
HOSTS = 2


def run(trial):
    first = Node(trial, 1, ["--bootstrap"], name="n1", zeroconf=True, host=trial.hosts[0])
    if not first.wait_ready():
        raise RuntimeError("the first does not come up")
    time.sleep(2)
    control = Node(trial, 3, ["--bootstrap"], name="n3", zeroconf=True, host=trial.hosts[1])
    if not until(lambda: not control.alive(), 10):
        raise Fault("a second --bootstrap under another node id is not refused within 10 s")
    second = Node(trial, 2, ["--bootstrap"], name="n1", zeroconf=True, host=trial.hosts[1])
    until(lambda: not second.alive(), 10)
    if second.alive():
        raise Fault(f"10 s later both run, the second one {second.status(3)['state']} in a cluster of its own (of another node id it was refused); right: it ends with 1")
    if second.process.returncode != 1:
        raise Fault(f"the second one ended with {second.process.returncode}; right: 1")
