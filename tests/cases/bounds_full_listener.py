"""A listener whose clients are all busy turns others away, and the node says so: /readyz, and a metric with the listener's name.

From: own review; a load balancer must learn that a node takes no more clients.
Smallest input: three nodes, a follower with ulimit -n 128, 150 connections to its ep.demo, and later to its ep.clusterfunk.management and
its ep.cluster, with one request each of which only the headers come.
"""
import resource

from lib import Cluster, Fault, rpc, until

KIND = "bounds"
CONNECTIONS = 150


LISTENERS = [
    ("demo", "ep.demo", rpc.LIFF),
    ("management", "ep.clusterfunk.management", "/managepb.ClusterManagement/ListNodes"),
    ("cluster", "ep.cluster", rpc.PROPOSE),
]


def run(trial):
    cluster = Cluster(trial, each={2: {"limits": [(resource.RLIMIT_NOFILE, 128)]}})
    for listener, name, method in LISTENERS:
        attempt(cluster[2], listener, name, rpc.request_head(method))
    return "/readyz and the metric name each of " + ", ".join(name for _, name, _ in LISTENERS) + ", and the node is ready again"


def attempt(node, listener, name, head):
    held = []

    def fill():
        """As many busy connections as it takes; each time, since a request that is never sent is ended."""
        while held:
            held.pop().close()
        for _ in range(CONNECTIONS):
            try:
                connection = rpc.bare(node.at(listener))
                connection.sendall(rpc.frame(1, 4, 1, head))
                held.append(connection)
            except OSError:
                pass

    def says_why():
        fill()
        code, body = node.get("/readyz", 3)
        return code == 503 and f"{name} turns clients away".encode() in body and node.metric("funk_http_full") == 1

    if not until(says_why, 20):
        raise Fault(f"with {CONNECTIONS} busy connections /readyz says {node.get('/readyz', 3)}; right: 503, and that {name} turns clients away")
    while held:
        held.pop().close()
    if not until(lambda: node.ready(3), 20):
        raise Fault(f"it is not ready 20 s after the connections to {name} were closed")
