"""No single packet uses up the Lamport clocks: what is said at the time that a node itself tells is heard by it.

From: own review.
Smallest input: a join intent, a user event and a query with LTime 2^63-1, one datagram each to every node; then an ordinary query at
the query time that the node tells in a push/pull.
"""
import time

from lib import Cluster, Fault, gossip

KIND = "gossip"
LARGEST = (1 << 63) - 1


def run(trial):
    cluster = Cluster(trial)
    nodes = cluster.nodes
    socket = gossip.Datagrams()

    def acknowledged(node, number):
        for again in range(4):
            told = gossip.push_pull(node.at("serf"))[1]["QueryLTime"]
            socket.send(gossip.query(told, number + again, socket.port), node)
            for message in socket.receive(2):
                if message[0] == gossip.USER and message[1] == gossip.QUERY_RESPONSE and gossip.unpacked(message, 2)[0]["From"] == node.name.encode():
                    return True, told
        return False, told

    if not acknowledged(nodes[0], 100)[0]:
        raise RuntimeError("no ack of a query before the attack")
    for node in nodes:
        socket.send(gossip.serf(gossip.JOIN_INTENT, {"LTime": LARGEST, "Node": "nobody", "Prune": False}), node)
        socket.send(gossip.serf(gossip.USER_EVENT, {"CC": False, "LTime": LARGEST, "Name": "x", "Payload": b""}), node)
        socket.send(gossip.query(LARGEST, 7, 9), node)
    time.sleep(1.5)
    socket.receive(0.2)
    seen = {node.name: acknowledged(node, 200 + 10 * node.number) for node in nodes}
    deaf = {name: hex(told) for name, (good, told) in seen.items() if not good}
    if deaf:
        raise Fault(f"after one packet with time 2^63-1 these nodes tell the query time {deaf} and answer no query at it; "
                    "right: a time far beyond the own clock is refused, queries go on being answered")
