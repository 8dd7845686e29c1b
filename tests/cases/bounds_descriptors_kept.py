"""Nodes whose listeners have no descriptors left still show their page, let a new member in and follow a new leader.

From: own review; what a cluster says to itself must not wait behind its clients.
Smallest input: three nodes with ulimit -n 256, 300 silent connections to each of their four listeners for clients; a fourth node joins, the leader is killed.
"""
import resource
import socket
import time

from lib import Cluster, Fault, until
from lib.cluster import many_descriptors

KIND = "bounds"
SECONDS = 120
LIMIT, CONNECTIONS = 256, 300
CLIENTS = ["demo", "http", "management", "cluster"]


def crowd(node):
    """Silent connections to each listener of a node."""
    held = []
    for listener in CLIENTS:
        for _ in range(CONNECTIONS):
            connection = socket.socket()
            connection.setblocking(False)
            connection.connect_ex(node.at(listener))
            held.append(connection)
    return held


def answered(ask):
    """What a node says, or nothing while its page turns this client away."""
    try:
        return ask()
    except (OSError, ValueError):
        return None


def run(trial):
    many_descriptors()
    few = {"limits": [(resource.RLIMIT_NOFILE, LIMIT)]}
    cluster = Cluster(trial, each={number: dict(few) for number in (1, 2, 3)})
    first = list(cluster.nodes)
    held = [connection for node in first for connection in crowd(node)]
    time.sleep(2)

    if not until(lambda: all(answered(lambda node=node: node.status(3)) for node in first), 5):
        raise Fault("a page is out of reach while clients of all listeners hold the descriptors; right: each listener has some")
    fourth = cluster.add(4)
    if not until(lambda: fourth.ready(3), 20):
        raise Fault(f"a fourth node is not let in beside {len(held)} silent connections; right: descriptors are kept back for the nodes")
    leader = cluster.leader()
    # A node ends silent connections after a while: the crowd is there again when the leader goes.
    held += [connection for node in first for connection in crowd(node)]
    time.sleep(1)
    leader.kill()
    rest = [node for node in cluster.nodes if node is not leader]

    def follows():
        statuses = [answered(lambda node=node: node.status(3)) for node in rest]
        leaders = {status["leader"] if status else "" for status in statuses}
        return len(leaders) == 1 and leader.name not in leaders and "" not in leaders

    if not until(follows, 20):
        raise Fault("the others do not agree on a new leader; right: their own streams are not the clients'")
    for connection in held:
        connection.close()
    if not until(lambda: all(node.ready(3) for node in rest), 30):
        raise Fault("not all are ready 30 s after the connections were closed")
    return f"{len(held)} silent connections, a fourth node came in, {rest[0].status(3)['leader']} followed {leader.name}"
