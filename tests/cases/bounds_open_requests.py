"""Requests that are begun and never sent do not fill a node's memory, nor stop it from serving.

From: own review; the kind of kurrent-io/KurrentDB#5682.
Smallest input: 30 connections to ep.demo with 4,000 streams each, of which only the headers come.
"""
import time

from lib import Cluster, Fault, rpc
from lib.beside import Beside

KIND = "bounds"
CONNECTIONS, STREAMS = 30, 4000


def run(trial):
    cluster = Cluster(trial)
    node = cluster.leader()
    beside = Beside(cluster, 20)
    before = node.rss_mb()
    head = rpc.request_head(rpc.LIFF)
    held = []
    for _ in range(CONNECTIONS):
        connection = rpc.bare(node.at("demo"))
        connection.settimeout(3)
        held.append(connection)
        try:
            connection.sendall(b"".join(rpc.frame(1, 4, 1 + 2 * k, head) for k in range(STREAMS)))
        except OSError:
            pass
    time.sleep(5)
    grown = node.rss_mb() - before
    load = cluster.client(4).result()
    if not load["answered"] or load["lost"]:
        raise Fault(f"beside {CONNECTIONS} such connections a client has {load['answered']} answers and lost {load['lost']}")
    if grown > 200:
        raise Fault(f"{len(held)} connections with {STREAMS} open requests each hold {grown:.0f} MB; right: a bound for the listener, below 200 MB, and a time by "
                    "which the first message has to come")
    for connection in held:
        connection.close()
    return beside.end()
