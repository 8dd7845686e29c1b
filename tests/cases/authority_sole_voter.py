"""A stranger cannot make himself the only voter: log entries count only from whom a member knows to be the leader.

From: own review.
Smallest input: for each of three nodes a connection to ep.raft that says hello in another member's name, and one Append of the next
term with five entries: a new member that owns all shards, and four changes that make it the only voter.
"""
import time

from lib import Cluster, Fault, until, wire

KIND = "authority"
GHOST, BOOT = 0xE1E1E1E1E1E1E1E1, 0x1111


def run(trial):
    cluster = Cluster(trial, durable=True)
    wire.understood(cluster[1])
    leader, followers = cluster.leader(), cluster.followers()
    who = {node: wire.Who(node) for node in cluster.nodes}
    states = [node.status() for node in cluster.nodes]
    term, last = (max(state[key] for state in states) for key in ("term", "applied_index"))
    ghost = wire.record(GHOST, BOOT, "ghost", durable=True)
    entries = [wire.entry(term + 1, last + 1, wire.up(ghost) + wire.owned(GHOST, BOOT, b"\0" * 10000))]
    for kind, id in [(wire.ADD_NODE, GHOST)] + [(wire.REMOVE_NODE, one.id) for one in who.values()]:
        entries.append(wire.entry(term + 1, last + 1 + len(entries), wire.configuration([(kind, id)]), wire.CONFIGURATION))
    streams = []
    for node in cluster.nodes:
        said = who[leader] if node is followers[0] else who[followers[0]]

        def attack(node=node, said=said):
            stream = wire.Stream(node, said)
            streams.append(stream)
            stream.send(wire.RAFT, wire.raft(wire.APPEND, term + 1, term, last, entries, commit=last + len(entries)))
        wire.quietly(attack)
    time.sleep(3)

    def well():
        return all(node.status()["may_serve"] and not node.member("ghost") for node in cluster.nodes) and cluster.leader()

    if not until(well, 20):
        seen = [(node.name, node.status()["state"], {member["id"]: (member["raft"], member["shards"]) for member in node.status()["members"]})
                if node.alive() else (node.name, "ended") for node in cluster.nodes]
        raise Fault(f"20 s after three frames of a stranger each node shows (voter or not, shards): {seen}; right: the frames are without effect")
    load = cluster.client(3).result()
    if load["lost"] or not load["answered"]:
        raise Fault(f"after three frames of a stranger a client has {load['answered']} answers and lost {load['lost']}")
