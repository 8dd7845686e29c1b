"""A member's endpoints are its own to change: a stranger's word does not lead clients elsewhere.

From: own review.
Smallest input: hello to the leader in a member's name, Update with that member's record and other addresses, ten times in 2 s.
"""
import time

from lib import Cluster, Fault, wire

KIND = "authority"
ELSEWHERE = "127.0.0.1:6666"


def run(trial):
    cluster = Cluster(trial)
    wire.understood(cluster[1])
    leader, victim = cluster.leader(), cluster.followers()[0]
    who = wire.Who(victim)
    endpoints = {key: ELSEWHERE for key in ("ep.demo", "ep.cluster", "ep.clusterfunk.management")}
    forged = wire.record(who.id, who.boot, who.name, ELSEWHERE, who.raft, who.liveness, endpoints)
    looks = wrong = 0
    for _ in range(10):
        def attack():
            stream = wire.Stream(leader, who)
            stream.send(wire.UPDATE, forged)
            time.sleep(0.05)
            stream.close()
        wire.quietly(attack)
        for _ in range(5):
            looks += 1
            member = leader.member(victim.name)
            wrong += bool(member) and ELSEWHERE in member["endpoints"].values()
            time.sleep(0.03)
    if wrong:
        raise Fault(f"in {wrong} of {looks} looks the leader shows {victim.name} at the stranger's addresses; right: never, an Update counts only from "
                    "that boot's own stream")
