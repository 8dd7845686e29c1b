"""A node notices within seconds that its data directory is gone, and acknowledges nothing more to a file that nobody will find.

From: own review.
Smallest input: three nodes with data directories; the files of a follower are deleted while it runs; one small proposal every 0.5 s for 12 s.
"""
import shutil
import time

from lib import Cluster, Fault, rpc, wire

KIND = "disk"


def run(trial):
    cluster = Cluster(trial, durable=True)
    leader, victim = cluster.leader(), cluster.followers()[0]
    shutil.rmtree(victim.data)
    for k in range(24):
        rpc.call(leader.at("cluster"), rpc.PROPOSE, rpc.message(wire.blob(1, b"entry %d" % k)), 5)
        time.sleep(0.5)
        if not victim.alive():
            break
    if not victim.alive():
        if not victim.process.returncode:
            raise Fault("it ended with 0; right: with 1, and a line that names the directory")
        return
    raise Fault(f"12 s after its directory was deleted {victim.name} runs on (ready {victim.ready()}, applied {victim.status()['applied_index']} of "
                f"{leader.status()['commit_index']}); right: it ends with 1 and names the directory at the next sync")
