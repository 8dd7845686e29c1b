"""Nothing stays of members of gossip that came and went: a node's memory is as it was.

From: own review.
Smallest input: 50,000 members, one after the other, each alive and then dead by its own word, in datagrams to one node, at a pace at
which it takes them all. Right: what the node holds afterwards is at most 20 MB more than before. It still knows the last of them,
as many as its table keeps.
"""
from lib import ALONE, Cluster, Fault, gossip, steps_within, until

KIND = "gossip"
SECONDS = 180
MEMBERS = 50_000
AT_ONCE = 50
GROWTH_MB_MAX = 20


def run(trial):
    cluster = Cluster(trial, 1, **ALONE)
    node = cluster[1]
    socket = gossip.Datagrams()
    heard = node.metric("funk_gossip_datagrams_received_total")
    before = node.rss_mb()
    for first in range(0, MEMBERS, AT_ONCE):
        for number in range(first, first + AT_ONCE):
            name = f"guest{number:05}"
            socket.send(gossip.alive(name, f"10.9.{number >> 8}.{number & 255}", 7946), node)
            socket.send(gossip.dead(name, name, 1), node)
        # Until it has taken them: what the kernel drops is no member.
        sent = 2 * (first + AT_ONCE)
        if not until(lambda sent=sent: node.metric("funk_gossip_datagrams_received_total") - heard >= 0.98 * sent, 10, 0.002):
            taken = node.metric("funk_gossip_datagrams_received_total") - heard
            raise RuntimeError(f"of {sent} datagrams the node took {taken:.0f} in: the case sends too fast")
    if not until(node.ready, 10):
        raise Fault("10 s after 50,000 members came and went the node is not ready; right: it is")
    after = node.rss_mb()
    said = f"{before:.0f} MB before, {after:.0f} MB after {MEMBERS} members came and went, {steps_within([node])}"
    if after - before > GROWTH_MB_MAX:
        raise Fault(f"{said}; right: at most {GROWTH_MB_MAX} MB more")
    return said
