"""Connections on which nothing is ever said do not lock clients out.

From: own review; the kind of slow-connection attacks on any HTTP server.
Smallest input: 5,200 connections to ep.demo of a node, not one byte on them; 15 s later an ordinary client.
"""
import socket
import time

from lib import Cluster, Fault
from lib.beside import Beside
from lib.cluster import many_descriptors

KIND = "bounds"
SECONDS = 120
CONNECTIONS = 5200


def run(trial):
    many_descriptors()
    cluster = Cluster(trial)
    node = cluster.leader()
    beside, held = Beside(cluster, 32), []
    for _ in range(CONNECTIONS):
        connection = socket.socket()
        connection.settimeout(1)
        try:
            connection.connect(node.at("demo"))
            held.append(connection)
        except OSError:
            connection.close()
    time.sleep(15)
    load = cluster.client(6).result()
    if not load["answered"] or load["lost"]:
        raise Fault(f"beside {len(held)} silent connections that are 15 s old a new client has {load['answered']} answers and lost {load['lost']}, /readyz says "
                    f"{node.get('/readyz', 3)[0]}; right: who says nothing is cut off or makes way")
    for connection in held:
        connection.close()
    return beside.end()
