"""A machine on which twice as many programs compute as it has processors pauses no shard for longer than 300 ms, and changes the leader once at most.

From: own review; shared hosts, builds and backups beside a service.
Smallest input: three nodes with the default timing, and for a minute (BUSY_SECONDS) four processes that never rest. The states that the nodes
tell on their event streams say for how long each served nothing.
"""
import os
import sys
import time

from lib import Cluster, Fault
from lib.network import assert_sound, told

KIND = "bounds"
BUSY_SECONDS = float(os.environ.get("BUSY_SECONDS", "60"))
SECONDS = 720
HOGS = 2 * (os.cpu_count() or 1)
PAUSE_SECONDS_MAX = 0.3
CHANGES_MAX = 1


def run(trial):
    cluster = Cluster(trial, calm=False)
    leader = cluster.leader()
    term, began = leader.status()["term"], time.time_ns()
    hogs = [trial.spawn([sys.executable, "-c", "while True: pass"]) for _ in range(HOGS)]
    time.sleep(BUSY_SECONDS)
    ended = time.time_ns()
    for hog in hogs:
        hog.kill()
        hog.wait()
    cluster.wait_whole()
    assert_sound(cluster.nodes)
    events = {node.name: told(node, began) for node in cluster.nodes}
    pauses = {name: longest_pause(of_node, ended) for name, of_node in events.items()}
    leaders = {(event["term"], event["leader"]) for of_node in events.values() for event in of_node
               if event["kind"] == "leader" and event["leader"] and event["at_ns"] < ended}
    changes = len(leaders - {(term, leader.name)})
    dead = sum(event["kind"] == "member_failed" and event["at_ns"] < ended for of_node in events.values() for event in of_node)
    text = (f"{HOGS} busy processes for {BUSY_SECONDS:.0f} s: {changes} changes of the leader, {dead} times a node sees a member fail, longest pauses "
            f"{', '.join(f'{name} {1000 * pause:.0f} ms' for name, pause in pauses.items())}, lease {leader.status(3)['funk_timing']['lease_ms']} ms")
    if changes > CHANGES_MAX or dead or max(pauses.values()) > PAUSE_SECONDS_MAX:
        raise Fault(f"{text}; right: {CHANGES_MAX} change at most, no dead member, no pause over {1000 * PAUSE_SECONDS_MAX:.0f} ms")
    return text


def longest_pause(events, ended):
    """The longest time in seconds that a node spent in a state in which it serves nothing."""
    longest, since = 0, None
    for event in [event for event in events if event["kind"] == "state"]:
        serves = event["state"] in ("Operational", "Resharding")
        if since is not None and serves:
            longest, since = max(longest, event["at_ns"] - since), None
        elif since is None and not serves:
            since = event["at_ns"]
    if since is not None:
        longest = max(longest, ended - since)
    return longest / 1e9
