"""Frames that are begun and never ended do not fill a node's memory.

From: own review.
Smallest input: 500 connections to ep.raft, on each a hello and all but the last byte of a frame of 1 MiB; 10 s later the node's memory.
"""
import struct
import time

from lib import Cluster, Fault, gossip, wire
from lib.beside import Beside
from lib.cluster import many_descriptors

KIND = "bounds"
STREAMS = 500


def run(trial):
    many_descriptors()
    cluster = Cluster(trial)
    wire.understood(cluster[1])
    node = cluster.leader()
    beside = Beside(cluster, 25)
    before = node.rss_mb()
    begun = struct.pack(">I", 1 << 20) + b"z" * ((1 << 20) - 1)
    held = []
    for _ in range(STREAMS):
        def attack():
            stream = wire.Stream(node, wire.Who(id=gossip.random_id()), seconds=2)
            held.append(stream)
            stream.socket.settimeout(1)
            stream.socket.sendall(begun)
        wire.quietly(attack)
        if node.rss_mb() - before > 400:
            break
    time.sleep(10)
    grown = node.rss_mb() - before
    if grown > 150:
        raise Fault(f"{len(held)} streams that wait for one byte each hold {grown:.0f} MB, 10 s later; right: a frame that was begun ends within seconds, "
                    "and who is no member gets no room for large ones")
    for stream in held:
        stream.close()
    return beside.end()
