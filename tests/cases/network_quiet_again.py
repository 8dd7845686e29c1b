"""The lease grows while the network is bad, and is at its shortest again within two minutes once it is good.

From: own review; an hour of trouble must not leave a cluster slow for the rest of its life.
Smallest input: three hosts on a switch that delays each packet by 100 +- 40 ms and drops 10 % of them, until the lease is longer and 20 s
beyond; then neither.
"""
import time

from lib import Cluster, Fault, until
from lib.network import LOSSY, QUIET, SLOW, Network, assert_sound, assert_whole

KIND = "network"
HOSTS = 3
SECONDS = 240
SHORTEST_MS = 150
GROWN_SECONDS, BEYOND_SECONDS, BACK_SECONDS = 60, 20, 120


def run(trial):
    network = Network(trial)
    cluster = Cluster(trial, hosts=trial.hosts, calm=False)
    history, began = [], time.monotonic()

    def leases():
        """The lease as each node has it, noting each change."""
        told = [node.status(3)["funk_timing"] for node in cluster.nodes]
        lengths = [timing["lease_ms"] for timing in told]
        if not history or history[-1][1] != lengths:
            history.append((round(time.monotonic() - began, 1), lengths, told[0]["reason"]))
        return lengths

    network.set(SLOW, LOSSY)
    if not until(lambda: min(leases()) > SHORTEST_MS, GROWN_SECONDS, 0.2):
        raise Fault(f"the lease is {leases()} ms at the three nodes after {GROWN_SECONDS} s of 60 to 140 ms and 10 % loss; right: longer than {SHORTEST_MS}")
    end = time.monotonic() + BEYOND_SECONDS
    while time.monotonic() < end:
        leases()
        time.sleep(0.2)
    network.set(QUIET)
    quiet = time.monotonic()
    if not until(lambda: max(leases()) == SHORTEST_MS, BACK_SECONDS, 0.2):
        raise Fault(f"the lease is {leases()} ms {BACK_SECONDS} s after the network is quiet, over time {history}; right: {SHORTEST_MS}")
    seconds = time.monotonic() - quiet
    assert_whole(cluster, "on a quiet network")
    assert_sound(cluster.nodes)
    return f"{SHORTEST_MS} ms again after {seconds:.0f} s, over time {history}; {network.figures()}"
