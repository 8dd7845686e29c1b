"""What gossip says of a live node moves no shard: suspected and declared dead by forgers, it is refuted.

From: own review; hashicorp/serf#185 in kind.
Smallest input: for 4 s datagrams suspect and dead about a live follower, with high incarnations, to every node; a client beside.
"""
import time

from lib import ALONE, Cluster, Fault, gossip, steps_within, until

KIND = "gossip"
GUARD = True


def run(trial):
    cluster = Cluster(trial, **ALONE)
    leader, victim = cluster.leader(), cluster.followers()[0]
    liar = cluster.followers()[1]
    load = cluster.client(8)
    out, least = gossip.Datagrams(), leader.member(victim.name)["shards"]
    end, incarnation = time.monotonic() + 4, 1000
    while time.monotonic() < end:
        out.send(gossip.dead(victim.name, liar.name, incarnation), *cluster.nodes)
        out.send(gossip.suspect(victim.name, liar.name, incarnation + 5), *cluster.nodes)
        member = cluster.leader().member(victim.name)
        least = min(least, member["shards"] if member else 0)
        incarnation += 1
        time.sleep(0.02)
    result = load.result()
    if not least or result["lost"] or not result["answered"]:
        raise Fault(f"at its least {victim.name} owned {least} shards; the client has {result['answered']} answers and lost {result['lost']}; "
                    "right: gossip suspects, Raft decides")
    if not until(lambda: leader.member(victim.name)["serf"] == "alive", 20):
        raise Fault(f"20 s later {victim.name} is still {leader.member(victim.name)['serf']} in gossip")
    return steps_within(cluster.nodes)
