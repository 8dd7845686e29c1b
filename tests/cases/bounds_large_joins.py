"""However much wants in at once, the dead are replaced: their shards are taken over.

From: own review.
Smallest input: 160 streams of strangers, and every 0.5 s a Join of each with 32 long endpoints (600 kB together) on one of them; then
kill -9 of a follower.
"""
import struct
import threading
import time

from lib import ALONE, Cluster, Fault, gossip, steps_within, until, wire
from lib.cluster import many_descriptors

KIND = "bounds"
SECONDS = 180
STRANGERS = 160


def run(trial):
    many_descriptors()
    # A leader that is elected meanwhile may take the shards over before the joins reach it.
    return "; ".join(attempt(trial) for _ in range(3))


def attempt(trial):
    cluster = Cluster(trial, **ALONE)
    wire.understood(cluster[1])
    endpoints = {f"ep.q{k:02}" + "x" * 56: "[fe80:1111:2222:3333:4444:5555:6666:7777]:65535" for k in range(32)}
    strangers, streams = [], []
    for k in range(STRANGERS):
        stranger = wire.Who(name=f"s{k:03}", id=gossip.random_id(), boot=gossip.random_id())
        strangers.append(stranger)
        for node in cluster.nodes:
            streams.append((node, wire.quietly(lambda node=node, stranger=stranger: wire.Stream(node, stranger))))
    joins = [wire.blob(wire.JOIN, wire.record(one.id, one.boot, one.name, endpoints=endpoints)) for one in strangers]
    together = b"".join(struct.pack(">I", len(join)) + join for join in joins)
    time.sleep(1)
    leader, victim = cluster.leader(), cluster.followers()[0]
    stop = threading.Event()

    def keep_on(node):
        stream = next((stream for other, stream in streams if other is node and stream), None)
        while not stop.is_set():
            try:
                stream.socket.sendall(together)
            except (OSError, AttributeError):
                stream = wire.quietly(lambda: wire.Stream(node, strangers[0]))
            stop.wait(0.5)

    senders = [threading.Thread(target=keep_on, args=(node,), daemon=True) for node in cluster.nodes if node is not victim]
    for thread in senders:
        thread.start()
    time.sleep(0.8)
    victim.kill()
    survivors = [node for node in cluster.nodes if node is not victim]
    start = time.monotonic()

    def taken():
        members = [node.member(victim.name) for node in survivors]
        return any(not member or not member["shards"] for member in members)

    over = until(taken, 12, 0.05)
    seconds = time.monotonic() - start
    stop.set()
    for thread in senders:
        thread.join(3)
    for _, stream in streams:
        if stream:
            stream.close()
    steps = steps_within(survivors)
    for node in cluster.nodes:
        node.stop()
    if not over:
        raise Fault(f"{seconds:.0f} s after its kill the shards of {victim.name} are with nobody else while joins keep coming to {leader.name}; right: deaths first, "
                    "and no batch of operations is larger than a proposal may be")
    return steps
