"""Packets that overtake each other, and bytes that arrive as nobody sent them, end no node, kill no member and change no leader.

From: own review; hardware that corrupts behind its own checksum.
Smallest input: three hosts on a switch that holds back 10 % of all packets by up to 50 ms, and changes bits in 3 %: datagrams with a checksum
that fits, so that the nodes read them. A client beside.
"""
import time

from lib import Cluster, Fault
from lib.network import Network, assert_steady, assert_whole, told

KIND = "network"
HOSTS = 3
SECONDS = 150
ODD_SECONDS = 40


def run(trial):
    network = Network(trial)
    cluster = Cluster(trial, hosts=trial.hosts, calm=False)
    load, began = cluster.client(ODD_SECONDS), time.time_ns()
    network.set("reorder 0.1 50", "corrupt 0.03")
    text = assert_steady(cluster, ODD_SECONDS)
    assert_whole(cluster, "with odd packets")
    gone = {event["node"] for node in cluster.nodes for event in told(node, began) if event["kind"] in ("member_failed", "member_left")}
    result = load.result()
    if gone:
        raise Fault(f"{', '.join(sorted(gone))} declared dead or gone; right: nobody; {text}")
    if result["lost"] or not result["answered"] or result["epoch_regressions"]:
        raise Fault(f"a client has {result['answered']} answers, lost {result['lost']}, saw {result['epoch_regressions']} epochs go back; {text}")
    return f"{text}; a client has {result['answered']} answers after {result['retries']} retries; {network.figures()}"
