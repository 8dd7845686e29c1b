"""On a slow and lossy network the shards of a leader that is lost are served by others within two seconds, whether anybody says so or not.

From: own review.
Smallest input: three hosts on a switch that delays each packet by 100 +- 40 ms and drops 10 % of them. The leader is killed with its
watcher alive, then one without a watcher, and then one is cut off at the switch.
"""
import time

from lib import Cluster, Fault
from lib.network import LOSSY, SETTLE_SECONDS, SLOW, Network, assert_sound, assert_whole, lease, seconds_dark

KIND = "network"
HOSTS = 3
SECONDS = 240
DARK_SECONDS_MAX = 2
# How long the case waits to be able to say how long it took.
LIMIT = 30
SILENT = {"env": {"FUNK_GUARD": "false"}}


def run(trial):
    network = Network(trial)
    # The watchers of all but the first say nothing, because there are none.
    cluster = Cluster(trial, hosts=trial.hosts, calm=False, durable=True, each={2: SILENT, 3: SILENT})
    network.set(SLOW, LOSSY)
    time.sleep(SETTLE_SECONDS)
    took, wrong = [], []
    for way in ("killed with a watcher", "killed without a watcher", "cut off"):
        assert_whole(cluster, f"before the leader is {way}")
        leader = led_by(trial, cluster, way)
        length = lease(leader)
        dark = seconds_dark(cluster, leader, (lambda: network.cut(leader.host)) if way == "cut off" else leader.kill, LIMIT)
        took.append(f"{way}: {'not within ' + str(LIMIT) if dark is None else format(dark, '.2f')} s at a lease of {length}")
        if dark is None or dark > DARK_SECONDS_MAX:
            wrong.append(way)
        network.cut()
        if way != "cut off":
            leader.again()
    assert_whole(cluster, "after all of them")
    text = f"all shards served again, {'; '.join(took)}; {network.figures()}"
    if wrong:
        raise Fault(f"{text}; right: within {DARK_SECONDS_MAX} s")
    assert_sound(cluster.nodes)
    return text


def led_by(trial, cluster, way):
    """The leader, once it is one that can be lost this way: node 1 has a watcher, the others have none."""
    for _ in range(10):
        leader = cluster.leader()
        if way == "cut off" or (leader.number == 1) == (way == "killed with a watcher"):
            return leader
        trial.ctrlc(leader, "step-down", seconds=20)
        assert_whole(cluster, "after a step-down")
    raise RuntimeError("the leadership does not go where the case wants it")
