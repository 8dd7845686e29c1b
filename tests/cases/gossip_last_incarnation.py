"""What is said about a live node with the largest incarnation is refuted like anything else.

From: own review.
Smallest input: one datagram alive of incarnation 2^31-1 under a live node's name and address, with other tags, to each node.
"""
import time

from lib import Cluster, Fault, gossip, until

KIND = "gossip"
LARGEST = (1 << 31) - 1


def run(trial):
    cluster = Cluster(trial)
    victim = cluster.followers()[0]
    others = [node for node in cluster.nodes if node is not victim]
    forged = gossip.alive(victim.name, at=victim.port("serf"), tags={"x": "forged"}, incarnation=LARGEST)
    gossip.Datagrams().send(forged, *cluster.nodes)
    time.sleep(2)

    def true_tags(node):
        members, _ = gossip.push_pull(node.at("serf"))
        return "ep.raft" in gossip.tags_of(members[victim.name])

    wrong = [node.name for node in others if not until(lambda node=node: true_tags(node), 10)]
    if wrong:
        raise Fault(f"12 s later {', '.join(wrong)} still show {victim.name} with the forged tags; right: {victim.name} outbids the claim, or it is refused")
    victim.kill()
    victim.again()
    if not victim.wait_ready():
        raise Fault(f"{victim.name} does not come back after a restart")
    if not until(lambda: all(node.member(victim.name)["serf"] == "alive" and true_tags(node) for node in others), 15):
        raise Fault(f"15 s after its restart {victim.name} is not alive in gossip with its own tags; right: it is")
