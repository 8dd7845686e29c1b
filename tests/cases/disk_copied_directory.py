"""Of two processes with one identity, one ends and says why: a copied data directory makes no second self.

From: own review; the kind of hashicorp/consul#733.
Smallest input: three nodes with data directories; the directory of a live one, a follower or the leader, is copied, and a second process
starts on the copy with the same node id and other ports.
"""
import shutil
import time

from lib import Cluster, Fault, Node, until

KIND = "disk"
SECONDS = 120


def run(trial):
    for which in ("follower", "leader"):
        attempt(trial, which)


def attempt(trial, which):
    cluster = Cluster(trial, durable=True)
    first = cluster.leader() if which == "leader" else cluster.followers()[0]
    copy = trial.path(f"copy-{which}", "")
    shutil.copytree(first.data, copy, dirs_exist_ok=True)
    second = Node(trial, 5, name=first.name, data=copy, joins=cluster.joins())
    if not until(lambda: not first.alive() or not second.alive(), 20):
        seen = [(node.at("http")[1], state["state"], f"{state['shards_owned']} shards", f"may_serve {state['may_serve']}")
                for node, state in ((node, node.status(3)) for node in (first, second))]
        raise Fault(f"20 s after the directory of the {which} was copied both run: {seen}; right: the one whose boot is not the listed one ends with 1 and names the other's address")
    time.sleep(2)
    ended = second if not second.alive() else first
    if ended.process.returncode == 0:
        raise Fault("one of the two ended with 0; right: with 1, and a line that names the other")
    for node in [*cluster.nodes, second]:
        node.kill()
        shutil.rmtree(node.data)
