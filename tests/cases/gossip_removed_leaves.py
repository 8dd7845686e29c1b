"""A live node that is removed says goodbye in gossip, as one that is stopped does.

From: own review.
Smallest input: three nodes, ctrlc node rm of one; what another tells of it in a push/pull within 4 s.
"""
import time

from lib import Cluster, Fault, gossip, until

KIND = "gossip"
STATES = ["alive", "suspect", "dead", "left"]


def run(trial):
    cluster = Cluster(trial)
    victim = cluster.followers()[0]
    others = [node for node in cluster.nodes if node is not victim]
    code, out, err = trial.ctrlc(cluster.leader(), "node", "rm", victim.name)
    if code:
        raise RuntimeError(f"ctrlc node rm: {out} {err}")
    start = time.monotonic()

    def seen(node):
        member = gossip.push_pull(node.at("serf"))[0].get(victim.name)
        return gossip.STATE_LEFT if member is None else member["State"]

    left = until(lambda: all(seen(node) == gossip.STATE_LEFT for node in others), 4)
    if not left:
        raise Fault(f"{time.monotonic() - start:.0f} s after it was removed others tell {victim.name} as {[STATES[seen(node)] for node in others]}, so members and "
                    "clients go on calling it; right: left within a second, as after SIGTERM")
