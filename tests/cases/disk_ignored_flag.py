"""A flag that cannot take effect is refused or remarked, never ignored: --shards on a directory that holds a cluster.

From: own review.
Smallest input: a node of a cluster of one, three or five with data directories and 10,000 shards; started again with --shards 77.
"""
import shutil
import time

from lib import Cluster, Fault

KIND = "disk"
SECONDS = 120


def run(trial):
    for size in (1, 3, 5):
        attempt(trial, size)


def attempt(trial, size):
    cluster = Cluster(trial, size, durable=True)
    node = cluster[size]
    node.stop()
    before = len(node.log())
    node.again(["--shards", "77"])
    node.wait_ready(10)
    time.sleep(1)
    said = node.log()[before:]
    if not node.alive():
        if node.process.returncode not in (1, 2) or "shards" not in said:
            raise Fault(f"of {size}: it ended with {node.process.returncode} and said {said[-200:]!r}; right: a line that names --shards")
    elif not any("shards" in line and "77" in line for line in said.splitlines()):
        raise Fault(f"of {size}: it starts with {node.status()['shards_total']} shards and says nothing of the 77 that were asked for; right: refused, or one line at WARN")
    for other in cluster.nodes:
        if other.stop() is None:
            other.kill()
        shutil.rmtree(other.data)
