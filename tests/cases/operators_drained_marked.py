"""A drained node is marked as drained, so that it does not look like a broken one.

From: own review.
Smallest input: ctrlc node drain of one of three; the status JSON, ctrlc nodes, status and shards.
"""
import json
import time

from lib import Cluster, Fault, until

KIND = "operators"


def run(trial):
    cluster = Cluster(trial)
    leader, victim = cluster.leader(), cluster.followers()[0]
    code, out, err = trial.ctrlc(leader, "--timeout", "20s", "node", "drain", victim.name)
    if code or not until(lambda: not leader.member(victim.name)["shards"], 15):
        raise RuntimeError(f"the drain does not work: {out} {err}")
    time.sleep(1)
    without = []
    if "drain" not in json.dumps({key: value for key, value in leader.member(victim.name).items() if value}).lower():
        without.append("the status JSON")
    for command in ("nodes", "shards"):
        said = trial.ctrlc(leader, command)[1]
        if not any("drain" in line.lower() for line in said.splitlines()):
            without.append(f"ctrlc {command}")
    if without:
        raise Fault(f"no mark of the drain of {victim.name} in {', '.join(without)}; right: in each of them")
