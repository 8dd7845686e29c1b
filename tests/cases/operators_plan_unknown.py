"""ctrlc shards --plan refuses a node that does not exist, as the change itself does.

From: own review.
Smallest input: ctrlc shards --plan pin=0-9,n9 in a cluster without n9.
"""
from lib import Cluster, Fault

KIND = "operators"


def run(trial):
    cluster = Cluster(trial)
    real = trial.ctrlc(cluster[1], "shards", "--pin", "0-9,n9")
    if real[0] != 1:
        raise Fault(f"--pin 0-9,n9 itself ends with {real[0]}: {real[1]} {real[2]}; right: 1")
    code, out, err = trial.ctrlc(cluster[1], "shards", "--plan", "pin=0-9,n9")
    if code == 0:
        raise Fault(f"it ends with 0 and prints {out!r}; right: 1, and a line that says that no node is called n9, as --pin does: {real[2]!r}")
    if "n9" not in out + err:
        raise Fault(f"it ends with {code} but does not name n9: {err!r}")
