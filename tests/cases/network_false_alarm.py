"""A node logs that there is no leader only while it knows none, also after a network that lost packets for a while.

From: own review; whoever is called at night by a line that is not true reads no other.
Smallest input: three hosts on a switch that drops 15 % of all packets until a follower says that its lease was over for a moment, then none; and
so long that the line would be written again.
"""
import time

from lib import Cluster, Fault, Skip, until
from lib.network import QUIET, Network, assert_whole, told

KIND = "network"
HOSTS = 3
SECONDS = 150
ALARM = "there is no leader"
# A node repeats the line every ten seconds.
QUIET_SECONDS = 12


def run(trial):
    network = Network(trial)
    cluster = Cluster(trial, hosts=trial.hosts, calm=False)
    followers, began = cluster.followers(), time.time_ns()
    network.set("loss 0.15")

    def paused():
        """A follower whose lease was over."""
        return next((node for node in followers for event in told(node, began) if event["kind"] == "state" and event["state"] == "Voting"), None)

    node = until(paused, 40, 0.5)
    network.set(QUIET)
    if not node:
        raise Skip("needs a lease that ends: with 15 % loss none did within 40 s")
    assert_whole(cluster, "on a quiet network")
    before = {each.name: each.log().count(ALARM) for each in cluster.nodes}
    time.sleep(QUIET_SECONDS)
    assert_whole(cluster, "on a quiet network")
    alarms = {each.name: each.log().count(ALARM) - before[each.name] for each in cluster.nodes}
    if any(alarms.values()):
        line = next(line for each in cluster.nodes for line in reversed(each.log().splitlines()) if ALARM in line)
        raise Fault(f"while all are ready under one leader, {alarms} lines say that there is none: {line[:200]!r}; right: no such line")
    return f"{node.name}'s lease was over; no false line"
