"""A stranger cannot make a follower serve shards that others serve too; where maps differ, the follower stops or diag says so.

From: own review.
Smallest input: hello to a follower in the leader's name, one Append of the present term with one entry that gives it all shards,
already committed as it says.
"""
import time

from lib import Cluster, Fault, rpc, wire

KIND = "authority"


def run(trial):
    cluster = Cluster(trial)
    wire.understood(cluster[1])
    leader, victim = cluster.leader(), cluster.followers()[0]
    state = victim.status()
    term, last = state["term"], state["applied_index"]
    shard = leader.owners().index(leader.name)
    id_of = wire.Who(victim)

    def attack():
        stream = wire.Stream(victim, wire.Who(leader))
        entry = wire.entry(term, last + 1, wire.owned(id_of.id, id_of.boot, b"\0" * 10000))
        stream.send(wire.RAFT, wire.raft(wire.APPEND, term, term, last, [entry], commit=last + 1))
        return stream

    stream = wire.quietly(attack)
    time.sleep(8)
    if stream:
        stream.close()
    if not victim.alive() or not victim.status()["may_serve"] or victim.owners() == leader.owners():
        return
    at_leader, at_victim = (rpc.call(node.at("demo"), rpc.LIFF, rpc.liff(shard), 5) for node in (leader, victim))
    said = [f"{answer.head.get('x-funk-node')} with epoch {answer.head.get('x-funk-epoch')}" if answer else "nobody" for answer in (at_leader, at_victim)]
    raise Fault(f"8 s after one frame of a stranger shard {shard} is served, as asked at {leader.name}, by {said[0]}, and, as asked at {victim.name}, by "
                f"{said[1]}; ctrlc diag ends with {trial.ctrlc(leader, 'diag')[0]}; right: one owner, and no member whose log is ahead of its leader's goes on serving")
