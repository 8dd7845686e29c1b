"""Twenty real agents come to three nodes, and go: all are seen as they are, by all, and no shard moves.

From: own review.
Smallest input: twenty agents, each of which joins one of three nodes; five are killed, five leave; a client beside.
"""
import signal

from lib import ALONE, Cluster, Fault, steps_within
from lib.agents import Agent, all_show

KIND = "gossip"
SECONDS = 180
AGENTS = 20


def run(trial):
    cluster = Cluster(trial, **ALONE)
    joins = [f"127.0.0.1:{node.port('serf')}" for node in cluster.nodes]
    owners = cluster[1].owners()
    load = cluster.client(30)
    agents = [Agent(trial, f"a{k:02}", [joins[k % 3]], wait=False) for k in range(AGENTS)]
    everybody = {**{node.name: "alive" for node in cluster.nodes}, **{agent.name: "alive" for agent in agents}}
    all_show([*cluster.nodes, agents[0], agents[-1]], everybody, 40)
    killed, leaving, staying = agents[:5], agents[5:10], agents[10:]
    for agent in killed:
        agent.process.send_signal(signal.SIGKILL)
    for agent in leaving:
        agent.process.send_signal(signal.SIGINT)
    gone = {**{agent.name: "failed" for agent in killed}, **{agent.name: "left" for agent in leaving}}
    all_show([*cluster.nodes, staying[0], staying[-1]], {**everybody, **gone}, 60)
    result = load.result()
    if result["lost"] or not result["answered"]:
        raise Fault(f"{result['answered']} answers, {result['lost']} lost while agents come and go; right: none lost")
    if cluster[1].owners() != owners:
        raise Fault("shards moved while agents came and went; right: agents own nothing, and change nothing")
    return steps_within(cluster.nodes)
