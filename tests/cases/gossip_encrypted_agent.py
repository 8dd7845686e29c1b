"""A real agent with a key at a cluster without one: both sides are told why it does not get in.

From: own review.
Smallest input: serf agent with -encrypt and -join to a node beside three agents without a key; then, at an agent with a key, a node that joins.
"""
import base64
import os

from lib import Cluster, Fault, until
from lib.agents import Agent, all_show

KIND = "gossip"
SECONDS = 120


def run(trial):
    cluster = Cluster(trial)
    joins = [f"127.0.0.1:{node.port('serf')}" for node in cluster.nodes]
    plain = [Agent(trial, f"plain{k}", [joins[k]]) for k in range(3)]
    key = base64.b64encode(os.urandom(32)).decode()
    stranger = Agent(trial, "stranger", joins[:1], ["-encrypt", key], wait=False)
    asked = cluster[1]
    if not until(lambda: "encrypt" in asked.log().lower(), 15):
        raise Fault("the node that an agent with a key called says nothing of encryption; right: one WARN")
    if not until(lambda: "encrypt" in stranger.log().lower(), 15):
        raise Fault(f"the agent with a key is not told why it does not get in: {stranger.log()[-300:]!r}; right: the error of the protocol")
    warned = sum("WARN" in line and "encrypt" in line.lower() for line in asked.log().splitlines())
    if warned > 5:
        raise Fault(f"{warned} WARN about one agent that calls once a second; right: now and then")
    everybody = {looker.name: "alive" for looker in [*cluster.nodes, *plain]}
    all_show([*cluster.nodes, *plain], everybody)
    if any("stranger" in looker.members() for looker in plain):
        raise Fault("an agent with a key is a member of a cluster without")
    caller = cluster.add(4, joins=[stranger.serf], name="caller")
    if not until(lambda: "encrypt" in caller.log().lower(), 15):
        raise Fault(f"a node that calls at an agent with a key does not say why it does not get in: {caller.log()[-300:]!r}; right: a line that has the word")
